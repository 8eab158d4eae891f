"""Find the video files that arguments of a command line name, and give them ids.

Ids are as short as the names of the files allow, unique, and the same in every run.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.file_kinds import (
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

SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".3gp2", ".3gpp", ".3gpp2", ".asf", ".avc", ".avi", ".divx",
    ".dv", ".dvr-ms", ".evo", ".f4v", ".flv", ".gif", ".h264", ".h265", ".h26l", ".hevc", ".ism",
    ".ismv", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mk3d", ".mkv", ".mov",
    ".mp2v", ".mp4", ".mp4v", ".mpe", ".mpeg", ".mpg", ".mpv", ".mpv2", ".mqv", ".mts", ".mxf",
    ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".tp", ".trp", ".vob", ".vro", ".webm", ".wm",
    ".wmv", ".wtv", ".xvid",
})  # fmt: skip
"""Endings that only videos have. A file that the user names may have any ending."""
SHARED = frozenset({".mod", ".obu", ".ogg", ".ogx", ".tod", ".ts"})
"""Endings of videos and of other files, which are told apart by their first bytes."""
OTHERS = frozenset({
    ".aac", ".ass", ".bmp", ".ckpt", ".crdownload", ".csv", ".doc", ".docx", ".flac", ".h5",
    ".hdf5", ".heic", ".html", ".idx", ".ini", ".jpeg", ".jpg", ".json", ".jsonl", ".log", ".m4a",
    ".md", ".mka", ".mp3", ".npy", ".npz", ".oga", ".opus", ".part", ".partial", ".parts", ".pdf",
    ".png", ".pt", ".pth", ".py", ".srt", ".sub", ".svg", ".tif", ".tiff", ".tmp", ".tsv", ".txt",
    ".vtt", ".wav", ".webp", ".wma", ".xml", ".yaml", ".yml", ".zip",
})  # fmt: skip
"""Endings of files that are left out without being opened; some belong to files on their way."""
SHOWN = 6  # endings of left out files that a message names


@dataclass(frozen=True)
class FoundVideo:
    """A file to extract.

    Args:
        video_id: id that is unique among the files that were found together.
        path: absolute path, in which links are kept.
        depth: number of names at the end of the path that make the shortest id, counted from the
            folder that the user named.
    """

    video_id: str
    path: Path
    depth: int = 1


@dataclass
class FoundVideos:
    """The videos that the arguments name.

    Args:
        videos: the videos in the order of the arguments, those of a folder sorted.
        unseen: absolute paths of files and folders that are missing or cannot be read, each with
            the reason. Videos may lie below them.
        left_out: numbers of files in folders that are not videos, by their ending.
    """

    videos: list[FoundVideo] = field(default_factory=list)
    unseen: list[tuple[Path, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def left_out_text(self) -> str:
        """Say which files were left out, as "3 files are not videos: .txt 2, .jpg 1", or ""."""
        if not self.left_out:
            return ""
        count = self.left_out.total()
        most = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        said = [f"{one_line(ending) or 'no ending'} {number:,}" for ending, number in most[:SHOWN]]
        more = ", ..." if len(most) > SHOWN else ""
        are = "file is no video" if count == 1 else "files are not videos"
        return f"{count:,} {are}: {', '.join(said)}{more}"


Place = tuple[Path, int]
"""Path and depth of a file, as in `FoundVideo`."""


def find_videos(arguments: Sequence[str | Path]) -> FoundVideos:
    """Find all videos that the arguments name.

    The id of a video is its path from the folder that the user named, without the file's ending and
    with "__" in place of "/". The id of a file that the user named is its name without the ending.
    Where ids would be the same, the endings are kept; where that is not enough, the names of parent
    folders are put in front. A file that is named twice is taken once.

    Args:
        arguments: folders (searched with all folders below them, except hidden ones), files, and
            `.txt` lists. A list names a file or folder in each line, relative to the list's
            folder; lines that begin with "#" are comments.

    Raises:
        UserError: the arguments name no video that exists, or a list cannot be read.
    """
    found = FoundVideos()
    unique: dict[str, Place] = {}
    for argument in arguments:
        for place in _Search(found).expand(Path(argument)):
            unique.setdefault(os.path.realpath(place[0]), place)
    found.unseen = list(dict.fromkeys(found.unseen))
    if not unique:
        raise UserError(_nothing(arguments, found))
    places = list(unique.values())
    ids = unique_ids([next(id_forms(*place)) for place in places], places)
    found.videos = [FoundVideo(name, *place) for name, place in zip(ids, places, strict=True)]
    return found


def _nothing(arguments: Sequence[str | Path], found: FoundVideos) -> str:
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
    """Check by its ending, else by its first bytes, whether a file of a folder may be a video."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or suffix in OTHERS:
        return suffix in SUFFIXES
    kind = kind_of(path)
    return kind == VIDEO or (suffix in SHARED and kind in (UNKNOWN, EMPTY))


