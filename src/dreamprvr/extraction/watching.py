"""Look at folders of videos again and again, and tell files that are whole from growing ones."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamprvr.extraction.find_videos import FoundVideos, find_videos

REST = 5.0  # seconds for which a file must stay the same before it is taken

Status = tuple[int, int]
"""Size of a file in bytes, and the time of its last change in nanoseconds."""


@dataclass(frozen=True)
class Look:
    """The files in the folders at a moment.

    Args:
        found: all videos that the arguments name.
        whole: files that have stayed the same for a while, with size and time of change.
        growing: files that have changed a moment ago, as while they are copied.
    """

    found: FoundVideos
    whole: dict[Path, Status]
    growing: list[Path]


class Watcher:
    """Looks at what arguments of a command line name, each time it is asked.

    A file counts as whole if its last change is `REST` seconds ago, by its own time when it is seen
    first, and after that by how long its size and time have stayed the same.

    Args:
        arguments: folders, files and lists, as for `find_videos`.
    """

    def __init__(self, arguments: Sequence[str | Path]) -> None:
        self._arguments = arguments
        self._seen: dict[Path, tuple[Status, float]] = {}  # since when each file is as it is

    def look(self) -> Look:
        """Look at the files now.

        Raises:
            UserError: there are no videos, or a list cannot be read.
        """
        found = find_videos(self._arguments)
        now, before, self._seen = time.monotonic(), self._seen, {}
        whole: dict[Path, Status] = {}
        growing = []
        for video in found.videos:
            try:
                state = video.path.stat()
            except OSError:  # it has just been removed; the next look does not find it
                continue
            status = (state.st_size, state.st_mtime_ns)
            if video.path in before:
                known, since = before[video.path]
                since = since if status == known else now
            else:
                age = time.time() - state.st_mtime
                since = now - age if age >= REST else now
            self._seen[video.path] = (status, since)
            if now - since >= REST:
                whole[video.path] = status
            else:
                growing.append(video.path)
        return Look(found, whole, growing)
