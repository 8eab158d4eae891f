"""Feature files of videos: an HDF5 dataset of rows for each video, and how the rows were made.

Root attributes: `format`, `version` and the fields of `ExtractionSettings`. A dataset (N, F)
float32 is named by its video id. Row i covers the seconds [start + i * stride, start + i * stride +
window), cut at `duration`. Attributes of a dataset: `start`, `duration`, `path`, `size`,
`mtime_ns`, `warning`. Training reads the same file: it needs no more than a dataset for each video.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
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
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.files import atomic_path
from dreamprvr.core.text import quote

FORMAT, VERSION = "dreamprvr-features", 1
TEXT_FORMAT = "dreamprvr-text-features"  # format of a file of `lightning extract-text`
NO_FEATURE_FILE = "this is no feature file of `lightning extract`; extract the videos again"
LARGEST_DIM = 2**20  # numbers in a row
LARGEST_BATCH = 2**20  # windows or captions that are encoded at once
LEAST_FPS, MOST_FPS = 0.00001, 1000  # once a day; no recording shows more pictures a second
SHORTEST, LONGEST = 0.001, 86_400  # seconds of a window or stride: a millisecond, a day


@dataclass(frozen=True)
class ExtractionSettings:
    """Settings by which the videos of a feature file were cut and encoded.

    Args:
        encoder: name by which `load_encoder` finds the encoder again.
        fingerprint: digest of the encoder's weights and preprocessing.
        video_dim: F, the numbers in a row.
        fps: frames sampled in a second.
        window: seconds that a row covers.
        stride: seconds from the start of a row to the start of the next one.

    Raises:
        UserError: a number is out of its limits.
    """

    encoder: str
    fingerprint: str
    video_dim: int
    fps: float
    window: float
    stride: float

    def __post_init__(self) -> None:
        check_range("video_dim", self.video_dim, 1, LARGEST_DIM, whole=True)
        check_range("fps", self.fps, LEAST_FPS, MOST_FPS)
        for name in ("window", "stride"):
            check_range(name, getattr(self, name), SHORTEST, LONGEST)

    def differences(self, other: "ExtractionSettings") -> str:
        """Name the settings by which the rows of two files differ, as "fps 2.0, not 1.0".

        The encoder's name does not count, only its fingerprint: a model may have moved.

        Args:
            other: the settings to compare with.

        Returns:
            The differences, separated by commas; "" if there are none.
        """
        ours, theirs = asdict(self), asdict(other)
        names = [name for name in ours if name != "encoder" and ours[name] != theirs[name]]
        if "fingerprint" in names and self.encoder != other.encoder:
            names[names.index("fingerprint")] = "encoder"
        return ", ".join(f"{name} {ours[name]}, not {theirs[name]}" for name in names)


@dataclass(frozen=True)
class VideoRecord:
    """Facts about a video of a feature file, without its rows.

    Args:
        video_id: id that is unique in the file and has no "/" in it.
        start: second at which the first row begins, as a player counts.
        duration: second at which the video ends, as a player counts.
        path: absolute path of the video when it was extracted.
        size: size of the video in bytes at that time.
        mtime_ns: time of the video's last change at that time, in nanoseconds.
        warning: oddities of the video in words, or "".
    """

    video_id: str
    start: float
    duration: float
    path: Path
    size: int
    mtime_ns: int
    warning: str = ""


@dataclass(frozen=True)
class VideoFeatures(VideoRecord):
    """A video of a feature file with its rows.

    Args:
        rows: (N, F) float32.
    """

    rows: np.ndarray = field(kw_only=True)


class FeatureFile(Hdf5Features):
    """A feature file, read only. It may be a stranger's: links out of it are refused.

    Args:
        path: path of the file.

    Raises:
        UserError: missing, damaged, or not written by `lightning extract`.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.settings = self._settings()
        if self.dim != self.settings.video_dim:
            raise UserError(f"{self.path}: rows of {self.dim} numbers; {NO_FEATURE_FILE}")

    def video_ids(self) -> list[str]:
        """List the ids of all videos, sorted."""
        return sorted(self.keys())

    def record(self, video_id: str) -> VideoRecord:
        """Read the facts about a video without its rows.

        Raises:
            UserError: the video is not in the file, or its attributes are missing or damaged.
        """
        if not self.has(video_id):
            raise UserError(f"{self.path} has no video {quote(video_id)}")
        attributes = self._attributes(video_id)
        with self._reading(quote(video_id)):
            record = VideoRecord(
                video_id, float(attributes["start"]), float(attributes["duration"]),
                Path(os.fsdecode(attributes["path"])), int(attributes["size"]),
                int(attributes["mtime_ns"]), str(attributes["warning"]),
            )  # fmt: skip
        if not (np.isfinite([record.start, record.duration]).all() and record.start >= 0):
            raise UserError(
                f"{self.path}: {quote(video_id)} starts at {record.start} and ends at "
                f"{record.duration} seconds; {NO_FEATURE_FILE}"
            )
        return record

    def read(self, video_id: str) -> VideoFeatures:
        """Read a video with its rows.

        Raises:
            UserError: see `record`; or there are no rows, or they are of another size or not
                finite.
        """
        record = self.record(video_id)
        return VideoFeatures(rows=self[video_id], **vars(record))

    def _settings(self) -> ExtractionSettings:
        try:
            attributes = self._attributes("")
            if attributes.get("format", "") == TEXT_FORMAT:
                raise UserError(
                    f"{self.path} holds the words of captions, from `lightning extract-text`, not "
                    "the features of videos, from `lightning extract`"
                )
            if attributes.get("format", "") != FORMAT:
                raise UserError(f"{self.path}: {NO_FEATURE_FILE}")
            if int(attributes["version"]) != VERSION:
                raise UserError(
                    f"{self.path} has version {int(attributes['version'])}, and this program reads "
                    f"version {VERSION}: update it, or extract the videos again"
                )
            return ExtractionSettings(
                str(attributes["encoder"]), str(attributes["fingerprint"]),
                int(attributes["video_dim"]), float(attributes["fps"]),
                float(attributes["window"]), float(attributes["stride"]),
            )  # fmt: skip
        except H5_ERRORS as error:
            raise UserError(f"{self.path} ({reason_of(error)}): {NO_FEATURE_FILE}") from None


def write_feature_file(
    path: str | Path, settings: ExtractionSettings, videos: Iterable[VideoFeatures]
) -> None:
    """Write a whole feature file. An old file of that name stays until the new one is complete.

    Args:
        path: path of the file.
        settings: settings of all videos.
        videos: the videos; they are taken one by one, so that no more than one is in memory.

    Raises:
        UserError: the disk is full, the folder may not be written, or two videos have one id.
    """
    with atomic_path(Path(path)) as partial, h5py.File(partial, "w") as file:
        write_attributes(file, "", {"format": FORMAT, "version": VERSION, **asdict(settings)})
        for video in videos:
            _write_video(file, video, settings.video_dim)


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