class _Search:
    """Expands arguments to files, and notes in `found` what it cannot read or leaves out."""

    def __init__(self, found: FoundVideos) -> None:
        self.found = found

    def expand(self, argument: Path) -> Iterator[Place]:
        path = Path(os.path.abspath(argument))
        if path.suffix.lower() == ".txt" and os.path.exists(path) and not path.is_dir():
            yield from self._listed(path)
        else:
            yield from self._entry(path, path.parent)

    def _entry(self, path: Path, base: Path) -> Iterator[Place]:
        try:
            os.stat(path)
        except OSError as error:
            self._miss(error, path)
            return
        if path.is_dir():
            if kind_of(path) == LIBRARY:
                raise UserError(f"{path} is {described(path, 'a folder of videos')}")
            yield from ((file, len(file.relative_to(path).parts)) for file in self._walk(path))
        else:
            yield path, len(path.relative_to(base).parts)

    def _listed(self, path: Path) -> Iterator[Place]:
        """Give the files that the lines of a list name."""
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
        """Give the videos in a folder and below it, sorted; links are followed, each once."""
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


def id_forms(path: Path, depth: int) -> Iterator[str]:
    """Give the ids that a file may have, the shortest first.

    They are the last `depth` names of its path, joined by "__", without the file's ending; the same
    with the ending; then with more and more parent folders in front; and at last one with a digest
    of the path, which no other file has.

    Args:
        path: absolute path of the file.
        depth: number of names in the shortest id.
    """
    parts = path.parts[-depth:]
    yield _id((*parts[:-1], path.stem))
    for count in range(depth, len(path.parts) + 1):
        yield _id(path.parts[-count:])
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    yield f"{_id(parts)}-{digest}"  # a/b.mp4 beside a__b.mp4


def names_of(path: Path) -> Iterator[str]:
    """Give all ids with an ending that a file may have, whatever folder the user names."""
    yield from (_id(path.parts[-count:]) for count in range(1, len(path.parts) + 1))


def unique_ids(
    ids: Sequence[str], files: Sequence[Place], taken: Collection[str] = frozenset()
) -> list[str]:
    """Make ids unique by longer forms where two of them are the same.

    Args:
        ids: the ids that the files have at first.
        files: path and depth of each file, see `id_forms`.
        taken: ids that other files have.

    Returns:
        The ids in the order of the files.
    """
    unique = list(ids)
    forms = [list(id_forms(path, depth)) for path, depth in files]
    begin = [form.index(name) if name in form else 0 for name, form in zip(ids, forms, strict=True)]
    for step in range(1, max(map(len, forms), default=0)):
        clashing = _clashing(unique, taken)
        if not clashing:
            break
        for place in clashing:
            if step > begin[place]:  # never shorter than to begin with
                unique[place] = forms[place][min(step, len(forms[place]) - 1)]
    return unique


def _clashing(ids: Iterable[str], taken: Collection[str]) -> list[int]:
    count = Counter(ids)
    return [i for i, name in enumerate(ids) if count[name] > 1 or name in taken]


def _id(parts: Iterable[str]) -> str:
    """Join names of folders and file to an id that is Unicode and prints in one line.

    Bytes that are not UTF-8 are written as "\\xe9", and so are line ends and other characters that
    a terminal obeys. Invisible characters, such as the joiners of an emoji, stay.
    """
    text = os.fsencode("__".join(part.strip("/") for part in parts))
    return one_line(text.decode("utf-8", "backslashreplace"))
