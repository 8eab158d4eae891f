"""Recognise kinds of files by their first bytes, to name what was given in place of another kind.

The ending of a name says little: a video may have any ending, and so may other files.
"""

import os
from pathlib import Path

from dreamprvr.core.errors import UserError

HEAD = 4096  # bytes that are read
VIDEO, SOUND, IMAGE, HDF5, CHECKPOINT = (
    "a video", "a sound file", "an image", "an HDF5 file", "a PyTorch file",
)  # fmt: skip
TEXT, JSON, CAPTIONS, SUBTITLES = "a text file", "a JSON file", "a caption file", "subtitles"
LIBRARY, VIDEOS, BIG_FILE, RUN = (
    "a library", "a folder of videos", "a folder with a big file", "the folder of a run",
)  # fmt: skip
PICKLE, ZIP, ARCHIVE = "a pickle", "a zip archive", "an archive"
LFS, PAGE = "a pointer of Git LFS, not the file itself", "a web page"
EMPTY, FOLDER, UNKNOWN = "an empty file", "a folder", "a file of an unknown kind"

_ADVICE = {
    VIDEO: "extract its features first: lightning extract {path} -o features.hdf5",
    VIDEOS: "extract their features first: lightning extract {path} -o features.hdf5",
    HDF5: "if it holds features, make a library of it: lightning index {path} -o library/",
    LIBRARY: 'it can be searched: lightning search {path} "a sentence"',
    CHECKPOINT: "a model is given as --ckpt_path",
    CAPTIONS: "captions are for `lightning extract-text`",
    **dict.fromkeys((ZIP, ARCHIVE), "unpack it first"),
    LFS: "fetch it with `git lfs pull`",
    PAGE: "the download needs a login or another address",
    EMPTY: "copy or download it again",
    BIG_FILE: "make an HDF5 file of it first: lightning data convert {path}",
}
_BEGINNINGS = (
    (b"version https://git-lfs", LFS),
    (b"\x1a\x45\xdf\xa3", VIDEO),  # Matroska, WebM
    (b"FLV\x01", VIDEO), (b"DKIF", VIDEO), (b"nut/multimedia", VIDEO), (b".RMF", VIDEO),
    (bytes.fromhex("3026b2758e66cf11"), VIDEO),  # ASF, WMV
    (bytes.fromhex("060e2b34"), VIDEO),  # MXF
    (bytes.fromhex("b7d800203749da11a64e0007e95ead8d"), VIDEO),  # WTV
    (bytes.fromhex("1f070000"), VIDEO), (bytes.fromhex("1f070080"), VIDEO),  # DV
    (b"\0\0\x01\xba", VIDEO), (b"\0\0\x01\xb3", VIDEO),  # MPEG-1 and -2
    (b"\x89PNG", IMAGE), (b"\xff\xd8\xff", IMAGE), (b"GIF8", IMAGE), (b"BM", IMAGE),
    (b"II*\0", IMAGE), (b"MM\0*", IMAGE), (b"8BPS", IMAGE),
    (b"ID3", SOUND), (b"fLaC", SOUND), (b"\xff\xfb", SOUND), (b"\xff\xf3", SOUND),
    (b"\xff\xf1", SOUND), (b"MThd", SOUND), (b"FORM", SOUND),
    (b"%PDF", "a PDF file"), (b"\x93NUMPY", "a NumPy file"), (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\0", "an SQLite file"), (b"\x7fELF", "a program"),
    (b"\x1f\x8b", ARCHIVE), (b"7z\xbc\xaf", ARCHIVE), (b"\xfd7zXZ", ARCHIVE), (b"BZh", ARCHIVE),
    (b"\x28\xb5\x2f\xfd", ARCHIVE),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9", CHECKPOINT),  # torch's old format
    (b"\x80\x02", PICKLE), (b"\x80\x03", PICKLE), (b"\x80\x04", PICKLE), (b"\x80\x05", PICKLE),
)  # fmt: skip
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PLACES = (0, 512, 1024, 2048)  # where it may stand, after a block of the user's own
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")  # MP4, QuickTime
_RIFF = {b"AVI ": VIDEO, b"WAVE": SOUND, b"WEBP": IMAGE}
_BRANDS = {b"M4A ": SOUND, b"M4B ": SOUND, b"heic": IMAGE, b"mif1": IMAGE, b"avif": IMAGE}
_OGG_PICTURES = (b"\x80theora", b"BBCD", b"OVP80", b"\x80daala")
_FOLDERS = (
    ("library.json", LIBRARY), ("feature.bin", BIG_FILE), ("checkpoints", RUN),
)  # fmt: skip


def kind_of(path: Path) -> str:
    """Name the kind of a file or folder: one of this module's constants, or another noun.

    Only regular files are opened. A file that cannot be read is of an unknown kind.
    """
    try:
        if path.is_dir():
            return _kind_of_folder(path)
        if not path.is_file():
            return UNKNOWN
        with path.open("rb") as file:
            return kind_of_bytes(file.read(HEAD))
    except (OSError, ValueError):
        return UNKNOWN


def kind_of_bytes(head: bytes) -> str:
    """Name the kind of a file by its first `HEAD` bytes, or all if it has fewer."""
    if not head:
        return EMPTY
    if any(head.startswith(_SIGNATURE, place) for place in _PLACES):
        return HDF5
    if head[4:8] in _BOXES:
        return _BRANDS.get(head[8:12], VIDEO) if head[4:8] == b"ftyp" else VIDEO
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], UNKNOWN)
    if head.startswith(b"OggS"):
        return VIDEO if any(name in head for name in _OGG_PICTURES) else SOUND
    if head.startswith(b"PK\x03\x04"):
        return CHECKPOINT if b"data.pkl" in head or b"/version" in head else ZIP
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if _is_transport_stream(head) or _is_raw_video(head):
        return VIDEO
    if head[257:262] == b"ustar":
        return ARCHIVE
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 2**32:
        return "a safetensors file"
    return _kind_of_text(head)


