"""An encoder without weights: statistics of colour, layout, shape and motion; hashed words.

It lets everything run from video files to an answer where there is no pretrained model. It was made
for the generated films, and sees little of a real video. A window is described by its background
and by its blobs: connected vivid pixels, which are the shapes of an event.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data_modules.generation.folders import generator
from dreamprvr.extraction.encoder import QueryFeatures

VERSION = 1  # to be raised when the same video gives other rows
HEIGHT = 66  # pixels to which frames are scaled
CHROMA, BRIGHT = 105, 215  # above one of them a pixel is vivid: far from grey, or nearly white
HUES = 12
TEXT_DIM = 96
SMALLEST = 6  # pixels of the smallest blob
RADII = 5  # bins of the histogram of distances from the centre
HARMONICS = (2, 3, 4)
MOST = 4  # largest number of blobs that are told apart
DIRECTIONS = 8


@dataclass(frozen=True)
class Blobs:
    """The K blobs of a window, in the order of their frames.

    Args:
        frame: number of the frame, (K,).
        x: centre from left to right, in units of the frame's height, (K,).
        y: centre from top to bottom, likewise, (K,).
        area: area in units of the squared height, (K,).
        whole: False if the frame's border cuts the blob, (K,) bool.
        harmonics: complex numbers whose size gives the symmetry, and whose phase gives the
            rotation, (K, len(HARMONICS)).
        radial: share of the pixels by their distance from the centre, (K, RADII).
        fill: area divided by the area of the circle around the blob, (K,).
    """

    frame: np.ndarray
    x: np.ndarray
    y: np.ndarray
    area: np.ndarray
    whole: np.ndarray
    harmonics: np.ndarray
    radial: np.ndarray
    fill: np.ndarray


class StatisticsEncoder:
    """An `Encoder` (see `dreamprvr.extraction.encoder`) with the same rows on every device."""

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
        """Compute a row of statistics for each window, (B, F)."""
        rows = [window_statistics(window) for window in windows]
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    def encode_query(self, text: str) -> QueryFeatures:
        """Compute a row for each word, and no vector of the sentence."""
        return QueryFeatures(torch.from_numpy(word_rows(text)), None)


def window_statistics(window: np.ndarray) -> np.ndarray:
    """Compute the row of statistics (F,) of a window (T, H, W, 3) uint8."""
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
    """Compute mean colour, contrast and edges of (H, W, 3) on a grid of 3 rows and 2 columns."""
    grey = picture.mean(axis=-1)
    across = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    down = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    planes = np.concatenate([picture, np.stack([across, down], axis=-1) * 6], axis=-1) / 255
    rows = [np.array_split(row, 2, axis=1) for row in np.array_split(planes, 3, axis=0)]
    # the median of the colours ignores shapes that pass
    cells = [
        np.concatenate([np.median(c[..., :3], axis=(0, 1)) - 0.4, c[..., 3:].mean(axis=(0, 1))])
        for row in rows
        for c in row
    ]
    return np.concatenate(cells)


def hue_statistics(pixels: np.ndarray) -> np.ndarray:
    """Compute a soft histogram of the hues of vivid pixels (N, 3), white last; 0 without pixels."""
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
    """Hash each word, its letters, and the word with the one before it, to (L, TEXT_DIM) float32.

    So forms of a word are alike, and "left to right" differs from "right to left". A text without
    words has one row.
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
    """Return the unit vector of some words, random but always the same."""
    vector = generator(VERSION, *names).standard_normal(TEXT_DIM)
    return vector / np.linalg.norm(vector)


def label(mask: np.ndarray) -> np.ndarray:
    """Number the blobs of masks, which are pixels connected by their 4 neighbours.

    Args:
        mask: (T, H, W) bool.

    Returns:
        The number of the blob, from 0, of each True pixel in the order of `nonzero`.
    """
    before = np.zeros_like(mask)
    before[..., 1:] = mask[..., :-1]
    run = (np.cumsum(mask & ~before) - 1).reshape(mask.shape)  # number of the run
    touching = mask[:, :-1] & mask[:, 1:]
    upper, lower = run[:, :-1][touching], run[:, 1:][touching]
    root = np.arange(run.max(initial=-1) + 1)
    while (root[upper] != root[lower]).any():
        least = np.minimum(root[upper], root[lower])
        # also the roots themselves move, so that whole chains do
        np.minimum.at(root, root[upper], least)
        np.minimum.at(root, root[lower], least)
        root = root[root]
    return np.unique(root[run[mask]], return_inverse=True)[1]


def find_blobs(mask: np.ndarray) -> Blobs:
    """Find the blobs of masks (T, H, W) bool."""
    height, width = mask.shape[1:]
    frame, row, column = mask.nonzero()
    blob = label(mask)
    big = (np.bincount(blob) >= SMALLEST)[blob] if len(blob) else np.zeros(0, bool)
    frame, row, column = frame[big], row[big], column[big]
    blob = np.unique(blob[big], return_inverse=True)[1]
    size = np.bincount(blob)
    count = len(size)
    x, y = (np.bincount(blob, weights=c) / size for c in (column, row))
    dx, dy = column - x[blob], row - y[blob]
    distance = np.hypot(dx, dy) + 1e-9
    reach = np.full(count, 0.5)
    np.maximum.at(reach, blob, distance + 0.5)
    relative = distance / reach[blob]
    bins = np.minimum((relative * RADII).astype(int), RADII - 1)
    radial = np.bincount(blob * RADII + bins, minlength=count * RADII).reshape(count, RADII)
    turn, weight = (dx + 1j * dy) / distance, relative**2
    harmonics = [_sum(blob, weight * turn**k) for k in HARMONICS]
    edge = (row == 0) | (row == height - 1) | (column == 0) | (column == width - 1)
    return Blobs(
        frame=np.bincount(blob, weights=frame).astype(int) // size,
        x=x / height,
        y=y / height,
        area=size / height**2,
        whole=np.bincount(blob, weights=edge) == 0,
        harmonics=np.stack(harmonics, axis=1) / np.bincount(blob, weights=weight)[:, None],
        radial=radial / size[:, None],
        fill=size / (np.pi * reach**2),
    )


