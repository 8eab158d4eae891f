"""lightning extract, on generated videos with a tiny CLIP."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.running import launch, refused, run
from extraction.movies import constant, write_movie
from extraction.tiny_models import save_clip

from dreamprvr.extraction.feature_file import FeatureFile

pytest.importorskip("transformers")
EXTRACT = ("extract", "v", "-o", "f.hdf5", "--encoder", "transformers:clip", "--device", "cpu")


@pytest.fixture(autouse=True)
def _films() -> None:
    save_clip(Path("clip"))
    Path("v").mkdir()
    for name, seconds in (("a", 3), ("b", 2)):
        write_movie(Path(f"v/{name}.mp4"), constant(seconds, 10))


def rows() -> dict[str, np.ndarray]:
    with FeatureFile("f.hdf5") as file:
        return {name: file.read(name).rows for name in file.video_ids()}


def test_extract_and_again() -> None:
    result = run(*EXTRACT)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("2 videos extracted (4.9 s of video in ")
    assert result.out.endswith("; features are in f.hdf5 (rows of 12 numbers)\n")
    assert {name: found.shape for name, found in rows().items()} == {"a": (3, 12), "b": (2, 12)}
    with FeatureFile("f.hdf5") as file:
        assert file.settings.encoder == f"transformers:{Path('clip').absolute()}"
    again = run(*EXTRACT)
    assert (
        again.out
        == "0 videos extracted, 2 unchanged; features are in f.hdf5 (rows of 12 numbers)\n"
    )
    assert again.code == 0


def test_the_batch_size_does_not_matter() -> None:
    run(*EXTRACT)
    first = rows()
    for size in ("1", "2", "100"):
        Path("f.hdf5").unlink()
        assert run(*EXTRACT, "--batch_size", size).code == 0
        for name, found in rows().items():
            np.testing.assert_allclose(found, first[name], atol=1e-5)


def test_a_broken_file_is_one_line_and_exit_code_1() -> None:
    Path("v/c.mp4").write_text("text")
    result = run(*EXTRACT)
    lines = result.out.splitlines()
    assert result.code == 1
    assert lines[0].startswith(f"{Path('v/c.mp4').absolute()}: failed: not a video")
    assert lines[1].startswith("2 videos extracted (")
    assert lines[1].endswith("1 file failed; features are in f.hdf5 (rows of 12 numbers)")


def test_a_missing_file_is_one_line_and_exit_code_1() -> None:
    Path("list.txt").write_text("gone.mp4\n")
    for name in ("gone.mp4", "list.txt"):
        result = run("extract", name, *EXTRACT[1:])
        lines = result.out.splitlines()
        assert result.code == 1
        assert lines[0] == f"{Path('gone.mp4').absolute()}: failed: No such file or directory"
        assert lines[1].endswith("1 file failed; features are in f.hdf5 (rows of 12 numbers)")
        assert sorted(rows()) == ["a", "b"]


def test_ids_stay_when_files_are_added() -> None:
    run(*EXTRACT)
    write_movie(Path("v/a.mkv"), constant(1, 10))
    Path("w").mkdir()
    write_movie(Path("w/b.mp4"), constant(1, 10))
    assert run(*EXTRACT).out.startswith("1 video extracted (")
    assert run("extract", "w", "v/a.mp4", *EXTRACT[2:]).code == 0
    assert {name: len(found) for name, found in rows().items()} == {
        "a": 3, "a.mkv": 1, "b": 2, "w__b.mp4": 1,
    }  # fmt: skip


def test_other_settings_are_refused() -> None:
    run(*EXTRACT)
    line = refused(*EXTRACT, "--fps", "2", "--window", "2")
    assert line == (
        "f.hdf5 was made with fps 1.0, not 2.0, window 1.0, not 2.0, stride 1.0, not 2.0: give "
        "the same options again, or another -o"
    )
    save_clip(Path("clip"), seed=1)
    assert "was made with fingerprint " in refused(*EXTRACT)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["extract", "-o", "f"],
            "lightning extract: the following arguments are required: videos;",
        ),
        (["extract", "gone", "-o", "f"], "there is nothing to extract: "),
        (
            ["extract", "clip", "-o", "f"],
            "no videos in clip (5 files are not videos: .json 4, .safetensors 1): name files",
        ),
        ([*EXTRACT, "--fps", "0"], "fps is 0.0; it must be a number from 1e-05 to 1,000"),
        ([*EXTRACT, "--fsp", "1"], "lightning extract: unknown option --fsp (did you mean --fps?)"),
        ([*EXTRACT, "--device", "quantum"], "--device quantum: "),
        ([*EXTRACT[:4], "--encoder", "gone"], "no encoder 'gone'; there are: clip-b32, "),
        (EXTRACT[:4], "model openai/clip-vit-base-patch32 is not on this machine: "),
    ],
)
def test_refusals(words: list[str], line: str) -> None:
    assert refused(*words).startswith(line)
    assert not Path("f.hdf5").exists()


@pytest.mark.parametrize(
    ("words", "missing"),
    [(["extract", "-o", "f"], "required: videos"), (["extract", "v"], "required: output")],
)
def test_both_must_be_named(words: list[str], missing: str) -> None:
    assert missing in refused(*words)


def test_without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "av":
            raise ImportError(name, name=name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refused(*EXTRACT) == (
        "extract needs av, which is not here: pip install 'dreamprvr[search]'"
    )


@pytest.mark.slow
def test_the_installed_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = launch(*EXTRACT, anew=True)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("2 videos extracted")
