"""Vivid blobs in a window of frames: found, told apart and described by statistics alone."""

from dataclasses import dataclass

import numpy as np

SMALLEST = 6  # pixels of a blob
RADII = 5  # bins of the radial histogram
HARMONICS = (2, 3, 4)


@dataclass(frozen=True)
class Blobs:
    """The blobs of a window, in the order of their frames.

    Args:
        frame: (K,) number of the frame.
        x, y: (K,) centre, in units of the frame's height.
        area: (K,) in units of the squared height.
        whole: (K,) bool, False where the frame's border cuts it.
        harmonics: (K, len(HARMONICS)) complex; size tells the symmetry, phase the turn.
        radial: (K, RADII) share of the pixels by distance from the centre.
        fill: (K,) area by that of the circle around it.
    """

    frame: np.ndarray
    x: np.ndarray
    y: np.ndarray
    area: np.ndarray
    whole: np.ndarray
    harmonics: np.ndarray
    radial: np.ndarray
    fill: np.ndarray


def label(mask: np.ndarray) -> np.ndarray:
    """Number the connected blobs (4 neighbours) of masks.

    Args:
        mask: (T, H, W) bool.

    Returns:
        (number of True,) the blob of each True pixel in the order of `nonzero`, from 0.
    """
    before = np.zeros_like(mask)
    before[..., 1:] = mask[..., :-1]
    run = (np.cumsum(mask & ~before) - 1).reshape(mask.shape)  # of a row's neighbouring pixels
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
    """The blobs of masks (T, H, W)."""
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
