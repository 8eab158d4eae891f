"""The "big file" form of features, as the benchmarks publish it: four files in a folder.

`feature.bin` holds raw little-endian float32 rows, `shape.txt` their number and size, `id.txt`
their names, and `video2frames.txt` a Python dict literal {video id: [row names in order]}.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from data_modules.readers.store import FeatureStore
from dreamprvr.core.errors import UserError
from dreamprvr.core.file_kinds import BIG_FILE, FOLDER, refuse_other_kinds
from dreamprvr.core.text import plural, quote, read_bytes, read_text

FILES = ("feature.bin", "id.txt", "shape.txt", "video2frames.txt")
NAME_BYTES = 2**30
"""Largest id.txt and video2frames.txt that are read; the published ones have up to 70 MB."""

# The quantifiers with a second "+" never give back what they took: no text is read twice.
_STRING = r"""u?(?:'(?:[^'\\\n]++|\\.)*+'|"(?:[^"\\\n]++|\\.)*+")"""
_NAME = re.compile(_STRING, re.DOTALL)
_PLAIN_NAME = re.compile(r"'([^']*)'")
# an id and the names of its rows, up to the comma or (looked ahead) the brace after them
_ENTRY = re.compile(
    rf"\s*+({_STRING})\s*+:\s*+\[((?:\s*+{_STRING}\s*+(?:,|(?=\])))*+)\s*+\]\s*+(?:,|(?=\}}))",
    re.DOTALL,
)
_START, _END = re.compile(r"\s*+\{"), re.compile(r"\s*+\}\s*+")
_ID = re.compile(r"[^ \t\n\r\x0b\x0c]+")  # not "\S+", which ends at ISO-8859-1's no-break space

_SAMPLES = 32  # places of feature.bin that are looked at
# Wide types first: the halves of their numbers may pass for numbers of a narrow type.
_TYPES = {
    "<f8": "float64", ">f8": "big-endian float64", ">f4": "big-endian float32", "<i4": "int32",
    "<f2": "float16", ">f2": "big-endian float16",
}  # fmt: skip


