"""What the blobs of a window look like together, how they stand, and how they move."""

import numpy as np

from tests.kit.blobs import HARMONICS, RADII, Blobs

MOST = 4  # blobs that are counted
DIRECTIONS = 8


def shape_statistics(blobs: Blobs) -> np.ndarray:
    """(RADII + len(HARMONICS) + 1,) mean symmetry, profile and fill of the whole blobs."""
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
    """(MOST + 5,) shares of frames by number of blobs, their spread, mean place and size."""
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
    """(DIRECTIONS + 9,) directions, net way, growth, turning, coming and going.

    Frames with equally many blobs, one after the other, are compared.
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
    """(length,) middle of the blobs of each frame; 0 where there is none."""
    number = np.maximum(np.bincount(blobs.frame, minlength=length), 1)
    x, y = (np.bincount(blobs.frame, c, length) / number for c in (blobs.x, blobs.y))
    return x, y


def _change(blobs: Blobs, frame: int, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Growth of the log area and turn in radians from a frame to the next, blob by blob."""
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
    # the strongest symmetry, of three or of four, tells the turn best
    best = np.abs(turns).argmax(axis=1)
    strength, angle = (f(turns[np.arange(len(best)), best]) for f in (np.abs, np.angle))
    turn = np.abs(angle) / np.array(HARMONICS[1:])[best] * (strength > 0.005)
    return float(growth), float(turn.mean())
