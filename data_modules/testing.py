"""The contract that every data set keeps, as a test class to subclass, and tiny benchmarks.

    from data_modules.testing import DataModuleContract

    class TestKitchen(DataModuleContract):
        dataset = Kitchen

runs all tests on a generated data set of a few videos with random features, in the layout of the
published benchmarks. A data set that lies in another form overrides `make`. The form of a batch is
described in `dreamprvr.core.batch`.
"""

import copy
import inspect
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.base import SPLITS, PRVRDataModule
from data_modules.checking.check import check
from data_modules.feature_set import FeatureSet
from data_modules.generation.folders import generator
from data_modules.readers.captions import write_captions
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS
from dreamprvr.core.batch import Queries, TrainBatch, Videos

__all__ = ["DataModuleContract", "Tiny", "write_tiny", "write_tiny_benchmark"]

EVALUATION = ("val", "test")
# largest distance of a norm from 1: rows are divided by norm + 1e-5, so that rows of norm 0.001 end
# at 0.99
UNIT = 0.02


class DataModuleContract:
    """Tests of a `PRVRDataModule`, for pytest to collect in a subclass whose name starts with Test.

    Attributes:
        dataset: the class to test, unless `make` is overridden.
        features: name of the feature set to test, or a feature set with its sizes.
        options: fields of `Tiny` that differ from their defaults.
    """

    dataset: ClassVar[type[PRVRDataModule]]
    features: ClassVar[FeatureSet | str] = "standard"
    options: ClassVar[dict[str, Any]] = {}

    def make(self, root: Path) -> PRVRDataModule:
        """Make a data module over a few videos; override it where the files have another form.

        Args:
            root: empty folder of the test, to write the files to.
        """
        write_tiny(self.dataset, root, self.features, **self.options)
        return self.dataset(root, self.features, batch_size=3, eval_batch_size=3, num_workers=0)

    def prepared(self, root: Path) -> PRVRDataModule:
        """Make the data module and prepare it, as a training does."""
        data = self.make(root)
        data.prepare_data()
        data.setup("fit")
        return data

    def test_sizes_are_known_at_once(self, tmp_path: Path) -> None:
        """The command line builds the network from the sizes, before any file is prepared."""
        data = self.make(tmp_path)
        for name in ("video_dim", "text_dim"):
            size = getattr(data, name, None)
            assert isinstance(size, int), f"{name} is {size!r} after __init__, not a number"
            assert size > 0, f"{name} is {size} after __init__; at least 1"

    def test_the_network_can_set_the_lengths(self, tmp_path: Path) -> None:
        """`data.init_args.num_clips` and so on are linked to the network's configuration."""
        names = _arguments(type(self.make(tmp_path)))
        missing = {"num_clips", "max_frames", "max_words"} - names
        assert not missing, f"__init__ does not take {sorted(missing)}: pass them to super()"

    def test_annotations_have_the_schema(self, tmp_path: Path) -> None:
        """Both tables of each split, column by column."""
        data = self.prepared(tmp_path)
        for split in SPLITS:
            table = data.annotations(split)
            assert list(table.videos.columns) == VIDEO_COLUMNS, f"{split}: columns of videos"
            assert list(table.queries.columns) == QUERY_COLUMNS, f"{split}: columns of queries"
            assert len(table.videos), f"{split} has no videos"
            assert len(table.queries), f"{split} has no captions"
            _check_rows(split, table.videos, table.queries)

    def test_training_batches(self, tmp_path: Path) -> None:
        """Shapes, types, masks, lengths, labels and true videos; every caption is trained."""
        data = self.prepared(tmp_path)
        table = data.annotations("train")
        seen: set[int] = set()
        for batch in data.train_dataloader():
            assert isinstance(batch, TrainBatch), f"a training batch is a {type(batch).__name__}"
            check_train_batch(batch, data, len(table.videos))
            seen.update(batch.queries.row.tolist())
        assert seen == set(range(len(table.queries))), "an epoch does not hold every caption"

    def test_evaluation_batches(self, tmp_path: Path) -> None:
        """First the gallery, then the queries, each complete and in the order of its table."""
        data = self.prepared(tmp_path)
        for split in EVALUATION:
            table = data.annotations(split)
            gallery, queries = _batches(data, split)
            for videos in gallery:
                assert isinstance(videos, Videos), f"{split}: the first loader gives the gallery"
                check_videos(videos, data)
            for batch in queries:
                assert isinstance(batch, Queries), f"{split}: the second loader gives the queries"
                check_queries(batch, data, len(table.videos))
            for name, batches, count in (
                ("videos", gallery, len(table.videos)), ("queries", queries, len(table.queries)),
            ):  # fmt: skip
                rows = torch.cat([batch.row for batch in batches]).tolist()
                assert rows == list(range(count)), f"{split}: {name} are not all there in order"

    def test_true_videos_are_those_of_the_tables(self, tmp_path: Path) -> None:
        """Positives name the rows of `video_ids` in the video table."""
        data = self.prepared(tmp_path)
        for split in EVALUATION:
            table = data.annotations(split)
            ids = table.videos["video_id"].tolist()
            for batch in _batches(data, split)[1]:
                for row, places in zip(batch.row.tolist(), batch.positives.tolist(), strict=True):
                    named = {ids[place] for place in places if place >= 0}
                    expected = set(table.queries["video_ids"][row])
                    assert named == expected, f"{split}: query {row} has {named}, not {expected}"

    def test_reading_twice_gives_the_same(self, tmp_path: Path) -> None:
        """Features do not depend on chance or on what was read before."""
        data = self.prepared(tmp_path)
        for first, second in zip(_tensors(data), _tensors(data), strict=True):
            assert torch.equal(first, second), "two reads of the same batch differ"

    def test_workers_can_load(self, tmp_path: Path) -> None:
        """Data sets and collate functions survive pickling, as loading processes need it."""
        data = self.prepared(tmp_path)
        train = data.train_dataloader()
        for loader in (train, *data.val_dataloader()):
            items = [loader.dataset[0]]
            copy, collate = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
            pairs = zip(_flat(loader.collate_fn(items)), _flat(collate([copy[0]])), strict=True)
            assert all(torch.equal(*pair) for pair in pairs), "a pickled data set reads otherwise"

    def test_packed_features_give_the_same_batches(self, tmp_path: Path) -> None:
        """Bit for bit, gathered on the device that trains or not."""
        data = self.prepared(tmp_path)
        expected = list(_all_batches(data))
        for resident in (False, True):
            packed = copy.copy(data)
            packed.packed, packed.device_resident = "float32", resident
            packed.prepare_data()
            assert (data.folder / "packed").is_dir(), "prepare_data packed nothing: call super's"
            for first, second in zip(expected, _all_batches(packed), strict=True):
                same = first.dtype == second.dtype and torch.equal(first, second)
                assert same, "a packed batch differs from reading item by item"

    def test_data_check_is_content(self, tmp_path: Path) -> None:
        """`lightning data check` finds no problems."""
        report = check(self.prepared(tmp_path))
        assert report.ok, f"\n{report.text()}"


