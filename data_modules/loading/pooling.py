"""Pool videos of any length to fixed numbers of rows (docs/model.md, section 1).

A video is a matrix (N, F) with a feature row for each frame or snippet. The model sees two views of
it: exactly 32 *clips*, and at most 128 *frames*. Both are means over consecutive rows.
"""

import numpy as np

from dreamprvr.core.errors import UserError

CLIPS = 32
MAX_FRAMES = 128
EPSILON = 1e-5


def pool(features: np.ndarray, length: int) -> np.ndarray:
    """Mean-pool a video to `length` rows.

    Row i is the mean of the rows [b_i, b_{i+1}) between two `boundaries`, or row b_i where that
    range is empty.

    Args:
        features: (N, F), N >= 1.
        length: number of rows after pooling, smaller or larger than N.

    Returns:
        (length, F) float32; the sums are taken in float64.

    Raises:
        UserError: if the video is no matrix with at least one row, or length is not positive.
    """
    rows = _matrix(features)
    if length < 1:
        raise UserError(f"cannot pool a video to {length} rows: ask for at least 1")
    bounds = boundaries(len(rows), length)
    starts, sizes = bounds[:-1], np.maximum(np.diff(bounds), 1)
    sums = rows[starts].astype(np.float64)
    for step in range(1, int(sizes.max())):  # five times as fast as np.add.reduceat, bit for bit
        longer = sizes > step
        sums[longer] += rows[starts[longer] + step]
    sums /= sizes[:, None]
    return sums.astype(np.float32)


def boundaries(rows: int, length: int) -> np.ndarray:
    """Return b_i = min(round(i / length * N), N - 1) for i = 0 to `length`; halves round to even.

    Args:
        rows: number N of rows of the video.
        length: number of rows after pooling.
    """
    bounds = np.round(np.arange(length + 1) / length * rows).astype(np.int64)
    return np.minimum(bounds, rows - 1)


def clips(features: np.ndarray, length: int = CLIPS) -> np.ndarray:
    """Return the clips of a video (N, F): always (length, F) float32, not yet normalised."""
    return pool(features, length)


def frames(features: np.ndarray, max_length: int = MAX_FRAMES) -> np.ndarray:
    """Return the frames of a video (N, F): (min(N, max_length), F) float32, not yet normalised.

    A video of at most `max_length` rows keeps them as they are; a longer one is pooled.
    """
    rows = _matrix(features)
    return pool(rows, max_length) if len(rows) > max_length else rows.astype(np.float32)


def normalise(rows: np.ndarray) -> np.ndarray:
    """Divide each row of (N, F) by its L2 norm + 1e-5; a row of zeros stays zero. float32."""
    exact = rows.astype(np.float64)
    exact /= (np.sqrt(np.einsum("nf,nf->n", exact, exact)) + EPSILON)[:, None]
    return exact.astype(np.float32)


def _matrix(features: np.ndarray) -> np.ndarray:
    if features.ndim != 2 or not len(features):
        raise UserError(
            f"a video's features have shape {features.shape}: at least one row of (N, F) is needed"
        )
    return features
