"""Tests of every published benchmark, as a class to subclass with its facts."""

from pathlib import Path
from typing import ClassVar

import pytest

from data_modules.base import PRVRDataModule, SplitSize
from data_modules.checking.check import check
from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError


class Release:
    """Tests of a shipped data set against the released files.

    Attributes:
        dataset: class of the data set.
        sizes: sizes of the standard features, of video and text.
        train: published size of the split for training.
        evaluation: published size of the splits val and test.
        files: names of the text and video features below `TextData` and `FeatureData`, by the
            name of the feature set.
    """

    dataset: ClassVar[type[PRVRDataModule]]
    sizes: ClassVar[tuple[int, int]]
    train: ClassVar[SplitSize]
    evaluation: ClassVar[SplitSize]
    files: ClassVar[dict[str, tuple[str, str]]]

    def test_sizes(self) -> None:
        data, clip = self.dataset(), self.dataset(features="clip")
        assert (data.video_dim, data.text_dim) == self.sizes
        assert (clip.video_dim, clip.text_dim) == (512, 512)
        evaluation = {"val": self.evaluation, "test": self.evaluation}
        assert self.dataset.expected == {"train": self.train, **evaluation}

    @pytest.mark.parametrize("features", ["standard", "clip"])
    def test_files_are_where_the_release_has_them(self, tmp_path: Path, features: str) -> None:
        write_tiny(self.dataset, tmp_path, features)
        data = self.dataset(tmp_path, features, num_workers=0)
        data.prepare_data()
        name = self.dataset.collection
        text, video = self.files[features]
        captions = f"{name}/TextData/{name}val.caption.txt"
        found = {str(path.relative_to(tmp_path)) for path in data.files("val").values()}
        assert found == {captions, f"{name}/TextData/{text}", f"{name}/FeatureData/{video}"}

    def test_a_small_copy_is_sound_but_remarked_on(self, tmp_path: Path) -> None:
        write_tiny(self.dataset, tmp_path)
        report = check(self.dataset(tmp_path))
        assert report.ok
        line = f"published are {self.train.videos:,} and"
        assert any(line in remark for remark in report.remarks)

    def test_missing_files_come_with_a_source(self, tmp_path: Path) -> None:
        name = self.dataset.collection
        with pytest.raises(UserError, match=rf"{name}: missing captions: .*HuiGuanLab/ms-sl"):
            self.dataset(tmp_path).prepare_data()
