"""Arguments of a command line -> video files with ids that are unique and stay the same."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamprvr.errors import UserError

SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".h264", ".ivf", ".m2ts",
    ".m2v", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogg",
    ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv",
})  # fmt: skip
"""Endings by which videos are known in a folder; a file that is named may have any."""


@dataclass(frozen=True)
class FoundVideo:
    """A file to extract: its id, and its absolute path, with links as they are."""

    video_id: str
    path: Path


@dataclass(frozen=True)
class _Named:
    path: Path
    base: Path  # the id is the path from here


def find_videos(arguments: Sequence[str | Path]) -> list[FoundVideo]:
    """All videos that the arguments name, in their order; those of a folder sorted.

    An id is the path from the folder that was given, without its ending and with "__" for "/";
    that of a file given by itself is its name without the ending. Where ids would be the same the
    endings are kept, and where that is not enough, names of parent folders are put in front. The
    same file is taken once.

    Args:
        arguments: folders (searched with all below them, hidden ones left out), files, and `.txt`
            lists with a file or folder a line, from the list's folder; "#" begins a comment.

    Raises:
        UserError: an argument is not there, or they name no video.
    """
    named = [item for argument in arguments for item in _expand(Path(argument))]
    unique = {os.path.realpath(item.path): item for item in reversed(named)}
    kept = set(map(id, unique.values()))
    files = [item for item in named if id(item) in kept]
    if not files:
        raise UserError(
            f"no videos in {', '.join(map(str, arguments))}: name files, or folders in which there "
            "are .mp4, .mkv, .webm or other video files"
        )
    ids = _unique_ids(files)
    return [FoundVideo(name, item.path) for name, item in zip(ids, files, strict=True)]


def _expand(argument: Path) -> Iterator[_Named]:
    path = Path(os.path.abspath(argument))
    if path.is_dir():
        yield from (_Named(file, path) for file in _walk(path))
    elif not path.is_file():
        raise UserError(f"{argument} is neither a folder nor a file")
    elif path.suffix.lower() == ".txt":
        yield from _listed(path)
    else:
        yield _Named(path, path.parent)


def _listed(path: Path) -> Iterator[_Named]:
    """What the lines of a list name; a file that is missing is found out later, by itself."""
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    for line in text.splitlines():
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if "\0" in name:
            raise UserError(f"{path} is no list of files: it has null characters")
        entry = Path(os.path.abspath(path.parent / name))
        if entry.is_dir():
            yield from (_Named(file, entry) for file in _walk(entry))
        else:
            inside = entry.is_relative_to(path.parent)
            yield _Named(entry, path.parent if inside else entry.parent)


def _walk(folder: Path) -> Iterator[Path]:
    """Videos in a folder and below, sorted; folders behind links too, each once."""
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(root, name)


def _unique_ids(files: Sequence[_Named]) -> list[str]:
    inside = [item.path.relative_to(item.base) for item in files]
    ids = [_id(path.with_suffix("").parts) for path in inside]
    ids = _lengthen(ids, (_id(path.parts) for path in inside))
    for depth in range(1, max(len(item.base.parts) for item in files) + 1):
        if len(set(ids)) == len(ids):
            return ids
        parts = [
            item.path.parts[-depth - len(path.parts) :]
            for item, path in zip(files, inside, strict=True)
        ]
        ids = _lengthen(ids, map(_id, parts))
    # a/b.mp4 beside a__b.mp4
    return _lengthen(ids, (f"{_id(p.parts)}-{_digest(p)}" for p in inside))


def _digest(path: Path) -> str:
    return hashlib.blake2b(os.fsencode(path), digest_size=4).hexdigest()


def _lengthen(ids: list[str], longer: Iterable[str]) -> list[str]:
    """Ids, where several are the same replaced by longer ones."""
    count = Counter(ids)
    return [more if count[name] > 1 else name for name, more in zip(ids, longer, strict=True)]


def _id(parts: Sequence[str]) -> str:
    """Names of folders and file as one that prints in a line and is Unicode."""
    text = os.fsencode("__".join(part.strip("/") for part in parts))
    name = text.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
