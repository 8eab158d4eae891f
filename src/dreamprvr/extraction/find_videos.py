"""Arguments of a command line -> video files, and what could not be looked at."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.kinds import (
    CAPTIONS,
    EMPTY,
    FOLDER,
    LIBRARY,
    SUBTITLES,
    TEXT,
    UNKNOWN,
    VIDEO,
    VIDEOS,
    described,
    kind_of,
)
from dreamprvr.core.text import one_line, read_text, shorten
from dreamprvr.extraction.video_ids import FoundVideo, id_forms, unique_ids

__all__ = ["SUFFIXES", "Found", "FoundVideo", "find_videos"]

SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".3gp2", ".3gpp", ".3gpp2", ".asf", ".avc", ".avi", ".divx",
    ".dv", ".dvr-ms", ".evo", ".f4v", ".flv", ".gif", ".h264", ".h265", ".h26l", ".hevc", ".ism",
    ".ismv", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mk3d", ".mkv", ".mov",
    ".mp2v", ".mp4", ".mp4v", ".mpe", ".mpeg", ".mpg", ".mpv", ".mpv2", ".mqv", ".mts", ".mxf",
    ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tp", ".trp", ".vob", ".vro", ".webm", ".wm",
    ".wmv", ".wtv", ".xvid",
})  # fmt: skip
"""Endings that only videos have; a file that is named may have any."""
SHARED = frozenset({".mod", ".obu", ".ogg", ".ogx", ".tod", ".ts"})
"""Endings of videos and of other things, which the first bytes tell apart."""
OTHERS = frozenset({
    ".aac", ".ass", ".bmp", ".ckpt", ".csv", ".doc", ".docx", ".flac", ".h5", ".hdf5", ".heic",
    ".html", ".idx", ".ini", ".jpeg", ".jpg", ".json", ".jsonl", ".log", ".m4a", ".md", ".mka",
    ".mp3", ".npy", ".npz", ".oga", ".opus", ".parts", ".pdf", ".png", ".pt", ".pth", ".py", ".srt",
    ".sub", ".svg", ".tif", ".tiff", ".tsv", ".txt", ".vtt", ".wav", ".webp", ".wma", ".xml",
    ".yaml", ".yml", ".zip",
})  # fmt: skip
"""Endings of what is left out without being opened."""
SHOWN = 6  # endings of files left out that are said


@dataclass
class Found:
    """What the arguments name.

    Args:
        videos: in the order of the arguments, those of a folder sorted.
        unseen: files and folders that are missing or cannot be looked into, with the reason;
            absolute. Videos may lie below them.
        left_out: how many files of folders are not videos, by their ending.
    """

    videos: list[FoundVideo] = field(default_factory=list)
    unseen: list[tuple[Path, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def left_out_text(self) -> str:
        """One line on the files that were left out: "3 files are not videos: .txt 2, .jpg 1"."""
        if not self.left_out:
            return ""
        count = self.left_out.total()
        most = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        said = [f"{one_line(ending) or 'no ending'} {number:,}" for ending, number in most[:SHOWN]]
        more = ", ..." if len(most) > SHOWN else ""
        are = "file is no video" if count == 1 else "files are not videos"
        return f"{count:,} {are}: {', '.join(said)}{more}"


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
        raise UserError(_nothing(arguments, found))
    places = [(item.path, len(item.path.relative_to(item.base).parts)) for item in files]
    ids = unique_ids([next(id_forms(*place)) for place in places], places)
    found.videos = [FoundVideo(name, *place) for name, place in zip(ids, places, strict=True)]
    return found


def _nothing(arguments: Sequence[str | Path], found: Found) -> str:
    if found.unseen:
        path, reason = found.unseen[0]
        more = f" (and {len(found.unseen) - 1} more)" if len(found.unseen) > 1 else ""
        return f"there is nothing to extract: {shorten(one_line(path), 300)}: {reason}{more}"
    for argument in map(Path, arguments):
        if kind_of(argument) not in (FOLDER, VIDEOS, UNKNOWN, TEXT):
            return f"there is nothing to extract: {argument} is {described(argument, 'a video')}"
    left_out = f" ({found.left_out_text()})" if found.left_out else ""
    names = shorten(one_line(", ".join(map(str, arguments))), 300)
    return (
        f"no videos in {names}{left_out}: name files, or folders in which "
        "there are .mp4, .mkv, .webm or other video files"
    )


def _is_video(path: Path) -> bool:
    """Whether a file of a folder is to be tried: by its ending, else by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or suffix in OTHERS:
        return suffix in SUFFIXES
    kind = kind_of(path)
    return kind == VIDEO or (suffix in SHARED and kind in (UNKNOWN, EMPTY))


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
            if kind_of(path) == LIBRARY:
                raise UserError(f"{path} is {described(path, 'a folder of videos')}")
            yield from (_Named(file, path) for file in self._walk(path))
        else:
            yield _Named(path, base)

    def _listed(self, path: Path) -> Iterator[_Named]:
        """What the lines of a list name."""
        if kind_of(path) in (CAPTIONS, SUBTITLES):
            raise UserError(f"{path} is {described(path, 'a list of videos')}")
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
            folders[:] = sorted(
                name for name in folders
                if not name.startswith(".") and not Path(root, name, "library.json").exists()
            )  # fmt: skip
            for name in sorted(names):
                if name.startswith("."):
                    continue
                if _is_video(Path(root, name)):
                    yield Path(root, name)
                else:
                    self.found.left_out[Path(name).suffix.lower()] += 1

    def _miss(self, error: OSError, path: Path | None = None) -> None:
        place = path or Path(os.fsdecode(error.filename))
        self.found.unseen.append((place, error.strerror or str(error)))
