import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from lightning import LightningModule
from recorder import QUIET, trainer
from torch.utils.data import DataLoader

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.checking.check import check
from data_modules.generation.simulate import join
from data_modules.readers.features import open_features
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations, write_tables
from data_modules.testing import write_tiny
from dreamprvr.core.batch import TrainBatch
from dreamprvr.core.errors import UserError

pytestmark = QUIET


class Kitchen(PRVRDataModule):
    collection = "kitchen"
    feature_sets = {
        "standard": FeatureSet("FeatureData/v", "TextData/t.hdf5", 8, 6),
        "wide": FeatureSet("FeatureData/v", "TextData/t.hdf5", 8, 7),
    }
    source = "Ask the cook."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tiny(Kitchen, tmp_path, train=7)
    return tmp_path


def test_sizes_are_those_of_the_feature_set():
    data = Kitchen("nowhere", "wide", num_clips=3, max_frames=5, max_words=2)
    assert (data.video_dim, data.text_dim) == (8, 7)
    assert data.sizes == (3, 5, 2)
    assert data.folder == Path("nowhere/kitchen")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "clip"}, "Kitchen has no features named 'clip'; it has standard, wide"),
        ({"batch_size": 0}, r"data\.batch_size is 0; .* whole number from 1 to 1,048,576"),
        ({"eval_batch_size": -1}, r"data\.eval_batch_size is -1"),
        ({"query_batch_size": 0}, r"data\.query_batch_size is 0"),
        ({"num_workers": -1}, r"data\.num_workers is -1; .* from 0 to 1,024"),
        ({"num_workers": 10**6}, r"data\.num_workers is 1000000; .* from 0 to 1,024"),
        ({"batch_size": 10**400}, r"data\.batch_size is too large"),
        ({"max_words": 0}, r"data\.max_words is 0"),
        ({"device_resident": True}, r"data\.device_resident .*: add --data\.packed float32 or"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        Kitchen(**options)


def test_workers(monkeypatch: pytest.MonkeyPatch):
    for cores, workers in ((None, 0), (1, 0), (4, 3), (64, 8)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert Kitchen().num_workers == workers
        assert Kitchen(packed="float16").num_workers == 1
    assert Kitchen(num_workers=11).num_workers == 11
    assert Kitchen(num_workers=11, packed="float16").num_workers == 11


def test_missing_data_are_one_message(tmp_path: Path):
    with pytest.raises(UserError) as caught:
        Kitchen(tmp_path).prepare_data()
    message = str(caught.value)
    text, videos = (tmp_path / "kitchen" / name for name in ("TextData", "FeatureData/v"))
    captions = (text / f"kitchen{split}.caption.txt" for split in ("train", "val"))
    for path in (*captions, text / "t.hdf5", videos):
        assert message.count(f": {path}") == 1
    assert "\n" not in message
    assert message.startswith("kitchen: missing captions: ")
    for advice in ("Ask the cook.", "--data.root", "data convert", "data simulate", "data check"):
        assert advice in message


@pytest.mark.parametrize(
    ("stage", "splits"),
    [("fit", "train val"), ("validate", "val"), ("test", "test"), ("predict", "test")],
)
def test_only_files_that_a_stage_needs_are_required(root: Path, stage: str, splits: str):
    data = Kitchen(root)
    data.trainer = SimpleNamespace(state=SimpleNamespace(fn=SimpleNamespace(value=stage)))  # type: ignore[assignment]
    for split in ("train", "val", "test"):
        file = data.caption_file(split)
        kept = file.read_text()
        file.unlink()
        if split in splits.split():
            with pytest.raises(UserError, match=rf"missing captions: .*{split}\.caption\.txt\. "):
                data.prepare_data()
        else:
            data.prepare_data()
        file.write_text(kept)
    data.prepare_data()


def without(path: Path, *names: str) -> None:
    """Take some ids out of a feature file."""
    with h5py.File(path, "r+") as file:
        for name in names:
            del file[name]


@pytest.mark.parametrize("packed", [None, "float32"])
@pytest.mark.parametrize(
    ("stage", "prefix"), [("fit", "train"), ("fit", "val"), ("validate", "val"), ("test", "val")]
)
def test_missing_features_are_found_before_anything_is_made(
    root: Path, stage: str, prefix: str, packed: Any
):
    data = Kitchen(root, packed=packed, num_workers=0)
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        state=SimpleNamespace(fn=SimpleNamespace(value=stage)), local_rank=0, world_size=1
    )
    folder = root / "kitchen"
    without(folder / "TextData/t.hdf5", f"{prefix}-1#enc#0", f"{prefix}-2#enc#0")
    line = rf"t\.hdf5 has no features of 2 captions \({prefix}-1#enc#0, {prefix}-2#enc#0\)"
    with pytest.raises(UserError, match=line):
        data.prepare_data()
    without(folder / "FeatureData/v/feature.hdf5", f"{prefix}-3")
    with pytest.raises(UserError, match=rf"has no features of 1 video \({prefix}-3\)"):
        data.prepare_data()
    assert not (folder / "packed").exists()


def test_a_video_that_is_not_trained_needs_no_features(root: Path):
    class Larger(Kitchen):
        def read_annotations(self, split: str) -> Annotations:
            table = super().read_annotations(split)
            more = pd.DataFrame([("more", 1.0, split, "")], columns=VIDEO_COLUMNS)
            videos = pd.concat([table.videos, more]) if split == "train" else table.videos
            return Annotations(videos.reset_index(drop=True), table.queries)

    Larger(root, num_workers=0).prepare_data()
    with pytest.raises(UserError, match=r"has no features of 1 video \(more\)"):
        Larger(root, num_workers=0, packed="float32").prepare_data()


def test_wrong_width(root: Path):
    line = r"t\.hdf5 holds features of size 6, but Kitchen expects 7; .*\(standard, "
    with pytest.raises(UserError, match=line):
        Kitchen(root, "wide").stores()


def test_tables_come_from_the_caption_file(root: Path):
    data = Kitchen(root)
    lines = data.caption_file("train").read_text().splitlines()
    table = data.annotations("train")
    assert [f"{q.query_id} {q.text}" for q in table.queries.itertuples()] == lines
    assert table.videos["video_id"].tolist() == [f"train-{i}" for i in range(7)]
    assert set(table.videos["split"]) == set(table.queries["split"]) == {"train"}
    assert table.videos["duration"].isna().all()
    assert set(table.queries["moments"]) == {()}
    assert data.annotations("train") is table


def test_only_evaluations_use_labels(root: Path):
    """A caption without a row keeps its place and has no true video; training has its own."""
    plain = Kitchen(root, num_workers=0)
    rows = [("val-0#enc#0", ["val-2", "val-0"]), ("train-0#enc#0", ["train-1"]), ("x#0", ["val-0"])]
    lines = [json.dumps({"query_id": q, "gt_video_ids": true}) + "\n" for q, true in rows]
    (root / "l.jsonl").write_text("".join(lines))
    data = Kitchen(root, num_workers=0, labels=root / "l.jsonl")
    for split in ("val", "test"):
        table, found = data.annotations(split), data.labelled(split)
        assert found is not None
        assert found.table is table
        assert table.queries["query_id"].equals(plain.annotations(split).queries["query_id"])
        assert table.queries["video_ids"][0] == ("val-0", "val-2")
        assert set(table.queries["video_ids"][1:]) == {()}
        assert len(table.evaluated().queries) == 1
        assert f"kitchen {split} lacks, so not used: 2 rows (train-0#enc#0, x#0)" in str(found)
    pd.testing.assert_frame_equal(*(one.annotations("train").queries for one in (data, plain)))
    assert data.labelled("train") is None
    assert plain.labelled("val") is None
    positives = torch.cat([batch.positives for batch in data.val_dataloader()[1]])
    assert positives[0].tolist() == [0, 2]
    assert set(positives[1:].flatten().tolist()) == {-1}


def test_captions_may_come_as_json_lines(root: Path):
    data = Kitchen(root)
    table = data.annotations("train")
    rows = zip(table.queries["query_id"], table.queries["text"], strict=True)
    lines = [json.dumps({"caption_id": name, "caption": text}) + "\n" for name, text in rows]
    file = data.caption_file("train")
    file.with_suffix(".jsonl").write_text("".join(lines))
    with pytest.raises(UserError, match=r"kitchentrain\.caption\.jsonl: keep one of them"):
        Kitchen(root).prepare_data()
    file.unlink()
    data = Kitchen(root)
    data.prepare_data()
    pd.testing.assert_frame_equal(data.annotations("train").queries, table.queries)


def test_inner_tables_go_first(root: Path):
    videos = [("val-0", 5.0, "val", ""), ("val-1", 6.0, "val", "")]
    queries = [("val-0#enc#0", ("val-1", "val-0"), "one", ((1.0, 2.0),), "val")]
    both = pd.DataFrame(videos, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    write_tables(root / "kitchen" / "TextData", "kitchen", Annotations(*both))
    data = Kitchen(root, num_workers=0)
    assert data.annotations("val").videos["duration"].tolist() == [5.0, 6.0]
    gallery, asked = (list(loader) for loader in data.val_dataloader())
    assert gallery[0].row.tolist() == [0, 1]
    assert asked[0].positives.tolist() == [[1, 0]]
    with pytest.raises(UserError, match="kitchen has no captions for the split 'train'"):
        data.annotations("train")


def test_tables_need_no_caption_files(root: Path):
    text = root / "kitchen" / "TextData"
    tables = [Kitchen(root).read_annotations(split) for split in ("train", "val", "test")]
    write_tables(text, "kitchen", join(tables))
    for captions in text.glob("*.caption.txt"):
        captions.unlink()
    data = Kitchen(root, num_workers=0)
    data.prepare_data()
    assert data.annotations("val").queries["text"].equals(tables[1].queries["text"])
    assert check(data).ok
    (text / "kitchen_videos.csv").unlink()
    with pytest.raises(UserError, match=r"kitchen: missing videos: .*kitchen_videos\.csv"):
        data.prepare_data()


class Joined(Kitchen):
    feature_sets = {
        "standard": FeatureSet(
            ("slow", "clip"), "words", 5, 6, group="features", text_group="last", normalise=True
        )
    }


def test_features_of_two_encoders_in_npz_files(root: Path):
    """The declared features are opened, checked, packed, and packed again when a part changes."""
    kitchen, folder = Kitchen(root, num_workers=0), root / "kitchen"
    random = np.random.default_rng(0)
    for name in ("slow", "clip", "words"):
        (folder / name).mkdir()
    for video in kitchen.video_features().keys():  # noqa: SIM118 - no mapping
        for name, dim in (("slow", 2), ("clip", 3)):
            rows = random.standard_normal((7, dim)).astype(np.float32)
            np.savez(folder / name / f"{video}.npz", features=rows, info=rows[0])
    words = kitchen.text_features()
    for caption in words.keys():  # noqa: SIM118 - no mapping
        np.savez(folder / "words" / f"{caption}.npz", last=words[caption], pooled=words[caption][0])
    data = Joined(root, num_workers=0, packed="float32")
    data.prepare_data()
    assert check(data).ok
    rows = data.stores()[0]["val-0"]
    norms = [np.linalg.norm(part, axis=1) for part in (rows[:, :2], rows[:, 2:])]
    np.testing.assert_allclose(norms, 1, rtol=1e-5)
    before = [batch.clips for batch in data.val_dataloader()[0]]
    np.savez(folder / "clip" / "val-0.npz", features=np.ones((7, 3), np.float32))
    again = Joined(root, num_workers=0, packed="float32")
    again.prepare_data()
    after = [batch.clips for batch in again.val_dataloader()[0]]
    assert not torch.equal(before[0][0], after[0][0])
    assert torch.equal(before[0][1], after[0][1])
    (folder / "slow").rename(folder / "moved")
    assert any("video features 1: expected at" in line for line in check(data).problems)
    with pytest.raises(UserError, match="of several encoders, joined: choose others"):
        data.feature_set.single()


def test_training_is_shuffled_and_evaluation_is_not(root: Path):
    data = Kitchen(root, batch_size=2, eval_batch_size=3, query_batch_size=2, num_workers=0)
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined] # as the trainer does
        epochs.append([batch.videos.row.tolist() for batch in loader])
    assert all(len(epoch) == 4 for epoch in epochs)  # 7 videos: the last batch is short
    assert all(sorted(row for rows in epoch for row in rows) == list(range(7)) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) > 1
    for loaders in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        assert [batch.row.tolist() for batch in loaders[0]] == [[0, 1, 2], [3]]
        assert [len(batch.row) for batch in loaders[1]][:-1] == [2] * (len(loaders[1]) - 1)


def test_several_processes_take_full_batches_only(root: Path):
    rows = []
    for rank in range(2):  # 7 videos: 3 for each, of which a full batch takes 2
        torch.manual_seed(0)
        data = Kitchen(root, batch_size=2, num_workers=0)
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        rows.append([batch.videos.row.tolist() for batch in data.train_dataloader()])
    assert [len(batch) for batches in rows for batch in batches] == [2, 2]
    assert len({row for batches in rows for batch in batches for row in batch}) == 4


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of threads
def test_workers_load_the_same(root: Path):
    alone, helped = (Kitchen(root, num_workers=workers) for workers in (0, 1))
    first, second = (next(iter(data.val_dataloader()[1])) for data in (alone, helped))
    assert first.words.equal(second.words)
    assert first.row.equal(second.row)


def test_overridden_methods_are_used(root: Path):
    class Renamed(Kitchen):
        def read_annotations(self, split: str) -> Annotations:
            return super().read_annotations({"train": "val"}.get(split, split))

        def text_features(self):
            return open_features(self.folder / "TextData" / "t.hdf5")

    batch = next(iter(Renamed(root, num_workers=0).train_dataloader()))
    assert isinstance(batch, TrainBatch)
    assert len(batch.videos.row) == 4


def packed_folders(folder: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in folder.iterdir() if path.is_dir())


def test_true_videos_that_a_data_set_does_not_list_are_named(root: Path):
    class Astray(Kitchen):
        def read_annotations(self, split: str) -> Annotations:
            table = super().read_annotations(split)
            return Annotations(table.videos[1:].reset_index(drop=True), table.queries)

    line = r"^kitchen: captions of the split val belong to 1 video \(val-0\) that its .* lacks$"
    with pytest.raises(UserError, match=line):
        Astray(root).val_dataloader()


def test_features_are_packed_on_request_with_type_and_folder(root: Path, tmp_path: Path):
    Kitchen(root).prepare_data()
    assert not (root / "kitchen" / "packed").exists()
    Kitchen(root, packed="float32").prepare_data()
    kinds = ["captions-float32", "videos-float32"]
    assert packed_folders(root / "kitchen" / "packed") == sorted(kinds * 2)  # train and val
    Kitchen(root, packed="float16", packed_folder=tmp_path / "cache").prepare_data()
    assert packed_folders(tmp_path / "cache") == sorted(["captions-float16", "videos-float16"] * 2)


def test_val_and_test_of_the_same_content_are_packed_once(root: Path):
    data = Kitchen(root, packed="float32", num_workers=0)
    for loaders in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        sizes = [4, len(data.annotations("val").queries)]
        assert [len(loader.dataset) for loader in loaders] == sizes
    assert packed_folders(root / "kitchen" / "packed") == ["captions-float32", "videos-float32"]


def test_half_precision_is_close(root: Path):
    exact, half = (
        next(iter(Kitchen(root, packed=packed, num_workers=0).val_dataloader()[0]))  # type: ignore[arg-type]
        for packed in (None, "float16")
    )
    assert half.frames.dtype == torch.float32
    assert half.frame_mask.equal(exact.frame_mask)
    torch.testing.assert_close(half.frames, exact.frames, rtol=1e-3, atol=1e-4)
    assert not half.frames.equal(exact.frames)


def test_resident_features_need_no_workers_and_are_freed(root: Path):
    data = Kitchen(root, packed="float32", num_workers=3, device_resident=True)
    assert {type(loader) for loader in data.val_dataloader()} == {DataLoader}
    before = data.val_dataloader()[0].dataset.source
    assert data.val_dataloader()[0].dataset.source is before
    data.teardown("fit")
    assert data.val_dataloader()[0].dataset.source is not before


class Recorder(LightningModule):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[torch.Tensor] = []

    def training_step(self, batch: TrainBatch, batch_idx: int) -> torch.Tensor:
        self.seen += [*batch.videos, *batch.queries, batch.labels]
        return self.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.seen += batch

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("options", [{}, {"device_resident": True}], ids=["packed", "resident"])
def test_a_trainer_sees_the_same_batches(root: Path, options: dict[str, Any]):
    seen = []
    for choice in ({}, {"packed": "float32", **options}):
        torch.manual_seed(0)
        data, module = Kitchen(root, batch_size=3, num_workers=0, **choice), Recorder()
        trainer().fit(module, data)
        seen.append(module.seen)
    assert len(seen[0]) > 40
    assert all(a.equal(b) for a, b in zip(*seen, strict=True))
