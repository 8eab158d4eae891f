"""Output files that grow in parts and survive being killed.

HDF5 is not safe against a crash: a process that is killed while it writes may leave a file that
cannot be opened. So finished work goes to small files of its own in `<output>.parts/`, each put
there under its name when it is complete. At the end, and after Ctrl-C, the parts and the old output
are copied into a new file that replaces the output in one step. A killed run leaves its parts to
the next run.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import inside, plain_errors, refuse_links, remove_files
from dreamprvr.core.locks import open_lock, take
from dreamprvr.extraction.feature_file import (
    ExtractionSettings,
    FeatureFile,
    VideoFeatures,
    VideoRecord,
    write_feature_file,
)

LOCK, JOINED = ".lock", "joined"
_PART = re.compile(r"([0-9a-f]{32}|\d{6,20})\.hdf5")
_REMAINS = re.compile(rf"{JOINED}|\..+\.\d+\.partial")


class Output:
    """An output file with its folder of parts, held by one process at a time; a context manager.

    Args:
        path: path of the output file, which need not exist yet.
        verb: verb of the command line that writes it, for messages.
    """

    def __init__(self, path: Path, verb: str) -> None:
        self.path, self.verb = path, verb
        self.parts = path.with_name(f"{path.name}.parts")
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self._hold()
        try:
            for path in self.files():
                self.check(path)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._release()

    def check(self, path: Path) -> None:
        """Refuse to go on from an output or part that does not fit this run.

        Args:
            path: the output or one of its parts.

        Raises:
            UserError: the file was made with other settings, or is something else.
        """

    def part_files(self) -> list[Path]:
        """List the paths of the parts, sorted."""
        if not self.parts.is_dir():
            return []
        return sorted(path for path in self.parts.iterdir() if _PART.fullmatch(path.name))

    def files(self) -> list[Path]:
        """List the output, if it exists, and then the parts, sorted."""
        return [*([self.path] if self.path.exists() else []), *self.part_files()]

    def _hold(self) -> None:
        """Make the folder of parts, lock it, and delete what a killed process left half written.

        Raises:
            UserError: another process holds it, it cannot be written, or there is a link in it.
        """
        refuse_links(self.parts.parent, self.parts.name)
        inside(self.parts.parent, self.parts.name, kind="folder")
        with plain_errors(self.parts):
            self.parts.mkdir(parents=True, exist_ok=True)
        self._lock = open_lock(self.parts, LOCK)
        # if the lock's file is gone, the process that held it has just deleted the folder
        if not take(self._lock, exclusive=True) or not (self.parts / LOCK).exists():
            os.close(self._lock)
            self._lock = None
            raise UserError(
                f"another `lightning {self.verb}` is writing {self.path}: wait for it, or give "
                "another -o"
            )
        remove_files(self.parts, _REMAINS)

    def replace_output(self) -> None:
        """Put the file of the name `JOINED` in the output's place, and delete the parts."""
        with plain_errors(self.path):
            os.replace(self.parts / JOINED, self.path)
        remove_files(self.parts, _PART)

    def _release(self) -> None:
        """Unlock the folder of parts, and delete it unless there are parts in it."""
        if self._lock is None:
            return
        if not self.part_files():
            (self.parts / LOCK).unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None
        with suppress(OSError):
            self.parts.rmdir()


@dataclass(frozen=True)
class Stored:
    """A video that was extracted before.

    Args:
        file: path of the feature file that holds its rows.
        record: facts about the video in that file.
    """

    file: Path
    record: VideoRecord


class FeatureOutput(Output):
    """The feature file that `lightning extract` writes; every part holds one video.

    Args:
        path: path of the feature file, which need not exist yet.
        settings: settings of this run.

    Raises:
        UserError: on entering: another run writes the file, it was made with other settings, or
            it is something else.
    """

    def __init__(self, path: Path, settings: ExtractionSettings) -> None:
        super().__init__(path, "extract")
        self.settings = settings

    def check(self, path: Path) -> None:
        """Refuse a feature file with other settings than those of this run."""
        with FeatureFile(path) as file:
            differences = file.settings.differences(self.settings)
        if differences:
            advice = "give the same options again, or another -o" if path == self.path else (
                f"an earlier run left it: give the same options again, or delete {self.parts}"
            )  # fmt: skip
            raise UserError(f"{path} was made with {differences}: {advice}")

    def stored(self) -> dict[str, Stored]:
        """List all videos of the output and of the parts, by their ids."""
        videos: dict[str, Stored] = {}
        for path in self.files():
            with FeatureFile(path) as file:
                videos.update({name: Stored(path, file.record(name)) for name in file.video_ids()})
        return videos

    def add(self, video: VideoFeatures) -> Stored:
        """Write a finished video to a part; once this returns, a crash cannot lose it."""
        name = hashlib.blake2b(video.video_id.encode(), digest_size=16).hexdigest()
        path = self.parts / f"{name}.hdf5"
        write_feature_file(path, self.settings, [video])
        fields = {key: value for key, value in vars(video).items() if key != "rows"}
        return Stored(path, VideoRecord(**fields))

    def join(self, videos: Mapping[str, Stored]) -> None:
        """Write a new output that holds exactly these videos, and delete the parts.

        Args:
            videos: where to read each video, by the id that it gets. If there are none, nothing
                is written.
        """
        if videos:
            write_feature_file(self.parts / JOINED, self.settings, self._read(videos))
            self.replace_output()

    def _read(self, videos: Mapping[str, Stored]) -> Iterator[VideoFeatures]:
        old = FeatureFile(self.path) if self.path.exists() else None
        for name, stored in sorted(videos.items()):
            if old is not None and stored.file == self.path:
                video = old.read(stored.record.video_id)
            else:
                with FeatureFile(stored.file) as part:
                    video = part.read(stored.record.video_id)
            yield replace(video, video_id=name, path=stored.record.path)
        if old is not None:
            old.close()