def described(path: Path, expected: str = "") -> str:
    """Describe a file that was given, as "a video, not a checkpoint; extract its features first".

    Args:
        path: path of the file or folder.
        expected: noun for what it should be, such as "a checkpoint"; "" leaves this out.
    """
    kind = kind_of(path)
    description = f"{kind}, not {expected}" if expected else kind
    if kind in _ADVICE:
        description += f"; {_ADVICE[kind].format(path=path)}"
    return description


def refuse_other_kinds(path: Path, expected: str, *kinds: str) -> None:
    """Refuse a file or folder that is certainly of another kind.

    A file that is missing, empty or of an unknown kind passes: the code that opens it knows more.

    Args:
        path: path of the file or folder.
        expected: noun for what it should be, such as "a feature file of `lightning extract`".
        kinds: kinds that it may have, as `kind_of` returns them.

    Raises:
        UserError: it is of another kind; the message says which, and what can be done with it.
    """
    if kind_of(path) not in (*kinds, UNKNOWN, EMPTY):
        raise UserError(f"{path} is {described(path, expected)}")


def _is_transport_stream(head: bytes) -> bool:
    """Check that packets of an MPEG transport stream begin where they should."""
    for first, size in ((0, 188), (4, 192), (0, 204)):
        if len(head) > first + 3 * size and all(
            head[first + step * size] == 0x47 for step in range(4)
        ):
            return True
    return False


def _is_raw_video(head: bytes) -> bool:
    """Check for H.264 or HEVC without a container: a start code, then parameters."""
    _, code, rest = head[:8].partition(b"\0\0\x01")
    if not code or not rest or head[:2] != b"\0\0":
        return False
    return rest[0] in (0x67, 0x27, 0x47, 0x09) or rest[:2] in (b"\x40\x01", b"\x46\x01")


def _kind_of_text(head: bytes) -> str:
    if b"\0" in head:
        return UNKNOWN
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else the head ends within a character
            return UNKNOWN
        text = head[: error.start].decode("utf-8-sig")
    if text.lstrip()[:1] in ("{", "["):
        return JSON
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return PAGE
    if "#enc#" in text:
        return CAPTIONS
    return SUBTITLES if text.startswith("WEBVTT") or " --> " in text else TEXT


def _kind_of_folder(path: Path) -> str:
    for name, kind in _FOLDERS:
        if (path / name).exists():
            return kind
    with os.scandir(path) as entries:
        for _, entry in zip(range(100), entries, strict=False):
            if entry.is_file() and kind_of(Path(entry.path)) == VIDEO:
                return VIDEOS
    return FOLDER
