"""lightning up: with a tiny encoder and without a page, and once with all processes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cli.running import refused, run
from extraction.movies import constant, write_movie
from extraction.tiny_models import save_clip
from search.libraries import NAME

from dreamprvr.cli import library_verbs, up_verb
from dreamprvr.cli.up_verb import Display
from dreamprvr.core.errors import UserError
from dreamprvr.extraction import extractor, watching
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import read_manifest

UP = ("up", "v", "--encoder", NAME, "--device", "cpu")
KEPT = Path("v/.dreamprvr")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, seconds in (("a", 3), ("b", 2), ("c", 1)):
        write_movie(folder / f"{name}.mp4", constant(seconds, 10))
        old(folder / f"{name}.mp4")
    return folder


def old(path: Path) -> Path:
    """Make a file one that changed long ago; each at another time."""
    changed = time.time() - 1000 - path.stat().st_size
    os.utime(path, (changed, changed))
    return path


@pytest.fixture(autouse=True)
def _films(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(originals, "v")
    monkeypatch.setattr(up_verb, "LOOK", 0.01)


class Page:
    """Stands for the page's process. Each wait for it is a step of a test.

    Args:
        say: function that is given the lines of the page.
        options: arguments of `serve`.
    """

    steps: list[Callable[[], object]]
    made: list["Page"]

    def __init__(self, say: Callable[[str], None], **options: Any) -> None:
        self.options, self.started, self.closed = options, False, False
        self.made.append(self)

    def start(self) -> None:
        assert (KEPT / "library").is_dir() or self.options["library"] != KEPT / "library"
        self.started = True

    def has_ended(self) -> bool:
        return False

    def wait(self, seconds: float | None = None) -> None:
        if seconds is None or not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)()

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def pages(monkeypatch: pytest.MonkeyPatch) -> list[Page]:
    Page.steps, Page.made = [], []
    monkeypatch.setattr(up_verb, "PageProcess", Page)
    return Page.made


def titles(folder: Path = KEPT) -> list[str]:
    with Library.open(folder / "library", "cpu") as library:
        return [video.video_id for video in library.videos()]


def test_one_command_makes_a_library(pages: list[Page]) -> None:
    result = run(*UP, "--open", "--port", "7", "--allowed_host", "x")
    assert (result.code, result.err) == (0, "")
    first, *rest = result.out.splitlines()
    assert first.startswith("3 videos extracted (")
    assert rest == [
        "3 videos can be searched; the library is in v/.dreamprvr/library",
        "all is done; Ctrl-C ends the page",
    ]
    (page,) = pages
    assert page.started
    assert page.closed
    assert page.options == {
        "library": KEPT / "library", "port": 7, "host": "127.0.0.1", "allowed_host": ["x"],
        "open": True, "cache": None, "device": "cpu",
    }  # fmt: skip
    assert titles() == ["a", "b", "c"]
    assert sorted(path.name for path in KEPT.iterdir()) == ["features.hdf5", "library"]
    assert not (KEPT / "library" / "progress.json").exists()


def test_again_it_does_what_is_new_with_the_same_settings() -> None:
    run(*UP, "--fps", "2", "--window", "1.5")
    old(write_movie(Path("v/d.mp4"), constant(1, 10)))
    Path("v/a.mp4").unlink()
    out = run("up", "v").out  # the encoder, too, is that of the library
    assert re.match(r"1 video extracted \(.*, 2 unchanged, 1 dropped; features", out)
    assert titles() == ["b", "c", "d"]
    settings = read_manifest(KEPT / "library").settings
    assert (settings.fps, settings.window, settings.stride) == (2.0, 1.5, 1.5)
    again = run("up", "v").out
    assert again.splitlines()[0].startswith("0 videos extracted, 3 unchanged; features are in")
    line = refused("up", "v", "--fps", "3")
    assert "was made with fps 2.0, not 3.0: give the same options again" in line


def test_videos_of_other_arguments_stay() -> None:
    run(*UP, "-o", "kept")
    assert run("up", "v/b.mp4", "-o", "kept").code == 0
    assert titles(Path("kept")) == ["a", "b", "c"]
    Path("v/a.mp4").unlink()
    run("up", "v/b.mp4", "-o", "kept")
    assert titles(Path("kept")) == ["b", "c"]


def test_search_and_list_find_the_library_by_the_folder_of_videos() -> None:
    run(*UP)
    assert run("library", "list", "v").out.endswith("3 videos\n")
    assert "3 videos in" in run("search", "v", "dog", "--device", "cpu").out
    assert "3 videos in" in run("search", "v/.dreamprvr", "dog", "--device", "cpu").out


def test_what_is_extracted_can_be_searched_while_the_rest_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extractor, "RENEWING", 0)
    counts: list[int] = []
    index = up_verb.Upkeep._index_meanwhile

    def counted(upkeep: up_verb.Upkeep) -> None:
        index(upkeep)
        counts.append(len(titles()))

    monkeypatch.setattr(up_verb.Upkeep, "_index_meanwhile", counted)
    run(*UP, "--batch_size", "1")
    assert counts == [1, 2, 3]


@pytest.mark.parametrize("step", ["extract", "index"])
def test_ctrl_c_at_work_keeps_what_is_done(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "index":
            patch.setattr(Library, "update", interrupt)
        else:
            patch.setattr(extractor, "RENEWING", 10**9)
            patch.setattr(extractor._Run, "_renew_output", interrupt)
        result = run(*UP)
    assert (result.code, result.err) == (130, "interrupted\n")
    assert result.out == (
        "stopped; what is finished is kept, and the same command goes on from there\n"
    )
    assert Page.made[0].closed
    assert re.match(r"[23] videos extracted|0 videos extracted, 3 unch", run(*UP).out)
    assert titles() == ["a", "b", "c"]


def test_watching_follows_the_folder() -> None:
    def change() -> None:
        Path("v/a.mp4").unlink()
        old(write_movie(Path("v/d.mp4"), constant(1, 10)))

    Page.steps = [change, lambda: None, lambda: None]
    out = run(*UP, "--watch").out.splitlines()
    assert out[0].startswith("3 videos extracted")
    assert out[2] == "watching v; Ctrl-C ends the page"
    assert out[3].startswith("1 video extracted (")
    assert ", 2 unchanged, 1 dropped; features are" in out[3]
    assert out[4:] == ["3 videos can be searched; the library is in v/.dreamprvr/library", out[2]]
    assert titles() == ["b", "c", "d"]


def test_a_growing_file_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    write_movie(Path("v/a.mp4"), constant(2, 10))  # just now, so it may be half of a film
    seen: list[list[str]] = []

    def rest() -> None:
        seen.append(titles())
        monkeypatch.setattr(watching, "REST", 0)

    Page.steps = [rest]
    out = run(*UP).out.splitlines()
    assert seen == [["b", "c"]]
    assert out[0].startswith("2 videos extracted")
    assert out[2].startswith("1 video extracted (")
    assert titles() == ["a", "b", "c"]


def test_a_growing_file_keeps_its_old_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    run(*UP)
    seen: list[list[str]] = []
    Page.steps = [
        lambda: write_movie(Path("v/a.mp4"), constant(1, 10)),
        lambda: None,
        lambda: seen.append(titles()),
    ]
    run(*UP, "--watch")
    assert seen == [["a", "b", "c"]]


def test_a_broken_file_is_named_once_until_it_changes() -> None:
    old_text = Path("v/d.mp4")
    old_text.write_text("text")
    old(old_text)

    def mend() -> None:
        old(write_movie(old_text, constant(1, 10)))

    def add() -> None:
        old(write_movie(Path("v/e.mp4"), constant(1, 10)))

    Page.steps = [lambda: None, add, lambda: None, mend, lambda: None]
    out = run(*UP, "--watch").out
    assert out.count("d.mp4: failed: not a video") == 1
    assert titles() == ["a", "b", "c", "e"] or titles() == ["a", "b", "c", "d", "e"]


def test_watching_waits_for_videos(tmp_path: Path) -> None:
    for path in Path("v").iterdir():
        path.unlink()
    line = refused(*UP)
    assert line.startswith("no videos in v")

    def add() -> None:
        old(write_movie(Path("v/e.mp4"), constant(1, 10)))

    Page.steps = [lambda: None, add, lambda: None]
    out = run(*UP, "--watch").out.splitlines()
    assert [text for text in out if text.startswith("no videos")] == [out[0]]
    assert titles() == ["e"]


def test_a_library_in_use_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    run(*UP)
    update, calls = Library.update, []

    def busy(library: Library, *arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if 2 <= len(calls) <= 3:  # while it extracts, and at the end
            raise UserError("library is in use by `lightning search` (process 1)")
        return update(library, *arguments, **options)

    monkeypatch.setattr(Library, "update", busy)
    old(write_movie(Path("v/d.mp4"), constant(1, 10)))
    Page.steps = [
        lambda: old(write_movie(Path("v/e.mp4"), constant(1, 10))), lambda: None, lambda: None,
    ]  # fmt: skip
    out = run(*UP, "--watch").out
    assert out.count("\nlater: library is in use by") == 1
    assert out.count("\nlibrary is in use by") == 1
    assert titles() == ["a", "b", "c", "d", "e"]


def test_metadata_and_checkpoint_reach_the_index(tmp_path: Path) -> None:
    Path("videos.csv").write_text("video_id,tags\na,pets\n")
    run(*UP, "--metadata", "videos.csv")
    assert run("library", "list", "v", "--where", "tags=pets").out.startswith("a  ")
    assert "gone.ckpt" in refused(*UP, "--ckpt_path", "gone.ckpt")
    assert Page.made[-1].closed


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("up",), "the following arguments are required: videos"),
        (("up", "nowhere"), "nowhere does not exist: name a folder of videos"),
        (("up", "v/a.mp4"), "no folder of videos is named, so name one for the library by -o"),
        (("up", "v", "-o", "v/a.mp4/x"), "v/a.mp4/x cannot be made (Not a directory"),
        (("up", "v", "--encoder", "gone"), "no encoder 'gone'; there are: clip-b32"),
    ],
)
def test_mistakes(words: tuple[str, ...], line: str) -> None:
    assert line in refused(*words)


def test_the_display(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("COLUMNS", "100")
    display = Display()
    display.say("before")
    display.show("extracting", 1, 4, "1/4 videos {x}")
    assert err.getvalue().split("\r")[-1].startswith("extracting:  25%|")
    assert "| 1/4 videos {x}" in err.getvalue()
    display.show("extracting", 2, 4, "2/4")  # too soon
    assert "2/4" not in err.getvalue()
    display.show("indexing")
    assert "indexing ..." in err.getvalue()
    display.say("between")
    display.clear()
    display.clear()
    assert capsys.readouterr().out == "before\nbetween\n"


@pytest.mark.slow
def test_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed program: the page, a search that it answers, kill -9, and Ctrl-C."""
    save_clip(Path("clip"))
    script = Path(sys.executable).with_name("lightning")
    words = [script, "up", "v", "--encoder", "transformers:clip", "--port", "0", "--watch"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    started = {"env": environment, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **started) as first:  # type: ignore[call-overload]
        assert first.stdout.readline().startswith("the page is at http://127.0.0.1:")
        first.kill()
    with subprocess.Popen(words, stderr=subprocess.PIPE, **started) as again:  # type: ignore[call-overload]
        try:
            while not (line := again.stdout.readline()).startswith("watching"):
                assert line, again.stderr.read()
            monkeypatch.setattr(library_verbs, "_open", elsewhere)
            until = time.monotonic() + 60
            while (found := run("search", "v", "a dog")).code:  # the page opens the library again
                assert time.monotonic() < until, found
            assert "3 videos in" in found.out
            again.send_signal(signal.SIGINT)
            out, err = again.communicate(timeout=30)
        finally:
            again.kill()
    assert (again.returncode, out, err) == (0, "", "")
    assert (KEPT / "library" / ".server").read_bytes() == b""


def elsewhere(folder: Path, device: str) -> Library:
    raise UserError("the page must answer")
