"""A folder of one's own videos: features and captions that need no code."""

import hashlib
from pathlib import Path

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.readers.captions import find_captions
from data_modules.readers.tables import Annotations
from dreamprvr.core.errors import UserError

ALL = "captions"  # name of a caption file that is not split yet
HELD_OUT = 5  # one video in so many of such a file is for validation


class Folder(PRVRDataModule):
    """Your own videos: what `extract` and `extract-text` write, and captions, in one folder.

    `--data.root DIR` names the folder. It holds `features.hdf5` of `lightning extract`,
    `words.hdf5` of `lightning extract-text`, and the captions: `train`, `val` and `test`, each as
    .jsonl, .csv or .txt (docs/data.md, section 2). Without `test`, that is `val`. In place of
    these, `captions` alone is split: one video in five, chosen by its id, is for validation and
    test, so that a video stays on its side when others are added. The sizes of rows are read from
    the files.
    """

    collection = "folder"
    feature_sets = {"standard": FeatureSet("features", "words")}
    source = (
        "`lightning extract VIDEOS -o DIR/features.hdf5` and `lightning extract-text "
        "DIR/captions.jsonl -o DIR/words.hdf5` make the features, and --data.root DIR names the "
        'folder (docs/training.md, "Your own videos").'
    )

    @property
    def folder(self) -> Path:
        """The folder that `root` names, without another one for the benchmark."""
        return self.root

    def caption_file(self, split: str) -> Path:
        """Return the captions of a split, or the file of all captions.

        Raises:
            UserError: the folder has both, or a file is there in several forms.
        """
        train, val, test, every = (
            find_captions(self.folder / f"{name}.txt") for name in ("train", "val", "test", ALL)
        )
        if every.exists():
            for other in (train, val, test):
                if other.exists():
                    raise UserError(
                        f"{self.folder} has {every.name}, which is split, and {other.name}: keep "
                        "one of them"
                    )
            return every
        own = {"train": train, "val": val, "test": test if test.exists() else val}[split]
        return own if own.exists() else own.with_suffix(".jsonl")

    def read_annotations(self, split: str) -> Annotations:
        """Read the tables of a split; of a file of all captions, the videos of that split."""
        table = super().read_annotations(split)
        path = self.caption_file(split)
        if path.stem != ALL:
            return table
        held_out = table.videos["video_id"].map(_is_held_out)
        videos = table.videos[held_out == (split != "train")].reset_index(drop=True)
        if videos.empty:
            raise UserError(
                f"{path} has too few videos ({len(table.videos)}) to keep one in {HELD_OUT} for "
                "validation: give train.jsonl and val.jsonl in its place"
            )
        kept = table.queries["video_ids"].str[0].isin(videos["video_id"])
        return Annotations(videos, table.queries[kept].reset_index(drop=True))


def _is_held_out(video_id: str) -> bool:
    digest = hashlib.blake2b(video_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % HELD_OUT == 0
