"""A folder of one's own: the contract, each form of captions, and a training without any code."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli.running import refused, run
from extraction.movies import constant, write_movie
from search.libraries import NAME

from data_modules.checking.check import check
from data_modules.folder import Folder
from data_modules.testing import DataModuleContract
from dreamprvr.core.errors import UserError

VIDEOS = [f"v {number}" for number in range(12)]  # ids may hold spaces


def write_features(root: Path) -> None:
    random = np.random.default_rng(0)
    with (
        h5py.File(root / "features.hdf5", "w") as videos,
        h5py.File(root / "words.hdf5", "w") as words,
    ):
        for name in VIDEOS:
            videos[name] = random.standard_normal((random.integers(1, 9), 7)).astype(np.float32)
            for number in range(2):
                rows = random.standard_normal((random.integers(1, 6), 5)).astype(np.float32)
                words[f"{name}#enc#{number}"] = rows


def write_json(path: Path, videos: list[str]) -> None:
    lines = [
        json.dumps({"video_id": name, "caption": f"sentence {number} of {name}"}) + "\n"
        for name in videos
        for number in range(2)
    ]
    path.write_text("".join(lines))


class TestCaptionsAlone(DataModuleContract):
    def make(self, root: Path) -> Folder:
        write_features(root)
        write_json(root / "captions.jsonl", VIDEOS)
        return Folder(root, batch_size=3, eval_batch_size=3, num_workers=0)


class TestSplits(DataModuleContract):
    def make(self, root: Path) -> Folder:
        write_features(root)
        write_json(root / "train.jsonl", VIDEOS[:6])
        write_json(root / "val.jsonl", VIDEOS[6:9])
        write_json(root / "test.jsonl", VIDEOS[9:])
        return Folder(root, batch_size=3, eval_batch_size=3, num_workers=0)


class TestOtherForms(DataModuleContract):
    """A table, and the text of the MS-SL release, without a file for the test."""

    def make(self, root: Path) -> Folder:
        write_features(root)
        (root / "train.csv").write_text("video_id,caption\nv 1,one\nv 1,two\nv 2,three\n")
        with h5py.File(root / "features.hdf5", "r+") as file:
            file.copy("v 3", "v3")
        with h5py.File(root / "words.hdf5", "r+") as file:
            file.copy("v 3#enc#0", "v3#enc#0")
        (root / "val.txt").write_text("v3#enc#0 four\n")
        return Folder(root, batch_size=3, eval_batch_size=3, num_workers=0)


def splits(root: Path) -> dict[str, set[str]]:
    data = Folder(root)
    return {
        name: set(data.annotations(name).videos["video_id"]) for name in ("train", "val", "test")
    }


def test_a_file_of_all_captions_is_split_by_video(tmp_path: Path) -> None:
    write_json(tmp_path / "captions.jsonl", VIDEOS)
    before = splits(tmp_path)
    assert before["val"] == before["test"] == {f"v {number}" for number in (2, 4, 5, 6, 9, 11)}
    assert before["train"] == set(VIDEOS) - before["val"]
    write_json(tmp_path / "captions.jsonl", [*VIDEOS, *(f"w{number}" for number in range(100))])
    after = splits(tmp_path)
    assert len(after["val"]) == pytest.approx(20, abs=8)
    assert all(before[name] == after[name] & set(VIDEOS) for name in before)


def test_a_test_split_of_its_own(tmp_path: Path) -> None:
    for name, videos in (("train", VIDEOS[:6]), ("val", VIDEOS[6:9])):
        write_json(tmp_path / f"{name}.jsonl", videos)
    assert splits(tmp_path)["test"] == set(VIDEOS[6:9])
    write_json(tmp_path / "test.jsonl", VIDEOS[9:])
    assert splits(tmp_path)["test"] == set(VIDEOS[9:])


def test_mistakes(tmp_path: Path) -> None:
    data = Folder(tmp_path)
    with pytest.raises(
        UserError, match=r"missing captions: .*/train\.jsonl; text features: .*words"
    ):
        data.refuse_missing_files(("train",))
    report = check(data)
    assert f"missing captions: expected at {tmp_path / 'val.jsonl'}" in report.problems
    write_json(tmp_path / "captions.jsonl", VIDEOS[:2])
    with pytest.raises(
        UserError, match=r"captions.jsonl has too few videos \(2\) to keep one in 5"
    ):
        data.annotations("val")
    (tmp_path / "val.csv").write_text("")
    with pytest.raises(UserError, match=r"has captions\.jsonl, which is split, and val\.csv: keep"):
        data.annotations("val")
    (tmp_path / "captions.csv").write_text("")
    with pytest.raises(UserError, match=r"has captions.jsonl, captions.csv: keep one"):
        data.annotations("train")


def test_own_videos_by_typed_commands() -> None:
    """The commands of docs/training.md, and a search with the model that they train."""
    films = [f"film {number}" for number in range(9)]
    Path("films").mkdir()
    Path("own").mkdir()
    for number, name in enumerate(films):
        write_movie(Path(f"films/{name}.mp4"), constant(2 + number % 3, 10))
    write_json(Path("own/captions.jsonl"), films)
    encoder = ("--encoder", NAME, "--device", "cpu")
    extracted = run("extract", "films", "-o", "own/features.hdf5", *encoder)
    assert extracted.out.endswith("features are in own/features.hdf5 (rows of 6 numbers)\n")
    words = run("extract-text", "own/captions.jsonl", "-o", "own/words.hdf5", *encoder)
    assert words.out.endswith("word features are in own/words.hdf5 (rows of 5 numbers)\n")
    own = ("--data", "Folder", "--data.root", "own")
    checked = run("data", "check", *own)
    assert checked.code == 0, checked
    small = (
        "--model.network.hidden_size", "8", "--model.network.num_heads", "2",
        "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu",
        "--trainer.log_every_n_steps", "1", "--data.num_workers", "0", "--data.batch_size", "4",
    )  # fmt: skip
    fitted = run("fit", *own, *small)
    assert fitted.code == 0, fitted.err
    best = "runs/folder/version_0/checkpoints/best.ckpt"
    assert run("test", *own, "--ckpt_path", best, "--trainer.accelerator", "cpu").code == 0
    indexed = run("index", "own/features.hdf5", "-o", "library", "--ckpt_path", best)
    assert indexed.code == 0, indexed
    assert "9 videos in" in run("search", "library", "a red dog").out


def test_it_is_known_by_name() -> None:
    assert "data_modules.folder.Folder: Your own videos: " in run("datasets").out
    assert refused("fit", "--data", "Folder", "--data.root", "nowhere").startswith(
        "folder: missing video features: nowhere/features. Their size is read from them"
    )
