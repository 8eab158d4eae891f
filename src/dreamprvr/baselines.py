"""Rankings that need no network: what a trained model has to beat.

All score functions work on blocks: some captions against some videos. Rank their scores with
rank = 1 + number of other videos that score at least as much as the true one, so that a tie never
helps (`dreamprvr.metrics`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dreamprvr.errors import UserError

CUTOFFS = (1, 5, 10, 100)


def chance(num_videos: int, positives: Sequence[int] | int = 1) -> dict[str, float]:
    """What a random order of the videos reaches on average.

    Args:
        num_videos: V, size of the gallery.
        positives: number of true videos, one for all captions or one each.

    Returns:
        R@1, R@5, R@10, R@100 and their sum SumR, in %.

    >>> chance(200)
    {'R@1': 0.5, 'R@5': 2.5, 'R@10': 5.0, 'R@100': 50.0, 'SumR': 58.0}
    """
    counts = np.atleast_1d(np.asarray(positives))
    if not counts.size or num_videos < 1 or counts.min() < 1 or counts.max() > num_videos:
        raise UserError(f"chance of {positives} true videos among {num_videos} is not defined")
    recalls = {}
    for k in CUTOFFS:
        # All true videos miss the first k: product over i < k of (V - p - i) / (V - i).
        taken = np.arange(min(k, num_videos))[:, None]
        miss = np.clip((num_videos - counts - taken) / (num_videos - taken), 0, 1).prod(axis=0)
        recalls[f"R@{k}"] = float(100 * (1 - miss).mean())
    return {name: round(value, 10) for name, value in recalls.items()} | {
        "SumR": round(sum(recalls.values()), 10)
    }


@dataclass(frozen=True)
class Alignment:
    """An affine map from mean word vectors to mean video rows.

    Attributes:
        matrix: (E, F).
        text_mean: (E,), subtracted from captions before the map.
        video_mean: (F,), subtracted from video rows.
    """

    matrix: np.ndarray
    text_mean: np.ndarray
    video_mean: np.ndarray


def fit_alignment(texts: np.ndarray, videos: np.ndarray, ridge: float = 1e-2) -> Alignment:
    """Ridge regression, in closed form, of each caption's video from the caption.

    Args:
        texts: (n, E) mean word vectors of training captions.
        videos: (n, F) mean rows of their videos, one a caption (repeat a video's).
        ridge: strength of the penalty, relative to the mean variance of a text feature.

    Raises:
        UserError: the sizes do not fit, or there is no caption.
    """
    if texts.ndim != 2 or videos.ndim != 2 or len(texts) != len(videos) or not len(texts):
        raise UserError(f"cannot align texts {texts.shape} with videos {videos.shape}, row by row")
    text_mean, video_mean = texts.mean(axis=0), videos.mean(axis=0)
    x, y = texts - text_mean, videos - video_mean
    gram = x.T @ x  # (E, E)
    # the tiny constant keeps texts that are all alike solvable
    penalty = ridge * np.trace(gram) / len(gram) + 1e-12
    matrix = np.linalg.solve(gram + penalty * np.eye(len(gram)), x.T @ y)
    return Alignment(matrix, text_mean, video_mean)


def mean_pooling(
    texts: np.ndarray, videos: Iterable[np.ndarray], alignment: Alignment | None = None
) -> np.ndarray:
    """Cosine of a caption with the mean of all rows of a video.

    Args:
        texts: (Q, E) mean word vectors.
        videos: V matrices (N, F) of rows; each N its own.
        alignment: maps the texts; without one, E and F must agree (a joint space).

    Returns:
        Scores (Q, V).

    Raises:
        UserError: text and video sizes differ and no alignment is given.
    """
    pooled = (rows.mean(axis=0, keepdims=True) for rows in videos)
    return max_over_time(texts, pooled, alignment)


def max_over_time(
    texts: np.ndarray, videos: Iterable[np.ndarray], alignment: Alignment | None = None
) -> np.ndarray:
    """Cosine of a caption with the row of a video that fits best; as `mean_pooling` otherwise."""
    offset: np.ndarray | float = 0.0
    if alignment is not None:
        texts = (texts - alignment.text_mean) @ alignment.matrix
        offset = alignment.video_mean
    queries = _unit(texts)
    scores = []
    for rows in videos:
        if rows.shape[1] != texts.shape[1]:
            raise UserError(
                f"texts of size {texts.shape[1]} and videos of size {rows.shape[1]} have no cosine:"
                " fit an alignment on the training split"
            )
        scores.append((queries @ _unit(rows - offset).T).max(axis=1))
    return np.stack(scores, axis=1) if scores else np.empty((len(texts), 0))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their norms; rows of zeros stay zero."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
