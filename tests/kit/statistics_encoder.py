"""An encoder without weights: statistics of colour, layout, shape and motion; hashed words.

Part of the test kit: it lets the whole path from video files to an answer run where no pretrained
model is. It sees what is there to see in the generated films, and little of a real video.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data_modules.generation.folders import generator
from dreamprvr.extraction.encoders import QueryFeatures
from tests.kit.blobs import find_blobs
from tests.kit.motion_statistics import layout_statistics, motion_statistics, shape_statistics

VERSION = 1  # raise it when the same video gives other rows
HEIGHT = 66  # rows of pixels that are looked at
CHROMA, BRIGHT = 105, 215  # a vivid pixel: far from grey, or nearly white
HUES = 12
TEXT_DIM = 96


class StatisticsEncoder:
    """Follows `dreamprvr.extraction.encoders.Encoder`; the same everywhere, on any device."""

    name = "statistics"
    fingerprint = hashlib.sha256(f"statistics {VERSION}".encode()).hexdigest()
    text_dim = TEXT_DIM
    searches_untrained = False
    frames_per_window = 8
    fps = 4.0
    window = 2.0
    stride = 1.0

    def __init__(self, device: str = "auto") -> None:
        self.video_dim = len(window_statistics(np.zeros((8, 16, 16, 3), np.uint8)))

    def encode_windows(self, windows: Sequence[np.ndarray]) -> Tensor:
        """(B, F): a row of statistics for each window."""
        rows = [window_statistics(window) for window in windows]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def encode_query(self, text: str) -> QueryFeatures:
        """A row a word; no sentence vector, for words and videos share no space."""
        return QueryFeatures(torch.from_numpy(word_rows(text)), None)


def window_statistics(window: np.ndarray) -> np.ndarray:
    """One row of statistics, (F,), for a window (T, H, W, 3) uint8."""
    width = max(8, round(HEIGHT * window.shape[2] / window.shape[1]))
    frames = torch.from_numpy(np.ascontiguousarray(window)).permute(0, 3, 1, 2).float()
    planes = F.interpolate(frames, (HEIGHT, width), mode="bilinear").numpy()
    pixels = planes.transpose(0, 2, 3, 1)
    red, green, blue = planes.transpose(1, 0, 2, 3)
    high = np.maximum(np.maximum(red, green), blue)
    low = np.minimum(np.minimum(red, green), blue)
    vivid = (high - low > CHROMA) | (low > BRIGHT)
    blobs = find_blobs(vivid)
    still = np.median(pixels[:, ::3, ::3], axis=0)  # a coarse picture is enough
    parts = (
        place_statistics(still),
        1.2 * hue_statistics(pixels[vivid]),
        shape_statistics(blobs),
        layout_statistics(blobs, len(window)),
        1.2 * motion_statistics(blobs, len(window)),
    )
    return np.concatenate(parts)


def place_statistics(picture: np.ndarray) -> np.ndarray:
    """Mean colour, contrast and edges on a grid of 3 rows and 2 columns of (H, W, 3)."""
    grey = picture.mean(axis=-1)
    across = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    down = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    planes = np.concatenate([picture, np.stack([across, down], axis=-1) * 6], axis=-1) / 255
    rows = [np.array_split(row, 2, axis=1) for row in np.array_split(planes, 3, axis=0)]
    # the median of the colours: shapes that come by do not count
    cells = [
        np.concatenate([np.median(c[..., :3], axis=(0, 1)) - 0.4, c[..., 3:].mean(axis=(0, 1))])
        for row in rows
        for c in row
    ]
    return np.concatenate(cells)


def hue_statistics(pixels: np.ndarray) -> np.ndarray:
    """Soft histogram of the hues of vivid pixels (N, 3), white last; all 0 where there is none."""
    if not len(pixels):
        return np.zeros(HUES + 1)
    high, low = pixels.max(axis=1), pixels.min(axis=1)
    red, green, blue = pixels.T
    hue = np.arctan2(3**0.5 * (green - blue), 2 * red - green - blue) / (2 * np.pi) * HUES
    place = np.floor(hue).astype(int)
    rest = hue - place
    white = high - low <= CHROMA
    histogram = np.zeros(HUES + 1)
    np.add.at(histogram, place[~white] % HUES, 1 - rest[~white])
    np.add.at(histogram, (place[~white] + 1) % HUES, rest[~white])
    histogram[HUES] = white.sum()
    return histogram / len(pixels)


def word_rows(text: str) -> np.ndarray:
    """(L, TEXT_DIM) float32, L >= 1: each word by its letters, itself and the word before it.

    So forms of a word are alike, and "left to right" differs from "right to left".
    """
    words = re.findall(r"[a-z0-9']+", text.lower()) or [""]
    rows = []
    for before, word in zip(["", *words], words, strict=False):
        padded = f"<{word}>"
        pieces = [padded[i : i + 4] for i in range(max(1, len(padded) - 3))]
        letters = sum(_hashed("letters", piece) for piece in pieces) / len(pieces) ** 0.5
        rows.append(_hashed("word", word) + 0.7 * letters + 0.7 * _hashed("pair", before, word))
    return np.stack(rows).astype(np.float32)


def _hashed(*names: str) -> np.ndarray:
    """The unit vector of some words: random, but always the same."""
    vector = generator(VERSION, *names).standard_normal(TEXT_DIM)
    return vector / np.linalg.norm(vector)
