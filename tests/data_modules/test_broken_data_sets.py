"""The contract of data_modules/testing.py fails for data sets that break it, with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from data_modules.base import FeatureSet, PRVRDataModule, Split
from data_modules.loading.dataset import QueryDataset, VideoDataset
from data_modules.readers.store import FeatureStore
from data_modules.readers.tables import Annotations
from data_modules.testing import DataModuleContract, write_tiny


class Small(PRVRDataModule):
    collection = "small"
    feature_sets = {"standard": FeatureSet("FeatureData/v", "TextData/t.hdf5", 8, 6)}


class NoLengths(Small):
    def __init__(
        self, root: Path, features: str, batch_size: int, eval_batch_size: int, num_workers: int
    ) -> None:
        super().__init__(root, features, batch_size=batch_size, num_workers=num_workers)


class LateSizes(Small):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.video_dim = None  # type: ignore[assignment]


class Backwards(Small):
    def read_annotations(self, split: str) -> Annotations:
        table = super().read_annotations(split)
        moments = [((3.0, 1.0),)] * len(table.queries)
        return Annotations(table.videos, table.queries.assign(moments=moments))


class Doubled(Small):
    def read_annotations(self, split: str) -> Annotations:
        table = super().read_annotations(split)
        return Annotations(table.videos, table.queries.assign(query_id="train-0#enc#0"))


class Mixed(Small):
    def _evaluation_loaders(self, split: Split) -> list[DataLoader[Any]]:
        loaders = super()._evaluation_loaders(split)
        loaders[1].dataset.positives.reverse()  # type: ignore[attr-defined]
        return loaders


class Forgetful(Small):
    def _datasets(self, split: Split) -> tuple[VideoDataset, QueryDataset]:
        videos, queries = super()._datasets(split)
        queries.positives.pop()
        return videos, queries


class Noisy(FeatureStore):
    def __init__(self, store: FeatureStore) -> None:
        self.store, self.path, self.dim = store, store.path, store.dim

    def keys(self) -> list[str]:
        return self.store.keys()

    def has(self, name: str) -> bool:
        return name in self.store

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self.store.rows(name), self.dim

    def load(self, name: str) -> np.ndarray:
        return self.store[name] + torch.rand(1).numpy()


class Chance(Small):
    def video_features(self) -> FeatureStore:
        return Noisy(super().video_features())


class Unpicklable(Small):
    def text_features(self) -> FeatureStore:
        store = super().text_features()
        store.lock = lambda: None  # type: ignore[attr-defined]
        return store


class ShuffledGallery(Small):
    def val_dataloader(self) -> list[DataLoader[Any]]:
        videos, _ = self._datasets("val")
        loaders = super().val_dataloader()
        turned = DataLoader(
            dataset=videos, sampler=range(len(videos))[::-1], collate_fn=loaders[0].collate_fn
        )
        return [turned, loaders[1]]


class LongRows(Small):
    def train_dataloader(self) -> DataLoader[Any]:
        loader = super().train_dataloader()
        collate = loader.collate_fn
        loader.collate_fn = lambda items: scaled(collate(items))
        return loader


def scaled(batch: Any) -> Any:
    return batch._replace(videos=batch.videos._replace(clips=2 * batch.videos.clips))


BROKEN: list[tuple[type[PRVRDataModule], Callable[..., None], str]] = [
    (NoLengths, DataModuleContract.test_the_network_can_set_the_lengths, "'max_frames'"),
    (LateSizes, DataModuleContract.test_sizes_are_known_at_once, "video_dim is None"),
    (Backwards, DataModuleContract.test_annotations_have_the_schema, "bad moment"),
    (Doubled, DataModuleContract.test_annotations_have_the_schema, "query_id is not unique"),
    (
        Mixed,
        DataModuleContract.test_true_videos_are_those_of_the_tables,
        "val: query 0 has {'val-3'}, not {'val-0'}",
    ),
    (Forgetful, DataModuleContract.test_training_batches, "does not hold every caption"),
    (Chance, DataModuleContract.test_reading_twice_gives_the_same, "two reads .* differ"),
    (ShuffledGallery, DataModuleContract.test_evaluation_batches, "videos are not .* in order"),
    (LongRows, DataModuleContract.test_training_batches, "clips have norms from 2.000"),
]


@pytest.mark.parametrize(("dataset", "test", "message"), BROKEN)
def test_a_broken_data_set_fails(
    tmp_path: Path, dataset: type[PRVRDataModule], test: Callable[..., None], message: str
):
    contract = contract_of(dataset)
    with pytest.raises(AssertionError, match=message):
        test(contract, tmp_path)


def test_a_data_set_that_cannot_be_pickled_fails(tmp_path: Path):
    with pytest.raises((AttributeError, TypeError), match=r"[Pp]ickle|local object"):
        contract_of(Unpicklable).test_workers_can_load(tmp_path)


def test_the_report_of_data_check_is_shown(tmp_path: Path):
    class Contract(DataModuleContract):
        def make(self, root: Path) -> PRVRDataModule:
            folder = write_tiny(Small, root)
            with h5py.File(folder / Small.feature_sets["standard"].text, "r+") as file:
                file["val-0#enc#0"][...] = np.nan
            return Small(root, num_workers=0)

    with pytest.raises(AssertionError, match=r"infinite values: 1 caption \(val-0#enc#0\)"):
        Contract().test_data_check_is_content(tmp_path)


def contract_of(tested: type[PRVRDataModule]) -> DataModuleContract:
    class Contract(DataModuleContract):
        dataset = tested

    return Contract()
