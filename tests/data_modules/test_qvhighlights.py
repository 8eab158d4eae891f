import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli.running import run
from qvhighlights_files import row, write_features, write_lines, write_qvhighlights
from shared import DATA, needs_data

from data_modules.base import SplitSize
from data_modules.checking.check import check
from data_modules.qvhighlights import WITH_MOMENTS, QVHighlights
from data_modules.readers.tables import write_tables
from data_modules.testing import DataModuleContract
from dreamprvr.core.errors import UserError


class TestStandard(DataModuleContract):
    def make(self, root: Path) -> QVHighlights:
        write_qvhighlights(root)
        return QVHighlights(root, batch_size=3, eval_batch_size=3, num_workers=0)


class TestClip(DataModuleContract):
    def make(self, root: Path) -> QVHighlights:
        write_qvhighlights(root)
        return QVHighlights(
            root, "clip", batch_size=3, eval_batch_size=3, num_workers=0, test_release="test"
        )


def test_facts_of_the_release() -> None:
    data = QVHighlights()
    assert (data.video_dim, data.text_dim) == (2816, 512)
    sizes = {name: size.captions for name, size in data.expected.items()}
    assert sizes == {"train": 7_218, "val": 1_550, "test": 1_550}
    other = QVHighlights("data", "clip", test_release="test")
    assert (other.video_dim, other.text_dim) == (512, 512)
    assert other.expected["test"] == SplitSize(None, 1_542)
    assert sum(sizes.values()) - 1_550 + 1_542 == 10_310


def test_files_are_where_the_release_has_them(tmp_path: Path) -> None:
    folder = write_qvhighlights(tmp_path)
    found = {str(p.relative_to(folder)) for p in QVHighlights(tmp_path).files("val").values()}
    assert found == {
        "highlight_val_release.jsonl", "slowfast_features", "clip_features", "clip_text_features",
    }  # fmt: skip


def test_several_moments_of_a_query(tmp_path: Path) -> None:
    write_qvhighlights(tmp_path)
    table = QVHighlights(tmp_path).annotations("train")
    assert table.queries["query_id"].tolist()[:3] == ["qid0", "qid1", "qid2"]
    assert table.queries["moments"].tolist()[:3] == [((2, 6), (10, 24))] * 2 + [((0, 8),)]
    assert table.videos["duration"].tolist() == [24.0] * 6
    assert table.queries["video_ids"].tolist()[:2] == [("-train_0aB3_60.0_210.0",)] * 2


def test_the_split_test_is_the_release_val_unless_asked(tmp_path: Path) -> None:
    folder = write_qvhighlights(tmp_path)
    data, other = QVHighlights(tmp_path), QVHighlights(tmp_path, test_release="test")
    for split in ("val", "test"):
        assert data.caption_file(split).name == "highlight_val_release.jsonl"
    assert data.annotations("test").queries["text"].equals(data.annotations("val").queries["text"])
    assert other.caption_file("test").name == "highlight_test_release.jsonl"
    assert set(other.annotations("test").queries["moments"]) == {()}
    lines = (folder / "highlight_test_release.jsonl").read_text().splitlines()
    known = [json.loads(line) | {"relevant_windows": [[4, 8]]} for line in lines]
    write_lines(folder / WITH_MOMENTS, known)
    again = QVHighlights(tmp_path, test_release="test")
    assert set(again.annotations("test").queries["moments"]) == {((4.0, 8.0),)}
    assert again.caption_file("val").name == "highlight_val_release.jsonl"


def test_each_part_has_length_one_before_it_is_joined(tmp_path: Path) -> None:
    folder = write_qvhighlights(tmp_path)
    (path,) = (folder / "clip_features").glob("-val_0*")
    rows = np.load(path)["features"]
    np.savez(path, features=50 * rows)
    joined = QVHighlights(tmp_path).stores()[0][path.stem]
    assert joined.shape == (12, 2816)  # SlowFast's thirteenth row is left out
    for part in (joined[:, :2304], joined[:, 2304:]):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, rtol=1e-4)


