"""The "big file" form of features, as the benchmarks publish it: four files in a folder.

`feature.bin` holds raw little-endian float32 rows, `shape.txt` their number and size, `id.txt`
their names, and `video2frames.txt` a Python dict literal {video id: [row names in order]}.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dreamprvr.errors import UserError

FILES = ("feature.bin", "id.txt", "shape.txt", "video2frames.txt")

_STRING = r"""u?(?:'[^'\\\n]*(?:\\.[^'\\\n]*)*'|"[^"\\\n]*(?:\\.[^"\\\n]*)*")"""
# After a string comes a comma or (looked ahead) the bracket. That leaves one way to match, so a
# malformed file of any size is refused in linear time.
_ENTRY = re.compile(
    rf"\s*({_STRING})\s*:\s*\[\s*((?:{_STRING}\s*(?:,\s*|(?=\])))*)\]\s*(?:,|(?=\}}))", re.DOTALL
)
_NAME = re.compile(_STRING, re.DOTALL)
_PLAIN_NAME = re.compile(r"'([^']*)'")
_SPACE = re.compile(r"\s*")


class BigFile:
    """A big file opened for reading. Its matrix is mapped, never loaded as a whole.

    Args:
        folder: the folder of the four files.

    Attributes:
        shape: (rows, columns) of the whole matrix.
        videos: video id -> the numbers of its rows in order, (N,) int64.

    Raises:
        UserError: if a file is missing, or the four do not fit together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FILES:
            if not (folder / name).is_file():
                raise UserError(f"{folder} has no {name}: a big file is {', '.join(FILES)}")
        self.shape = self._read_shape()
        index = self._read_index()
        self.videos = self._read_videos(index)
        self._matrix: np.memmap | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_matrix": None}  # pickling a map would copy the file

    def read(self, video: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows [start, stop) of a video, (stop - start, columns) float32, in memory."""
        if self._matrix is None:
            path = self.folder / "feature.bin"
            self._matrix = np.memmap(path, dtype="<f4", mode="r", shape=self.shape)
        return np.asarray(self._matrix[self.videos[video][start:stop]], dtype=np.float32)

    def _read_shape(self) -> tuple[int, int]:
        path, binary = self.folder / "shape.txt", self.folder / "feature.bin"
        match = re.fullmatch(rb"\s*(\d{1,15})\s+(\d{1,15})\s*", path.read_bytes())
        rows, columns = (int(match[1]), int(match[2])) if match else (0, 0)
        if not rows or not columns:
            raise UserError(f"{path} must hold two positive numbers, `rows columns`")
        size, expected = binary.stat().st_size, rows * columns * 4
        if size != expected:
            raise UserError(
                f"{binary} has {size:,} bytes, but shape.txt's {rows} x {columns} float32 make "
                f"{expected:,}: copy or download it again"
            )
        return rows, columns

    def _read_index(self) -> dict[str, int]:
        path = self.folder / "id.txt"
        # Split the bytes: str.split would also split at ISO-8859-1's no-break space.
        names = [name.decode("iso-8859-1") for name in path.read_bytes().split()]
        if len(names) != self.shape[0]:
            raise UserError(
                f"{path} names {len(names):,} rows, but shape.txt says {self.shape[0]:,}: "
                "they belong to different files"
            )
        index = dict(zip(names, range(len(names)), strict=True))
        if len(index) != len(names):
            twice = next(name for row, name in enumerate(names) if index[name] != row)
            raise UserError(f"{path} names row {twice!r} twice: which one is meant is unknown")
        return index

    def _read_videos(self, index: dict[str, int]) -> dict[str, np.ndarray]:
        path = self.folder / "video2frames.txt"
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from None
        videos: dict[str, np.ndarray] = {}
        try:
            for video, names in parse_video_frames(text):
                if video in videos:
                    raise UserError(f"{path} lists video {video!r} twice: keep one")
                videos[video] = self._row_numbers(index, video, names)
        except ValueError as error:
            raise UserError(f"{path} {error}") from None
        if not videos:
            raise UserError(f"{path} lists no videos")
        return videos

    def _row_numbers(self, index: dict[str, int], video: str, names: list[str]) -> np.ndarray:
        try:
            return np.fromiter(map(index.__getitem__, names), np.int64, len(names))
        except KeyError:
            # id.txt may be UTF-8 after all: then its ISO-8859-1 reading is this spelling.
            names = [n if n in index else n.encode().decode("iso-8859-1") for n in names]
        for name in names:
            if name not in index:
                raise UserError(
                    f"{self.folder / 'video2frames.txt'} gives video {video!r} a row {name!r} "
                    "that id.txt does not name: they belong to different files"
                )
        return np.array([index[name] for name in names], np.int64)


def parse_video_frames(text: str) -> Iterator[tuple[str, list[str]]]:
    """Walk through a dict literal {str: [str, ...]} entry by entry, evaluating nothing.

    `ast.literal_eval` builds a syntax tree of some hundred times the file's size, which for the
    published 50-MB files is out of the question.

    Args:
        text: the literal, as `str(dict)` prints it.

    Yields:
        Each key with its list.

    Raises:
        ValueError: if the text is anything else; the message says at which character.
    """
    start, end = _after_space(text, 0), len(text.rstrip()) - 1
    if end <= start or text[start] != "{" or text[end] != "}":
        raise ValueError("is not a Python dict literal {video id: [row names]}")
    position = _after_space(text, start + 1)
    while position < end:
        match = _ENTRY.match(text, position)
        if match is None or match.end() > end:
            raise ValueError(
                f"is not a Python dict literal {{video id: [row names]}} at character {position}"
            )
        position = _after_space(text, match.end())
        yield _string(match[1]), _strings(match[2])


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _strings(body: str) -> list[str]:
    if "\\" in body or '"' in body or "u'" in body:
        return [_string(token) for token in _NAME.findall(body)]
    return _PLAIN_NAME.findall(body)  # as good as always, and several times faster


def _string(token: str) -> str:
    if "\\" not in token:
        return token.lstrip("u")[1:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python frowns upon
            value = ast.literal_eval(token)  # one string token, by the pattern that found it
            value.encode()
    except (SyntaxError, ValueError):
        raise ValueError(f"holds a broken string {token[:80]}") from None
    return value
