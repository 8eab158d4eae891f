"""Arguments of a command line -> video files, and what could not be looked at."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dreamprvr.core.text import one_line, read_text, shorten
from dreamprvr.errors import UserError
from dreamprvr.extraction.video_ids import FoundVideo, id_forms, unique_ids

__all__ = ["SUFFIXES", "Found", "FoundVideo", "find_videos"]

SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".ivf", ".m2ts",
    ".m2v", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogg",
    ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv",
})  # fmt: skip
"""Endings by which videos are known in a folder; a file that is named may have any."""


@dataclass
class Found:
    """What the arguments name.

    Args:
        videos: in the order of the arguments, those of a folder sorted.
        unseen: files and folders that are missing or cannot be looked into, with the reason;
            absolute. Videos may lie below them.
    """

    videos: list[FoundVideo] = field(default_factory=list)
    unseen: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Named:
    path: Path
    base: Path  # the id is the path from here


def find_videos(arguments: Sequence[str | Path]) -> Found:
    """All videos that the arguments name.

    An id is the path from the folder that was given, without its ending and with "__" for "/";
    that of a file given by itself is its name without the ending. Where ids would be the same the
    endings are kept, and where that is not enough, names of parent folders are put in front. The
    same file is taken once.

    Args:
        arguments: folders (searched with all below them, hidden ones left out), files, and `.txt`
            lists with a file or folder a line, from the list's folder; "#" begins a comment.

    Raises:
        UserError: they name no video that is there, or a list cannot be read.
    """
    found = Found()
    named = [item for argument in arguments for item in _Search(found).expand(Path(argument))]
    found.unseen = list(dict.fromkeys(found.unseen))
    unique = {os.path.realpath(item.path): item for item in reversed(named)}
    kept = set(map(id, unique.values()))
    files = [item for item in named if id(item) in kept]
    if not files:
        raise UserError(_nothing(arguments, found.unseen))
    places = [(item.path, len(item.path.relative_to(item.base).parts)) for item in files]
    ids = unique_ids([next(id_forms(*place)) for place in places], places)
    found.videos = [FoundVideo(name, *place) for name, place in zip(ids, places, strict=True)]
    return found


def _nothing(arguments: Sequence[str | Path], unseen: list[tuple[Path, str]]) -> str:
    if unseen:
        path, reason = unseen[0]
        more = f" (and {len(unseen) - 1} more)" if len(unseen) > 1 else ""
        return f"there is nothing to extract: {shorten(one_line(path), 300)}: {reason}{more}"
    names = shorten(one_line(", ".join(map(str, arguments))), 300)
    return (
        f"no videos in {names}: name files, or folders in which there are "
        ".mp4, .mkv, .webm or other video files"
    )


class _Search:
    """Expands arguments; what it cannot look at goes to `found.unseen`."""

    def __init__(self, found: Found) -> None:
        self.found = found

    def expand(self, argument: Path) -> Iterator[_Named]:
        path = Path(os.path.abspath(argument))
        if path.suffix.lower() == ".txt" and os.path.exists(path) and not path.is_dir():
            yield from self._listed(path)
        else:
            yield from self._entry(path, path.parent)

    def _entry(self, path: Path, base: Path) -> Iterator[_Named]:
        try:
            os.stat(path)
        except OSError as error:
            self._miss(error, path)
            return
        if path.is_dir():
            yield from (_Named(file, path) for file in self._walk(path))
        else:
            yield _Named(path, base)

    def _listed(self, path: Path) -> Iterator[_Named]:
        """What the lines of a list name."""
        # not splitlines, which knows more line ends, that names may hold
        for line in read_text(path, errors="surrogateescape").split("\n"):
            name = line.strip(" \t")  # other white space may belong to a name
            if not name or name.startswith("#"):
                continue
            entry = Path(os.path.abspath(path.parent / name))
            inside = entry.is_relative_to(path.parent)
            yield from self._entry(entry, path.parent if inside else entry.parent)

    def _walk(self, folder: Path) -> Iterator[Path]:
        """Videos in a folder and below, sorted; folders behind links too, each once."""
        seen: set[tuple[int, int]] = set()
        for root, folders, names in os.walk(folder, onerror=self._miss, followlinks=True):
            status = os.stat(root)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                    yield Path(root, name)

    def _miss(self, error: OSError, path: Path | None = None) -> None:
        place = path or Path(os.fsdecode(error.filename))
        self.found.unseen.append((place, error.strerror or str(error)))