def _arguments(kind: type) -> set[str]:
    """Name the arguments of a class, with those that `**options` hands on to the next class."""
    names: set[str] = set()
    for one in kind.__mro__:
        if "__init__" in vars(one):
            parameters = inspect.signature(one.__init__).parameters  # type: ignore[misc]
            names |= set(parameters)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    return names


def _check_rows(split: str, videos: Any, queries: Any) -> None:
    for table, key in ((videos, "video_id"), (queries, "query_id")):
        strings = all(isinstance(name, str) and name for name in table[key])
        assert strings, f"{split}: {key} must be non-empty strings"
        assert table[key].is_unique, f"{split}: {key} is not unique"
        assert set(table["split"]) == {split}, f"{split}: column split holds another split"
    assert all(isinstance(text, str) for text in queries["text"]), f"{split}: text is no string"
    durations = videos["duration"].to_numpy(np.float64)
    assert (np.isnan(durations) | (durations > 0)).all(), f"{split}: durations must be above 0"
    known = set(videos["video_id"])
    for query in queries.itertuples():
        where = f"{split}: query {query.query_id!r}"
        assert isinstance(query.video_ids, tuple), f"{where}: video_ids is no tuple"
        assert query.video_ids, f"{where} has no true video"
        assert known.issuperset(query.video_ids), f"{where} names a video that is not in the table"
        assert isinstance(query.moments, tuple), f"{where}: moments is no tuple"
        assert all(0 <= start <= end for start, end in query.moments), f"{where}: bad moment"