class BigFile:
    """A big file opened for reading. Its matrix is mapped, never loaded as a whole.

    Args:
        folder: path of the folder with the four files.

    Attributes:
        shape: (rows, columns) of the whole matrix.
        videos: video id -> the numbers of its rows in order, (N,) int64.

    Raises:
        UserError: if a file is missing or too large, the four do not fit together, or the numbers
            of feature.bin were not written as little-endian float32.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FILES:
            if not (folder / name).is_file():
                refuse_other_kinds(folder, "a folder with a big file", FOLDER, BIG_FILE)
                raise UserError(f"{folder} has no {name}: a big file is {', '.join(FILES)}")
        self._matrix: np.memmap | None = None
        self.shape = self._read_shape()
        self._refuse_other_numbers()
        self.videos = self._read_videos(self._read_index())

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_matrix": None}  # pickling a map would copy the file

    def read(self, video: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Read the rows [start, stop) of a video: (stop - start, columns) float32."""
        return np.asarray(self._mapped()[self.videos[video][start:stop]], dtype=np.float32)

    def _mapped(self) -> np.memmap:
        if self._matrix is None:
            path = self.folder / "feature.bin"
            try:
                self._matrix = np.memmap(path, dtype="<f4", mode="r", shape=self.shape)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise UserError(f"{path} cannot be read: {reason}") from None
        return self._matrix

    def _read_shape(self) -> tuple[int, int]:
        path, binary = self.folder / "shape.txt", self.folder / "feature.bin"
        match = re.fullmatch(rb"\s*(\d{1,15})\s+(\d{1,15})\s*", read_bytes(path, 2**16))
        rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
        if not rows or not columns:
            raise UserError(f"{path} must hold two positive numbers, `rows columns`")
        size, expected = binary.stat().st_size, rows * columns * 4
        if size != expected:
            other = {2 * expected: "float64", expected // 2: "float16"}.get(size)
            advice = (
                f"write its {other} numbers as float32" if other else "copy or download it again"
            )
            raise UserError(
                f"{binary} has {size:,} bytes, but shape.txt's {rows} x {columns} float32 make "
                f"{expected:,}: {advice}"
            )
        return rows, columns

    def _refuse_other_numbers(self) -> None:
        """Check that a few rows, evenly spread, can be little-endian float32."""
        rows, columns = self.shape
        width = max(1, min(rows * columns, 4096) // columns)
        starts = np.unique(np.linspace(0, rows - width, _SAMPLES).astype(int) // 4 * 4)
        matrix = self._mapped()
        blocks = [np.array(matrix[i : i + width]).reshape(-1)[:4096] for i in starts]
        # each begins at a multiple of 16 bytes, and is cut to one of 8
        other = other_numbers(np.concatenate([block[: len(block) // 2 * 2] for block in blocks]))
        self._matrix = None
        if other:
            raise UserError(f"{self.folder / 'feature.bin'} holds {other}")

    def _read_index(self) -> dict[str, int]:
        path = self.folder / "id.txt"
        text = read_bytes(path, NAME_BYTES).decode("iso-8859-1")
        index = dict(zip(_ID.findall(text), count()))
        if len(index) != self.shape[0]:
            names = _ID.findall(text)
            if len(names) == self.shape[0]:
                twice = next(name for row, name in enumerate(names) if index[name] != row)
                raise UserError(
                    f"{path} names row {quote(twice)} twice: which one is meant is unknown"
                )
            raise UserError(
                f"{path} names {plural(len(names), 'row')}, but shape.txt says {self.shape[0]:,}: "
                "they belong to different files"
            )
        return index

    def _read_videos(self, index: dict[str, int]) -> dict[str, np.ndarray]:
        path = self.folder / "video2frames.txt"
        videos: dict[str, np.ndarray] = {}
        try:
            for video, names in parse_video_frames(read_text(path, NAME_BYTES)):
                if video in videos:
                    raise UserError(f"{path} lists video {quote(video)} twice: keep one")
                videos[video] = np.array(self._row_numbers(index, video, names), np.int64)
        except ValueError as error:
            raise UserError(f"{path} {error}") from None
        if not videos:
            raise UserError(f"{path} lists no videos")
        return videos

    def _row_numbers(self, index: dict[str, int], video: str, names: list[str]) -> list[int]:
        try:
            return list(map(index.__getitem__, names))
        except KeyError:
            # id.txt may be UTF-8 after all: then its ISO-8859-1 reading is this spelling.
            names = [n if n in index else n.encode().decode("iso-8859-1") for n in names]
        for name in names:
            if name not in index:
                raise UserError(
                    f"{self.folder / 'video2frames.txt'} gives video {quote(video)} a row "
                    f"{quote(name)} that id.txt does not name: they belong to different files"
                )
        return [index[name] for name in names]


class BigFileFeatures(FeatureStore):
    """The features of a big file.

    Args:
        folder: the folder that holds feature.bin, id.txt, shape.txt and video2frames.txt.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        self._big = BigFile(self.path)
        self.dim = self._big.shape[1]

    def keys(self) -> list[str]:
        """List all ids, in the order of video2frames.txt."""
        return list(self._big.videos)

    def has(self, name: str) -> bool:
        """Return whether the big file has this id."""
        return name in self._big.videos

    def load(self, name: str) -> np.ndarray:
        """Read the features of an id."""
        return self._big.read(name)


@np.errstate(all="ignore")  # strange bits may be signals
def other_numbers(values: np.ndarray) -> str:
    """Say which numbers a sample of a file holds if they cannot be little-endian float32.

    Numbers of another type or byte order, read as float32, spread over tens of decades or are as
    small as 1e-41. Features, even those of a softmax, do not.

    Args:
        values: (n,) float32 as read, from a place in the file that is a multiple of 8 bytes.

    Returns:
        The end of a sentence, or "" if nothing is wrong. Fewer than 8 numbers that are not zero
        are not judged.
    """
    spread, middle, strange = _magnitudes(values)
    ordinary = 1e-30 < middle < 1e30 and strange < 0.05
    # whole numbers, and those of float16, leave the first half of a float64 empty
    half = not values[::2].any() and len(np.unique(values[1::2])) > 16
    if spread < 2.5 and ordinary and not half:
        return ""
    data = values.astype("<f4").tobytes()
    for dtype, name in _TYPES.items():
        spread, size, strange = _magnitudes(np.frombuffer(data[: len(data) // 8 * 8], dtype))
        if spread < 1.5 and 1e-6 < size < 1e6 and strange == 0:
            return f"{name}, not little-endian float32: write its numbers anew"
    if ordinary:
        return ""  # unusual, but no other reading explains it
    return (
        f"numbers of about {middle:.0e}: they have another type or byte order than little-endian "
        "float32"
    )


def _magnitudes(values: np.ndarray) -> tuple[float, float, float]:
    """Return three figures of the numbers that are not 0.

    They are the standard deviation of their powers of ten, the median size, and the share of sizes
    that features do not have.
    """
    sizes = np.abs(values.astype(np.float64))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if len(sizes) < 8:
        return 0.0, 1.0, 0.0
    ordinary = (sizes > 1e-30) & (sizes < 1e15)
    return float(np.std(np.log10(sizes))), float(np.median(sizes)), float(1 - ordinary.mean())


def parse_video_frames(text: str) -> Iterator[tuple[str, list[str]]]:
    """Walk through a dict literal {str: [str, ...]} entry by entry, evaluating nothing.

    `ast.literal_eval` would build a syntax tree of some hundred times the text's size.

    Args:
        text: the literal, as `print(dict)` writes it.

    Yields:
        A key and the names in its list.

    Raises:
        ValueError: the text is anything else; the message says in the entry at which character.
    """
    start = _START.match(text)
    place = start.end() if start else 0
    while entry := _ENTRY.match(text, place):
        video, names = entry.groups()
        if "\\" in names or '"' in names:
            yield _string(video), list(map(_string, _NAME.findall(names)))
        else:  # nearly every entry; several times faster
            yield _string(video), _PLAIN_NAME.findall(names)
        place = entry.end()
    if not start or not _END.fullmatch(text, place):
        raise ValueError(
            "is not a Python dict literal {video id: [row names]} in the entry at character "
            f"{place}"
        )


def _string(token: str) -> str:
    if "\\" not in token:
        return token.lstrip("u")[1:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python frowns upon
            value = ast.literal_eval(token)  # one string token, by the pattern that found it
            value.encode()
    except (SyntaxError, ValueError):
        raise ValueError(f"holds a broken string {quote(token)}") from None
    return value
