"""A feature file that grows a video at a time, and survives being killed.

HDF5 is not safe against a crash: a process that is killed while it writes may leave a file that
cannot be opened. So each finished video is a small feature file of its own in `<output>.parts/`,
put there under its name when it is whole. At the end, and after Ctrl-C, the parts and the old
output are copied into a new file that takes the output's place in one step. A run that was killed
leaves the parts to the next one.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from dreamprvr.errors import UserError
from dreamprvr.extraction.feature_file import (
    ExtractionSettings,
    FeatureFile,
    VideoFeatures,
    VideoRecord,
    write_feature_file,
)

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK, JOINED = ".lock", "joined"


@dataclass(frozen=True)
class Stored:
    """A video that was extracted before: the file that holds it, and what is known of it."""

    file: Path
    record: VideoRecord


class FeatureStore:
    """The output of an extraction, opened by one process at a time; a context manager.

    Args:
        output: the feature file; it need not be there yet.
        settings: of this run.

    Raises:
        UserError: another run writes it, it was made with other settings, or is something else.
    """

    def __init__(self, output: Path, settings: ExtractionSettings) -> None:
        self.output, self.settings = output, settings
        self.parts = output.with_name(f"{output.name}.parts")
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> "FeatureStore":
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            self._lock = (self.parts / LOCK).open("ab")
        except OSError as error:
            raise UserError(f"cannot write {self.parts}: {error.strerror}") from None
        try:
            self._hold()
            if self.output.exists():
                self._check(self.output, "give the same options again, or another -o")
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._release()

    def stored(self) -> dict[str, Stored]:
        """Every video that is there, by its id: those of the output and of the parts."""
        found: dict[str, Stored] = {}
        files = [self.output] if self.output.exists() else []
        for path in files + self._part_files():
            with FeatureFile.open(path) as file:
                found.update({name: Stored(path, file.record(name)) for name in file.video_ids()})
        return found

    def add(self, video: VideoFeatures) -> Stored:
        """Keep a finished video: once this returns, it survives whatever happens."""
        name = hashlib.blake2b(video.video_id.encode(), digest_size=16).hexdigest()
        path = self.parts / f"{name}.hdf5"
        write_feature_file(path, self.settings, [video])
        fields = {key: value for key, value in vars(video).items() if key != "rows"}
        return Stored(path, VideoRecord(**fields))

    def join(self, videos: Mapping[str, Stored]) -> None:
        """Make the output hold just these videos, under these ids, and drop the parts."""
        if not videos:
            return
        joined = self.parts / JOINED
        write_feature_file(joined, self.settings, self._read(videos))
        os.replace(joined, self.output)
        for path in self._part_files():
            path.unlink()

    def _read(self, videos: Mapping[str, Stored]) -> Iterator[VideoFeatures]:
        old = FeatureFile.open(self.output) if self.output.exists() else None
        for name, stored in sorted(videos.items()):
            record = stored.record
            if old is not None and stored.file == self.output:
                video = old.read(record.video_id)
            else:
                with FeatureFile.open(stored.file) as part:
                    video = part.read(record.video_id)
            yield replace(video, video_id=name, path=record.path)
        if old is not None:
            old.close()

    def _part_files(self) -> list[Path]:
        return sorted(self.parts.glob("*.hdf5"))

    def _check(self, path: Path, advice: str) -> None:
        with FeatureFile.open(path) as file:
            if differences := file.settings.differences(self.settings):
                raise UserError(f"{path} was made with {differences}: {advice}")

    def _hold(self) -> None:
        """Keep other processes out, and tidy up what a killed one left."""
        assert self._lock is not None
        if fcntl is not None:
            try:
                fcntl.flock(self._lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._taken() from None
            except OSError:
                pass  # a file system without locks
            if not (self.parts / LOCK).exists():  # the one that held it has just tidied up
                raise self._taken()
        for path in [*self.parts.glob(".*.partial"), self.parts / JOINED]:
            path.unlink(missing_ok=True)
        for path in self._part_files():
            self._check(
                path, f"an earlier run left it: give the same options again, or delete {self.parts}"
            )

    def _taken(self) -> UserError:
        return UserError(
            f"another `lightning extract` is writing {self.output}: wait for it, or give another -o"
        )

    def _release(self) -> None:
        """Let go; the folder stays only if there are parts in it."""
        if self._lock is None:
            return
        if not self._part_files():
            (self.parts / LOCK).unlink(missing_ok=True)
        self._lock.close()
        self._lock = None
        with suppress(OSError):
            self.parts.rmdir()
