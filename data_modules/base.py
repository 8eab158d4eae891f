"""The base class of every benchmark, and the benchmarks that are installed.

A benchmark is a subclass of `PRVRDataModule` (CONTRIBUTING.md, "Adding a data set").
"""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import pandas as pd
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from data_modules.feature_set import FeatureSet, Kind
from data_modules.loading.dataset import InputSizes, QueryDataset, VideoDataset
from data_modules.loading.loaders import Share, SplitLoaders
from data_modules.loading.packed import PackedFeatures
from data_modules.loading.packed_store import Precision
from data_modules.readers.captions import find_captions, read_captions
from data_modules.readers.labels import Labelled, apply_labels, read_labels
from data_modules.readers.store import FeatureStore, some
from data_modules.readers.tables import VIDEO_COLUMNS, Annotations, read_tables, table_paths
from dreamprvr.core.distributed import gather_objects
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.plugins import import_installed
from dreamprvr.core.text import quote

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
LARGEST = 2**20  # largest batch, and largest number of rows of a video or caption
MOST_WORKERS = 1024  # loading processes
GROUP = "dreamprvr.datasets"  # group of entry points


class SplitSize(NamedTuple):
    """Numbers of videos and captions that `data check` expects of a split; None if not known."""

    videos: int | None
    captions: int