def _batches(data: PRVRDataModule, split: str) -> list[list[Any]]:
    loaders = data.val_dataloader() if split == "val" else data.test_dataloader()
    assert len(loaders) == 2, f"{split}: {len(loaders)} loaders, not gallery and queries"
    return [list(loader) for loader in loaders]


def _tensors(data: PRVRDataModule) -> Iterator[torch.Tensor]:
    items = data.train_dataloader().dataset
    yield from _flat([items[0], *_batches(data, "val")])


def _all_batches(data: PRVRDataModule) -> Iterator[torch.Tensor]:
    torch.manual_seed(0)  # the same order of training batches
    yield from _flat([list(data.train_dataloader()), *(_batches(data, s) for s in EVALUATION)])


def _flat(value: Any) -> Iterator[torch.Tensor]:
    """Yield all tensors in nested tuples and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part)


def check_videos(batch: Videos, data: PRVRDataModule) -> None:
    """Check shapes, types, mask and lengths of B videos."""
    size, lengths = len(batch.row), data.sizes
    _expect("row", batch.row, (size,), torch.int64)
    _expect("clips", batch.clips, (size, lengths.num_clips, data.video_dim), torch.float32)
    _expect("frames", batch.frames, (size, lengths.max_frames, data.video_dim), torch.float32)
    _expect("frame_mask", batch.frame_mask, (size, lengths.max_frames), torch.float32)
    _check_mask("frame", batch.frames, batch.frame_mask)
    _check_unit("clips", batch.clips)
    _check_unit("frames", batch.frames)


def check_queries(batch: Queries, data: PRVRDataModule, gallery: int) -> None:
    """Check shapes, types, mask, lengths and true videos of Q captions.

    Args:
        batch: the captions.
        data: data module, which knows the sizes.
        gallery: number of videos that positives may name.
    """
    size, longest = batch.words.shape[:2]
    _expect("row", batch.row, (size,), torch.int64)
    _expect("words", batch.words, (size, longest, data.text_dim), torch.float32)
    _expect("word_mask", batch.word_mask, (size, longest), torch.float32)
    assert longest <= data.sizes.max_words, f"captions of {longest} words; at most max_words"
    _check_mask("word", batch.words, batch.word_mask)
    _check_unit("words", batch.words)
    places = batch.positives
    _expect("positives", places, (size, places.shape[-1]), torch.int64)
    assert ((places >= -1) & (places < gallery)).all(), f"positives are not in -1 .. {gallery - 1}"
    assert (places[:, 0] >= 0).all(), "a query has no true video in its first place"
    padded = (places < 0).int()
    assert (padded.diff(dim=1) >= 0).all(), "padding (-1) comes before a true video"


def check_train_batch(batch: TrainBatch, data: PRVRDataModule, gallery: int) -> None:
    """Check videos, queries, and the labels that connect them."""
    check_videos(batch.videos, data)
    check_queries(batch.queries, data, gallery)
    videos, labels = batch.videos.row, batch.labels
    _expect("labels", labels, (len(batch.queries.row),), torch.int64)
    assert (labels.diff() >= 0).all(), "labels are not sorted"
    named = torch.unique(labels).tolist()
    assert named == list(range(len(videos))), f"labels name videos {named} of {len(videos)}"
    true = (batch.queries.positives == videos[labels][:, None]).any(dim=1)
    assert true.all(), "a label names a video that is not among its query's positives"


def _expect(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert tuple(tensor.shape) == shape, f"{name} has shape {tuple(tensor.shape)}, not {shape}"
    assert tensor.dtype == dtype, f"{name} is {tensor.dtype}, not {dtype}"


def _check_mask(name: str, rows: Tensor, mask: Tensor) -> None:
    """Check that a mask holds ones, then zeros, and that rows after the last one are zero."""
    assert ((mask == 0) | (mask == 1)).all(), f"{name}_mask holds more than 0 and 1"
    assert (mask[:, 0] == 1).all(), f"{name}_mask hides everything of an item"
    assert (mask.diff(dim=1) <= 0).all(), f"{name}_mask is no row of ones, then zeros"
    assert not rows[mask == 0].any(), f"{name}s behind the end are not zero"


def _check_unit(name: str, rows: Tensor) -> None:
    norm = rows.norm(dim=-1)
    assert ((norm == 0) | ((norm - 1).abs() < UNIT)).all(), (
        f"{name} have norms from {norm.min():.3f} to {norm.max():.3f}: neither 1 nor 0"
    )


@dataclass(frozen=True)
class Tiny:
    """Sizes and form of a tiny benchmark.

    Attributes:
        train: number of training videos.
        val: number of validation videos, which are the test videos too.
        captions: largest number of captions of a video.
        max_rows: largest number of rows of a video.
        max_words: largest number of words of a caption.
        caption_ids: form of a caption's id in the text features; caption files always hold `#enc#`.
        one_vector: store a caption as one vector (text_dim,) rather than words (L, text_dim).
        seed: seed of the features; the same seed gives the same files.
    """

    train: int = 6
    val: int = 4
    captions: int = 3
    max_rows: int = 12
    max_words: int = 6
    caption_ids: str = "{video}#enc#{number}"
    one_vector: bool = False
    seed: int = 0


def write_tiny_benchmark(
    root: str | os.PathLike[str], collection: str, features: FeatureSet, tiny: Tiny | None = None
) -> Path:
    """Write `<root>/<collection>/` in the MS-SL layout, with equal val and test; return it.

    Args:
        root: folder of all data sets.
        collection: name of the folder and prefix of its files.
        features: paths and sizes. A path of videos without an ending is a folder with feature.hdf5.
        tiny: numbers of videos, captions, rows and words; the defaults if None.
    """
    tiny, folder = tiny or Tiny(), Path(root) / collection
    video_dim, text_dim = features.video_dim, features.text_dim
    assert video_dim and text_dim, "give the feature set its sizes"  # noqa: PT018
    videos, texts = (folder / path for path in features.single())
    videos = videos if videos.suffix in (".hdf5", ".h5") else videos / "feature.hdf5"
    for path in (videos, texts, folder / "TextData" / "captions"):
        path.parent.mkdir(parents=True, exist_ok=True)
    random = generator(tiny.seed, collection)

    def rows(most: int, dim: int) -> np.ndarray:
        return random.standard_normal((random.integers(1, most + 1), dim)).astype(np.float32)

    with h5py.File(videos, "w") as video_file, h5py.File(texts, "w") as text_file:
        for splits, count in ((("train",), tiny.train), (EVALUATION, tiny.val)):
            captions = []
            for video in (f"{splits[0]}-{index}" for index in range(count)):
                dataset = f"{video}/{features.group}" if features.group else video
                video_file[dataset] = rows(tiny.max_rows, video_dim)
                for number in range(random.integers(1, tiny.captions + 1)):
                    words = rows(tiny.max_words, text_dim)
                    key = tiny.caption_ids.format(video=video, number=number)
                    text_file[key] = words[0] if tiny.one_vector else words
                    captions.append((f"{video}#enc#{number}", f"sentence {number} of {video}"))
            for split in splits:
                path = folder / "TextData" / f"{collection}{split}.caption.txt"
                write_captions(path, pd.DataFrame(captions, columns=["query_id", "text"]))
    return folder


def write_tiny(
    dataset: type[PRVRDataModule],
    root: str | os.PathLike[str],
    features: FeatureSet | str = "standard",
    **options: Any,
) -> Path:
    """Write a tiny benchmark where a data set class expects its files.

    Args:
        dataset: data set class, which gives the collection, paths and sizes.
        root: folder of all data sets.
        features: name of one of the class's feature sets, or a feature set with its sizes.
        options: fields of `Tiny` that differ from their defaults.
    """
    chosen = features if isinstance(features, FeatureSet) else dataset.feature_sets[features]
    return write_tiny_benchmark(root, dataset.collection, chosen, Tiny(**options))
