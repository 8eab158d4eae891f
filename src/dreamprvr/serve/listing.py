"""Lists the videos of the library for the start page: newest first, all or those of a folder."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamprvr.search.results import LibraryVideo

_FOLDERS = 60  # largest number of folders in the list


@dataclass(frozen=True)
class Listing:
    """The videos of a library.

    Args:
        videos: videos, those with the newest files first; last those whose files are gone.
        folders: name of each video's folder, in the same order; "" where the file is unknown.
    """

    videos: tuple[LibraryVideo, ...]
    folders: tuple[str, ...]

    def names(self) -> list[tuple[str, int]]:
        """Return the folders of most videos, sorted by name, each with its number of videos."""
        counted = Counter(folder for folder in self.folders if folder)
        return sorted(counted.most_common(_FOLDERS))

    def part(self, folder: str, skip: int, count: int) -> tuple[int, list[LibraryVideo]]:
        """Return the number of videos of a folder, and some of them.

        Args:
            folder: name of the folder; "" for all videos.
            skip: number of videos to leave out at the beginning.
            count: largest number of videos to return.
        """
        pairs = zip(self.videos, self.folders, strict=True)
        videos = [video for video, name in pairs if folder in ("", name)]
        return len(videos), videos[skip : skip + count]


def listing(videos: Sequence[LibraryVideo]) -> Listing:
    """Sort videos by the age of their files, and name their folders.

    A folder's name is the part of its path right below the folder that holds all videos; what
    lies above stays private. Files that lie in that folder itself have its own name.

    Args:
        videos: all videos of a library.
    """
    parents = {video.path.parent for video in videos if video.path is not None}
    try:
        top = Path(os.path.commonpath(parents)) if parents else Path()
    except ValueError:  # several drives
        top = Path()
    aged = sorted(videos, key=lambda video: (-_changed(video.path), video.video_id))
    return Listing(tuple(aged), tuple(_folder(video.path, top) for video in aged))


def _changed(path: Path | None) -> float:
    try:
        return 0.0 if path is None else path.stat().st_mtime
    except (OSError, ValueError):
        return 0.0


def _folder(path: Path | None, top: Path) -> str:
    if path is None:
        return ""
    parts = path.parent.relative_to(top).parts if top.parts else path.parent.parts[:1]
    name = parts[0] if parts else top.name
    return os.fsencode(name).decode(errors="replace")