def test_check_of_a_small_copy(tmp_path: Path) -> None:
    folder = write_qvhighlights(tmp_path)
    report = check(QVHighlights(tmp_path))
    assert report.ok
    text = report.text()
    assert "train: 6 videos and 7 captions; published are 7,218 captions" in text
    assert "features that no split checked uses: 4 captions" in text
    write_lines(
        folder / "highlight_val_release.jsonl", [row(7, "-val_0aB3_60.0_210.0", [[20, 30]])]
    )
    report = check(QVHighlights(tmp_path))
    assert "val, test: 1 moment cut at the end of the video, 1 by more than 0.5 s" in report.remarks


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    folder = write_qvhighlights(tmp_path)
    train = sorted((folder / "clip_features").glob("-train*"))
    train[0].unlink()
    np.savez(train[1], features=np.ones((5, 512), np.float32))
    np.savez(train[2], clip=np.ones((12, 512), np.float32))
    np.savez(train[3], features=np.array([{}], object))
    problems = "\n".join(check(QVHighlights(tmp_path)).problems)
    for part in (
        "no features: 1 video (-train_0", "the encoders have 13, 5 rows", "no array 'features'",
        "is damaged",
    ):  # fmt: skip
        assert part in problems
    shutil.rmtree(folder / "slowfast_features")
    (folder / "highlight_val_release.jsonl").unlink()
    problems = "\n".join(check(QVHighlights(tmp_path)).problems)
    assert "missing video features 1: expected at" in problems
    assert "missing captions: expected at" in problems
    with pytest.raises(UserError, match=r"qvhighlights: missing .*jayleicn/moment_detr"):
        QVHighlights(tmp_path).prepare_data()


def test_the_inner_tables_come_first(tmp_path: Path) -> None:
    folder = write_qvhighlights(tmp_path)
    table = QVHighlights(tmp_path).annotations("val")
    write_tables(folder / "TextData", "qvhighlights", table)
    (folder / "highlight_val_release.jsonl").unlink()
    again = QVHighlights(tmp_path).annotations("val")
    assert again.queries["moments"].tolist() == table.queries["moments"].tolist()


@needs_data
def test_real_clip_features(tmp_path: Path) -> None:
    """Real frames and real words of CLIP, in the files of the release."""
    frames = np.load(DATA / "videos" / "univtg_vid.npz")["features"]
    words = np.load(DATA / "videos" / "univtg_txt.npz")["features"]
    rows = [row(i, f"v{i}_0.0_30.0", [[0, 6], [20, 30]], 30) for i in range(3)]
    for split in ("train", "val", "test"):
        write_lines(tmp_path / "qvhighlights" / f"highlight_{split}_release.jsonl", rows)
    folder = tmp_path / "qvhighlights"
    write_features(folder, rows)
    np.savez(folder / "clip_features" / "v0_0.0_30.0.npz", features=frames)
    np.savez(folder / "clip_text_features" / "qid0.npz", last_hidden_state=words)
    data = QVHighlights(tmp_path, num_workers=0)
    assert check(data).ok
    video, text = (
        store[name] for store, name in zip(data.stores(), ("v0_0.0_30.0", "qid0"), strict=True)
    )
    unit = frames / np.linalg.norm(frames.astype(np.float32), axis=1, keepdims=True)
    np.testing.assert_allclose(video[:, 2304:], unit, atol=1e-3)
    np.testing.assert_array_equal(text, words.astype(np.float32))


@pytest.mark.slow
def test_as_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check, train, test and predict with the shipped configuration, a smaller network."""
    monkeypatch.chdir(tmp_path)
    write_qvhighlights(tmp_path / "data")
    small = [
        "--config", "qvhighlights.yaml", "--trainer.accelerator", "cpu", "--data.num_workers", "0",
        "--trainer.enable_progress_bar", "false",
    ]  # fmt: skip
    network = ["--model.network.hidden_size", "16", "--model.network.num_heads", "2"]
    checked = run("data", "check", "--config", "qvhighlights.yaml")
    assert checked.code == 0, checked.out
    fitted = run(
        "fit", *small, *network, "--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1"
    )
    assert fitted.code == 0, fitted.err
    best = "runs/qvhighlights/version_0/checkpoints/best.ckpt"
    for words in (["test"], ["test", "--data.test_release", "test"], ["predict"]):
        done = run(*words, *small, "--ckpt_path", best)
        assert done.code == 0, done.err
    lines = [json.loads(line) for line in Path("predictions.jsonl").read_text().splitlines()]
    assert [line["query_id"] for line in lines] == [f"qid{i}" for i in range(7, 12)]
    hits = [hit for line in lines for hit in line["hits"]]
    assert len(hits) == 20
    assert all(0 <= hit["start"] < hit["end"] <= 24 for hit in hits)
