"""What a benchmark says about itself: its splits, its kinds of features, where their files lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from dreamprvr.core.errors import UserError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class FeatureSet(NamedTuple):
    """Where a kind of features lies below `<root>/<collection>/`, and its sizes.

    `video` is a folder (holding feature.hdf5 or the big file) or an HDF5 file; `group` names the
    dataset inside each video's group where the file is grouped.
    """

    video: str
    text: str
    video_dim: int
    text_dim: int
    group: str | None = None


class SplitSize(NamedTuple):
    """What `data check` expects of a split."""

    videos: int
    captions: int


def refuse_missing(collection: str, files: Mapping[Path, str], source: str) -> None:
    """Raise if a file is missing.

    Args:
        collection: name of the benchmark.
        files: what is needed, each with what it is.
        source: one line that says where the files can be had.

    Raises:
        UserError: names all that are missing in one message.
    """
    missing = [f"{what}: {path}" for path, what in files.items() if not path.exists()]
    if missing:
        raise UserError(
            f"{collection}: missing {'; '.join(missing)}. {source} "
            "Another folder: --data.root DIR. A big file (feature.bin) is read as it is, or "
            "converted by `lightning data convert`. Without the features: `lightning data "
            "simulate` makes a stand-in from the annotations. `lightning data check` lists all."
        )
