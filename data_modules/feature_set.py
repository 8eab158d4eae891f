"""A kind of features of a benchmark: where they lie, their sizes, and how they are opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_modules.readers.features import JoinedFeatures, open_features
from data_modules.readers.store import FeatureStore
from dreamprvr.core.errors import UserError, check_range

Kind = Literal["video", "text"]
LARGEST_SIZE = 2**20  # numbers of a row
ENDINGS = (".hdf5", ".h5")


@dataclass(frozen=True)
class FeatureSet:
    """One kind of features: where they lie below `<root>/<collection>/`, and their sizes.

    A path leads to an HDF5 file, or to a folder that holds feature.hdf5, a big file, or a .npz file
    for each id. The ending .hdf5 or .h5 of a file may be left out. Several paths are features of
    several encoders, whose rows are joined.

    Args:
        video: path of the video features, or several paths.
        text: path of the word features, or several paths.
        video_dim: size of a video's row; of joined features the sum over all encoders. Without it,
            the size is read from the files.
        text_dim: size of a word's row, likewise.
        group: dataset in the HDF5 group of each video, or array in the .npz file of each video;
            not needed where there is only one.
        text_group: dataset or array of each caption, likewise.
        normalise: divide each encoder's rows by their lengths before they are joined.
    """

    video: str | tuple[str, ...] = ""
    text: str | tuple[str, ...] = ""
    video_dim: int | None = None
    text_dim: int | None = None
    group: str | None = None
    text_group: str | None = None
    normalise: bool = False

    def __post_init__(self) -> None:
        for kind in ("video", "text"):
            names = self._names(kind)
            if not names or not all(names):
                raise UserError(
                    f"data.features.{kind} is empty: give a path for each of video and text"
                )
            size = getattr(self, f"{kind}_dim")
            if size is not None:
                check_range(f"data.features.{kind}_dim", size, 1, LARGEST_SIZE, whole=True)

    def __str__(self) -> str:
        """Name the features by their paths and arrays, for records of results."""
        video, text = ("+".join(self._names(kind)) for kind in ("video", "text"))
        video += f":{self.group}" if self.group else ""
        text += f":{self.text_group}" if self.text_group else ""
        return f"{video}, {text}" + (", normalised" if self.normalise else "")

    def _names(self, kind: str) -> tuple[str, ...]:
        names: str | tuple[str, ...] = getattr(self, kind)
        return (names,) if isinstance(names, str) else names

    def single(self) -> tuple[str, str]:
        """Return the paths of the video and the text features where neither are joined.

        Raises:
            UserError: they are joined.
        """
        if not isinstance(self.video, str) or not isinstance(self.text, str):
            raise UserError(
                "these features are of several encoders, joined: choose others with "
                "--data.features, or name the folder of one of them"
            )
        return self.video, self.text

    def paths(self, kind: Kind, folder: Path) -> list[Path]:
        """Return the paths of the video or text features below a benchmark's folder."""
        return [_with_ending(folder / name) for name in self._names(kind)]

    def open(self, kind: Kind, folder: Path) -> FeatureStore:
        """Open the video or text features.

        Args:
            kind: which of the two.
            folder: the benchmark's folder.

        Raises:
            UserError: they are missing or damaged, or have no array of the given name.
        """
        array = self.group if kind == "video" else self.text_group
        parts = [open_features(path, array) for path in self.paths(kind, folder)]
        joined = not isinstance(getattr(self, kind), str)
        return JoinedFeatures(parts, self.normalise) if joined else parts[0]


def _with_ending(path: Path) -> Path:
    """Return a path, or the HDF5 file of that name where the path itself does not exist."""
    forms = [path, *(path.with_name(path.name + ending) for ending in ENDINGS)]
    return next((form for form in forms if form.exists()), path)
