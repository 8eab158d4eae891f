"""Feature files: an HDF5 dataset of rows a video, with seconds and the encoder as attributes.

Root attributes: `format`, `version` and those of `ExtractionSettings`. A dataset (N, F) float32 is
named by its video id; row i covers the seconds [start + i * stride, start + i * stride + window),
cut at `duration`. Its attributes: `start`, `duration`, `path`, `size`, `mtime_ns`, `warning`.
Training reads the same file: all that it asks for is a dataset a video.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from data_modules.readers.hdf5 import (
    H5_ERRORS,
    Hdf5Features,
    reason_of,
    write_attributes,
    write_rows,
)
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path
from dreamprvr.core.text import quote
from dreamprvr.extraction.settings import ExtractionSettings

__all__ = ["ExtractionSettings", "FeatureFile", "VideoFeatures", "write_feature_file"]

FORMAT, VERSION = "dreamprvr-features", 1
WORDS = "dreamprvr-text-features"  # format of a file of `lightning extract-text`
NO_FEATURE_FILE = "this is no feature file of `lightning extract`; extract the videos again"


@dataclass(frozen=True)
class VideoRecord:
    """What a feature file knows of a video, apart from its rows.

    Args:
        video_id: unique in the file; no "/" in it.
        start: second at which the first row begins, as a player counts.
        duration: second at which the video ends, as a player counts.
        path: of the video when it was extracted, absolute.
        size: of the video in bytes, then.
        mtime_ns: its time of last change, then.
        warning: what was odd about the video, or "".
    """

    video_id: str
    start: float
    duration: float
    path: Path
    size: int
    mtime_ns: int
    warning: str


@dataclass(frozen=True)
class VideoFeatures:
    """A video of a feature file: a `VideoRecord` and rows (N, F) float32."""

    video_id: str
    rows: np.ndarray
    start: float
    duration: float
    path: Path
    size: int
    mtime_ns: int
    warning: str = ""


class FeatureFile(Hdf5Features):
    """A feature file, read only. Files may be other people's: links out of it are refused.

    Args:
        path: the file.

    Raises:
        UserError: missing, damaged, or not written by `lightning extract`.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.settings = self._settings()
        if self.dim != self.settings.video_dim:
            raise UserError(f"{self.path}: rows of {self.dim} numbers; {NO_FEATURE_FILE}")

    @classmethod
    def open(cls, path: str | Path) -> "FeatureFile":
        """The same as the constructor, for a `with` statement."""
        return cls(path)

    def __enter__(self) -> "FeatureFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def video_ids(self) -> list[str]:
        """All ids, sorted."""
        return sorted(self.keys())

    def record(self, video_id: str) -> VideoRecord:
        """What is known of a video, without reading its rows.

        Raises:
            UserError: it is not in the file, or its attributes are missing or damaged.
        """
        if not self._has(video_id):
            raise UserError(f"{self.path} has no video {quote(video_id)}")
        found = self._attributes(video_id)
        with self._reading(quote(video_id)):
            record = VideoRecord(
                video_id, float(found["start"]), float(found["duration"]),
                Path(os.fsdecode(found["path"])), int(found["size"]),
                int(found["mtime_ns"]), str(found["warning"]),
            )  # fmt: skip
        if not (np.isfinite([record.start, record.duration]).all() and record.start >= 0):
            raise UserError(
                f"{self.path}: {quote(video_id)} starts at {record.start} and ends at "
                f"{record.duration} seconds; {NO_FEATURE_FILE}"
            )
        return record

    def read(self, video_id: str) -> VideoFeatures:
        """A video with its rows.

        Raises:
            UserError: as `record`; or the rows are none, of another size, or not finite.
        """
        record = self.record(video_id)
        return VideoFeatures(rows=self[video_id], **vars(record))

    def _settings(self) -> ExtractionSettings:
        try:
            found = self._attributes("")
            if found.get("format", "") == WORDS:
                raise UserError(
                    f"{self.path} holds the words of captions, from `lightning extract-text`, not "
                    "the features of videos, from `lightning extract`"
                )
            if found.get("format", "") != FORMAT:
                raise UserError(f"{self.path}: {NO_FEATURE_FILE}")
            if int(found["version"]) != VERSION:
                raise UserError(
                    f"{self.path} has version {int(found['version'])}, and this program reads "
                    f"version {VERSION}: update it, or extract the videos again"
                )
            return ExtractionSettings(
                str(found["encoder"]), str(found["fingerprint"]),
                int(found["video_dim"]), float(found["fps"]), float(found["window"]),
                float(found["stride"]),
            )  # fmt: skip
        except H5_ERRORS as error:
            raise UserError(f"{self.path} ({reason_of(error)}): {NO_FEATURE_FILE}") from None


def write_feature_file(
    path: str | Path, settings: ExtractionSettings, videos: Iterable[VideoFeatures]
) -> int:
    """Write a feature file as a whole; one that is there stays until the new one is complete.

    Args:
        path: the file.
        settings: of all videos.
        videos: taken one by one, so that no more than one is in memory.

    Returns:
        How many videos were written.

    Raises:
        UserError: no room, no permission, or two videos of one id.
    """
    count = 0
    with atomic_path(Path(path)) as partial, h5py.File(partial, "w") as file:
        write_attributes(file, "", {"format": FORMAT, "version": VERSION, **asdict(settings)})
        for video in videos:
            _write_video(file, video, settings.video_dim)
            count += 1
    return count


def _write_video(file: h5py.File, video: VideoFeatures, dim: int) -> None:
    if video.video_id in file:
        raise UserError(f"two videos have the id {quote(video.video_id)}: rename one of them")
    if video.rows.ndim != 2 or video.rows.shape[1] != dim or not len(video.rows):
        raise UserError(
            f"{quote(video.video_id)} has rows of shape {video.rows.shape}, not (rows, {dim})"
        )
    data = write_rows(file, video.video_id, np.asarray(video.rows, dtype=np.float32))
    write_attributes(data, video.video_id, {
        "start": float(video.start), "duration": float(video.duration),
        # bytes: a path need not be Unicode
        "path": os.fsencode(video.path), "size": int(video.size),
        "mtime_ns": int(video.mtime_ns), "warning": video.warning,
    })  # fmt: skip
