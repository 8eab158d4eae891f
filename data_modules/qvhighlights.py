"""QVHighlights: excerpts of YouTube videos with several moments for a query."""

from pathlib import Path
from typing import Any, Literal

from data_modules.base import FeatureSet, PRVRDataModule, SplitSize
from data_modules.readers.published import read_qvhighlights
from data_modules.readers.tables import Annotations

WITH_MOMENTS = "highlight_test_with_gt.jsonl"


class QVHighlights(PRVRDataModule):
    """QVHighlights (Lei et al., NeurIPS 2021): excerpts of 150 s, with all moments of a query.

    Standard features: SlowFast (2304-d) and CLIP ViT-B/32 (512-d) of every 2 s, each of length 1
    and then joined, and the words of CLIP's text encoder (512-d), as released with Moment-DETR.

    Args:
        options: arguments of `PRVRDataModule`.
        test_release: the release that the split test is read from. The moments of `val` are
            published; it is also the split val, as in the other benchmarks. `test` is the release
            of the test split, whose moments may be unknown.
    """

    collection = "qvhighlights"
    feature_sets = {
        "standard": FeatureSet(
            video=("slowfast_features", "clip_features"),
            text="clip_text_features",
            video_dim=2304 + 512,
            text_dim=512,
            group="features",
            text_group="last_hidden_state",
            normalise=True,
        ),
        "clip": FeatureSet(
            video="clip_features",
            text="clip_text_features",
            video_dim=512,
            text_dim=512,
            group="features",
            text_group="last_hidden_state",
        ),
    }
    expected = {
        "train": SplitSize(None, 7_218),
        "val": SplitSize(None, 1_550),
        "test": SplitSize(None, 1_550),
    }
    source = (
        "The Moment-DETR repository (jayleicn/moment_detr) has the captions and links features."
    )

    def __init__(self, *args: Any, test_release: Literal["val", "test"] = "val", **options: Any):
        super().__init__(*args, **options)
        self.test_release = test_release
        self._repairs: dict[str, list[str]] = {}
        if test_release == "test":
            self.expected = {**self.expected, "test": SplitSize(None, 1_542)}

    def caption_file(self, split: str) -> Path:
        """Return the annotation file of a split; of the test split one with moments, if any."""
        release = self.test_release if split == "test" else split
        path = self.folder / f"highlight_{release}_release.jsonl"
        known = self.folder / WITH_MOMENTS
        return known if release == "test" and known.exists() else path

    def read_annotations(self, split: str) -> Annotations:
        """Read the tables of one split: the project's own if they are there, else its file."""
        if self._table_files()[1].exists():
            return super().read_annotations(split)
        table, self._repairs[split] = read_qvhighlights(self.caption_file(split), split)
        return table

    def repairs(self, split: str) -> list[str]:
        """List what was repaired, in a line for each kind."""
        return self._repairs.get(split, [])