def _sum(blob: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(blob, weights=values.real) + 1j * np.bincount(blob, weights=values.imag)


def shape_statistics(blobs: Blobs) -> np.ndarray:
    """Compute mean profile, symmetry and fill of whole blobs, (RADII + len(HARMONICS) + 1,)."""
    size = RADII + len(HARMONICS) + 1
    large = blobs.whole & (blobs.area > 0.006)
    if not large.any():
        return np.zeros(size)
    columns = [
        3 * (blobs.radial - 0.2),
        2.5 * abs(blobs.harmonics),
        2 * (blobs.fill - 0.6)[:, None],
    ]
    return np.concatenate(columns, axis=1)[large].mean(axis=0)


def layout_statistics(blobs: Blobs, length: int) -> np.ndarray:
    """Compute shares of frames by number of blobs, spread, mean place and size, (MOST + 5,)."""
    number = np.bincount(blobs.frame, minlength=length)
    seen = number > 0
    if not seen.any():
        return np.zeros(MOST + 5)
    counts = np.bincount(np.minimum(number[seen], MOST) - 1, minlength=MOST) / seen.sum()
    x, y = _centres(blobs, length)
    wide = np.bincount(blobs.frame, (blobs.x - x[blobs.frame]) ** 2, length)[seen] / number[seen]
    tall = np.bincount(blobs.frame, (blobs.y - y[blobs.frame]) ** 2, length)[seen] / number[seen]
    spread = np.minimum(4 * np.sqrt([wide.mean(), tall.mean()]), 1)
    place = [x[seen].mean() - 0.7, y[seen].mean() - 0.5, min(10 * blobs.area.mean(), 1)]
    return np.concatenate([counts, spread, place])


def motion_statistics(blobs: Blobs, length: int) -> np.ndarray:
    """Compute directions, net motion, growth, rotation, coming and going, (DIRECTIONS + 9,).

    Neighbouring frames are compared if they have equally many blobs.
    """
    number = np.bincount(blobs.frame, minlength=length)
    if not number.any():
        return np.zeros(DIRECTIONS + 9)
    x, y = _centres(blobs, length)
    pairs = [i for i in range(length - 1) if number[i] and number[i] == number[i + 1]]
    steps = np.array([complex(x[i + 1] - x[i], y[i + 1] - y[i]) for i in pairs] or [0j])
    growth, spin = zip(*[_change(blobs, i, x, y) for i in pairs] or [(0.0, 0.0)], strict=True)
    way = np.abs(steps)
    bins = np.round(np.angle(steps) / (2 * np.pi) * DIRECTIONS).astype(int) % DIRECTIONS
    directions = np.bincount(bins, np.minimum(way / 0.06, 1), DIRECTIONS) / len(steps)
    net = steps.sum() / max(way.sum(), 0.05)
    bends = np.angle(steps[1:] * steps[:-1].conj()) * np.minimum(way[1:] * way[:-1] / 0.002, 1)
    moved = np.abs(net) * min(way.mean() / 0.04, 1)
    seen = number > 0
    rest = [
        net.real, net.imag, moved,
        float(np.clip(np.mean(growth) * 4, 0, 1)), float(np.clip(-np.mean(growth) * 4, 0, 1)),
        float(np.minimum(np.mean(spin) * 3, 1)),
        float(min(abs(bends.sum()) / 2, 1)) if len(bends) else 0.0,
        float((seen[1:] != seen[:-1]).mean() * 2), float(1 - seen.mean()),
    ]  # fmt: skip
    return np.concatenate([directions, rest])


def _centres(blobs: Blobs, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean centre of the blobs of each frame, (length,) each; 0 without blobs."""
    number = np.maximum(np.bincount(blobs.frame, minlength=length), 1)
    x, y = (np.bincount(blobs.frame, c, length) / number for c in (blobs.x, blobs.y))
    return x, y


def _change(blobs: Blobs, frame: int, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Compute mean growth of the log area, and rotation in radians, from a frame to the next."""
    now, then = (np.flatnonzero(blobs.frame == i) for i in (frame, frame + 1))
    # the whole group may have moved: compare places within it
    dx = (blobs.x[now] - x[frame])[:, None] - (blobs.x[then] - x[frame + 1])[None]
    dy = (blobs.y[now] - y[frame])[:, None] - (blobs.y[then] - y[frame + 1])[None]
    match = then[np.argmin(dx**2 + dy**2, axis=1)]
    whole = blobs.whole[now] & blobs.whole[match]
    if not whole.any():
        return 0.0, 0.0
    now, match = now[whole], match[whole]
    growth = np.log(blobs.area[match] / blobs.area[now]).mean()
    turns = blobs.harmonics[match, 1:] * blobs.harmonics[now, 1:].conj()
    # the stronger symmetry, of three or of four, gives the rotation best
    best = np.abs(turns).argmax(axis=1)
    strength, angle = (f(turns[np.arange(len(best)), best]) for f in (np.abs, np.angle))
    turn = np.abs(angle) / np.array(HARMONICS[1:])[best] * (strength > 0.005)
    return float(growth), float(turn.mean())