class PRVRDataModule(LightningDataModule):
    """A benchmark in the MS-SL layout (docs/data.md).

    A subclass sets the class attributes below. One whose captions or features lie in another form
    overrides `read_annotations`, `video_features` or `text_features`, and `files`.

    Attributes:
        collection: name of the benchmark's folder and the prefix of its files.
        feature_sets: kinds of features by name; `standard` is the default.
        expected: published size of each split, for `data check`.
        source: one line that says where the files can be had, for messages.

    Args:
        root: folder that holds `<collection>/`.
        features: name of one of the `feature_sets`, or the paths of other features.
        batch_size: videos of a training batch, each with all its captions, on each device.
        eval_batch_size: videos encoded at once in evaluation.
        query_batch_size: queries scored at once in evaluation.
        num_workers: loading processes; None takes one less than there are cores, at most 8. Packed
            features are gathered ahead by a thread instead, unless this is 0: a process would take
            longer to hand a batch over.
        packed: pool and normalise all features once, in a store that batches are gathered from.
            `float32` gives the same batches bit for bit, `float16` takes half the space. None, the
            default, reads item by item, as a store takes minutes and up to tens of gigabytes.
        packed_folder: folder of the packed features; by default `<root>/<collection>/packed`.
        device_resident: keep packed features on the device that trains, and gather there.
        num_clips: clips of a video; set by the network's configuration.
        max_frames: largest number of frames of a video; set by the network's configuration.
        max_words: largest number of words of a caption; set by the network's configuration.
        labels: file of JSON lines that names all true videos of each caption (`query_id`,
            `gt_video_ids`), for evaluations: those of `validate`, `test` and `predict`, and those
            during `fit`. Training batches never use it. Captions without a row are left out of the
            results.
    """

    collection: ClassVar[str]
    feature_sets: ClassVar[dict[str, FeatureSet]]
    expected: dict[str, SplitSize] = {}
    source: ClassVar[str] = ""

    def __init__(
        self,
        root: str | os.PathLike[str] = "data",
        features: FeatureSet | str = "standard",
        batch_size: int = 128,
        eval_batch_size: int = 100,
        query_batch_size: int = 1000,
        num_workers: int | None = None,
        num_clips: int = 32,
        max_frames: int = 128,
        max_words: int = 30,
        packed: Precision | None = None,
        packed_folder: str | os.PathLike[str] | None = None,
        device_resident: bool = False,
        labels: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        self.root, self.features = Path(root), str(features)
        self.feature_set = self._chosen(features)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.query_batch_size = query_batch_size
        self.packed, self.packed_folder = packed, packed_folder
        self.device_resident = device_resident
        self.labels = None if labels is None else Path(labels)
        self.sizes = InputSizes(num_clips, max_frames, max_words)
        if num_workers is None:
            num_workers = min(8, (os.cpu_count() or 1) - 1) if packed is None else 1
        self.num_workers = num_workers
        if labels == "":
            raise UserError("data.labels is empty: give the path of a file")
        self._check_settings()
        self._tables: dict[str, Annotations] = {}
        self._labelled: dict[str, Labelled] = {}
        self._complete: set[str] = set()  # splits whose ids all have features

    def _chosen(self, features: FeatureSet | str) -> FeatureSet:
        if isinstance(features, FeatureSet):
            return features
        if features not in self.feature_sets:
            raise UserError(
                f"{type(self).__name__} has no features named {quote(features)}; "
                f"it has {', '.join(self.feature_sets)}; others: --data.features.video PATH "
                "--data.features.text PATH"
            )
        return self.feature_sets[features]

    def _check_settings(self) -> None:
        names = ("batch_size", "eval_batch_size", "query_batch_size")
        counts = {name: getattr(self, name) for name in names} | self.sizes._asdict()
        for name, value in counts.items():
            check_range(f"data.{name}", value, 1, LARGEST, whole=True)
        check_range("data.num_workers", self.num_workers, 0, MOST_WORKERS, whole=True)
        if self.device_resident and self.packed is None:
            raise UserError(
                "data.device_resident keeps packed features on the device: add --data.packed "
                "float32 or --data.packed float16"
            )

    # Where things lie

    @property
    def folder(self) -> Path:
        """Folder of this benchmark: `<root>/<collection>`."""
        return self.root / self.collection

    def caption_file(self, split: str) -> Path:
        """Return the caption file of a split, which may also end in `.jsonl` or `.csv`."""
        name = f"{self.collection}{split}.caption.txt"
        return find_captions(self.folder / "TextData" / name)

    # What may be overridden

    def files(self, split: str) -> dict[str, Path]:
        """Return the files and folders that a split needs, each by a name for messages.

        The names of the features begin with "video features" and "text features". Training refuses
        to start, and `data check` reports it, where one of the paths is missing.
        """
        files = dict(zip(("videos", "queries"), self._table_files(), strict=True))
        if not files["queries"].exists():
            files = {"captions": self.caption_file(split)}
        return {**files, **self._feature_files("text"), **self._feature_files("video")}

    def _feature_files(self, kind: Kind) -> dict[str, Path]:
        paths = self.feature_set.paths(kind, self.folder)
        places = [f" {number}" for number in range(1, len(paths) + 1)] if paths[1:] else [""]
        return {f"{kind} features{p}": path for p, path in zip(places, paths, strict=True)}

    def read_annotations(self, split: str) -> Annotations:
        """Read the tables of one split: the project's own if they are there, else its captions.

        These tables (`TextData/<collection>_videos.csv` and `_queries.jsonl`) add durations,
        moments, videos without captions and captions with several true videos.
        """
        if self._table_files()[1].exists():
            return read_tables(self.folder / "TextData", self.collection).split(split)
        captions = read_captions(self.caption_file(split))
        ids = captions["video_ids"].str[0].unique()
        videos = pd.DataFrame({"video_id": ids, "duration": float("nan"), "path": ""})
        return Annotations(
            videos.assign(split=split)[VIDEO_COLUMNS],
            captions.assign(moments=[()] * len(captions), split=split),
        )

    def repairs(self, split: str) -> list[str]:
        """List what `read_annotations` repaired in a split, in a line for each kind of repair."""
        return []

    def video_features(self) -> FeatureStore:
        """Open the video features; their rows have the size `video_dim`."""
        return self.feature_set.open("video", self.folder)

    def text_features(self) -> FeatureStore:
        """Open the word features; their rows have the size `text_dim`."""
        return self.feature_set.open("text", self.folder)

    def _table_files(self) -> tuple[Path, Path]:
        return table_paths(self.folder / "TextData", self.collection)

    # What the rest of the framework asks for

    @cached_property
    def video_dim(self) -> int:
        """Size of a video's row: that of the feature set, or what the files hold."""
        return self.feature_set.video_dim or self._size("video")

    @cached_property
    def text_dim(self) -> int:
        """Size of a word's row: that of the feature set, or what the files hold."""
        return self.feature_set.text_dim or self._size("text")

    def _size(self, kind: Kind) -> int:
        missing = [path for path in self._feature_files(kind).values() if not path.exists()]
        if missing:
            raise UserError(
                f"{self.collection}: missing {kind} features: {missing[0]}. Their size is read "
                f"from them: put them there, or give it by --data.features.{kind}_dim"
            )
        return (self.video_features() if kind == "video" else self.text_features()).dim

    def annotations(self, split: str) -> Annotations:
        """Return the tables of one split, which are read once.

        With `labels`, the true videos of an evaluation split are those of that file, and a caption
        without a row there has none.
        """
        if split not in self._tables:
            table = self._complete_table(split)
            if self.labels is not None and split != "train":
                place = f"{self.collection} {split}"
                self._labelled[split] = apply_labels(
                    table, read_labels(self.labels), self.labels, place
                )
                table = self._labelled[split].table
            self._tables[split] = table
        return self._tables[split]

    def _complete_table(self, split: str) -> Annotations:
        """Read the tables of a split; refuse captions whose own video is not listed."""
        table = self.read_annotations(split)
        if table.queries.empty:
            raise UserError(f"{self.collection} has no captions for the split {quote(split)}")
        true = table.queries["video_ids"].explode()
        unknown = true[~true.isin(table.videos["video_id"])].unique()
        if len(unknown):
            lacking = some([str(name) for name in unknown], "video")
            raise UserError(
                f"{self.collection}: captions of the split {split} belong to {lacking} that "
                "its table of videos lacks"
            )
        return table

    def labelled(self, split: str) -> Labelled | None:
        """Return the labels of an evaluation split; None without a file of labels."""
        self.annotations(split)
        return self._labelled.get(split)

    def stores(self) -> tuple[FeatureStore, FeatureStore]:
        """Open the video and the text features, and check their sizes against the feature set."""
        stores = (self.video_features(), self.text_features())
        for store, dim in zip(stores, (self.video_dim, self.text_dim), strict=True):
            if store.dim != dim:
                raise UserError(
                    f"{store.path} holds features of size {store.dim}, but {type(self).__name__} "
                    f"expects {dim}; pick other features with --data.features "
                    f"({', '.join(self.feature_sets)}) or replace the file"
                )
        return stores

    def prepare_data(self) -> None:
        """Refuse at once, in one message, if a file or an id's features are missing; then pack.

        Raises:
            UserError: something is missing, or cannot be packed.
        """
        self.refuse_missing_files(self._splits())
        for data in [self._datasets(split) for split in self._splits()]:
            if self.packed is not None:
                self._packed.stores(data, self.trainer)

    def refuse_missing_files(self, splits: Sequence[Split]) -> None:
        """Refuse, in one message, if a file that one of the splits needs is missing.

        Raises:
            UserError: the message names all missing files.
        """
        needed = {path: name for split in splits for name, path in self.files(split).items()}
        missing = [f"{name}: {path}" for path, name in needed.items() if not path.exists()]
        if missing:
            raise UserError(
                f"{self.collection}: missing {'; '.join(missing)}. {self.source} "
                "Another folder: --data.root DIR. A big file (feature.bin) is read as it is, or "
                "converted by `lightning data convert`. Without the features: `lightning data "
                "simulate` makes a stand-in from the annotations. `lightning data check` lists all."
            )

    def _splits(self) -> tuple[Split, ...]:
        """Return the splits that the trainer's stage needs."""
        function = self.trainer.state.fn if self.trainer else None
        stage = str(function.value) if function else "fit"
        stages: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",)}
        return stages.get(stage, ("test",))

    def train_dataloader(self) -> DataLoader[Any]:
        """Make the loader of videos with all their captions (`TrainBatch`), shuffled.

        Raises:
            UserError: the videos are too few for a batch on each process.
        """
        processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        seed = gather_objects(torch.initial_seed())[0]  # the first process's: the others differ
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        return self._loaders("train").train(self.batch_size, seed, *processes, shuffle)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Return the loaders of the gallery (`Videos`) and the queries (`Queries`) of split val."""
        return self._evaluation_loaders("val")

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Return the loaders of the gallery and the queries of the test split."""
        return self._evaluation_loaders("test")

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        """Return the loaders of the test split as above; each of several processes gets a share."""
        trainer = self.trainer
        if trainer is None or trainer.world_size == 1:
            return self._evaluation_loaders("test")
        # the trainer's own sampler for predictions gives some processes fewer batches, and those
        # would not take part when the others gather
        share = Share(trainer.world_size, trainer.global_rank)
        return self._evaluation_loaders("test", share)

    def teardown(self, stage: str) -> None:
        """Free the device's memory."""
        if self.packed is not None:
            self._packed.free()

    def _datasets(self, split: str) -> tuple[VideoDataset, QueryDataset]:
        video_store, text_store = self.stores()
        table = self.annotations(split)
        if split not in self._complete:
            videos = table.videos["video_id"]
            if split == "train" and self.packed is None:  # the others are not read
                videos = videos[videos.isin(table.queries["video_ids"].explode())]
            video_store.refuse_missing(videos, "video")
            text_store.refuse_missing(table.queries["query_id"], "caption")
            self._complete.add(split)
        return (
            VideoDataset(table, video_store, self.sizes),
            QueryDataset(table, text_store, self.sizes),
        )

    def _evaluation_loaders(
        self, split: Split, share: Share | None = None
    ) -> list[DataLoader[Any]]:
        loaders = self._loaders(split)
        return [
            loaders.gallery(self.eval_batch_size, share),
            loaders.captions(self.query_batch_size, share),
        ]

    def _loaders(self, split: Split) -> SplitLoaders:
        data = self._datasets(split)
        if self.packed is None:
            return SplitLoaders(*data, self.num_workers)
        run = (self._datasets(name) for name in self._splits())
        sources = self._packed.sources(data, run, self.trainer)
        workers = 0 if self.device_resident else self.num_workers
        return SplitLoaders(*data, workers, sources, self.device_resident)

    @cached_property
    def _packed(self) -> PackedFeatures:
        folder = Path(self.packed_folder or self.folder / "packed")
        return PackedFeatures(folder, self.packed or "float32", self.device_resident)


def import_plugins() -> dict[str, type[PRVRDataModule]]:
    """Import every installed benchmark, so that its bare class name is known."""
    return import_installed(GROUP, PRVRDataModule, "data set")
