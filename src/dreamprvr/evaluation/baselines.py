"""Baselines: rankings without a network, which a trained model has to beat.

Their scores are ranked like those of a model (`dreamprvr.evaluation.metrics`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from data_modules.base import PRVRDataModule
from data_modules.loading.pooling import frames
from data_modules.readers.store import FeatureStore
from data_modules.readers.tables import Annotations
from dreamprvr.core.errors import UserError
from dreamprvr.core.vectors import unit
from dreamprvr.evaluation.metrics import CUTOFFS, evaluation, true_ranks
from dreamprvr.evaluation.moment_tokens import moment_tokens


def chance(num_videos: int, positives: Sequence[int] | int = 1) -> dict[str, float]:
    """Compute the recalls that a random order of the videos reaches on average.

    Args:
        num_videos: V, size of the gallery.
        positives: number of true videos of a caption: one number for all captions, or one for each.

    Returns:
        R@1, R@5, R@10, R@100 and their sum SumR, in %.

    >>> chance(200)
    {'R@1': 0.5, 'R@5': 2.5, 'R@10': 5.0, 'R@100': 50.0, 'SumR': 58.0}
    """
    counts = np.atleast_1d(np.asarray(positives))
    if not counts.size or num_videos < 1 or counts.min() < 1 or counts.max() > num_videos:
        raise UserError(f"chance of {positives} true videos among {num_videos} is not defined")
    result = {}
    for k in CUTOFFS:
        # no true video is among the first k: product over i < k of (V - p - i) / (V - i)
        taken = np.arange(min(k, num_videos))[:, None]
        miss = np.clip((num_videos - counts - taken) / (num_videos - taken), 0, 1).prod(axis=0)
        result[f"R@{k}"] = float(100 * (1 - miss).mean())
    return {name: round(value, 10) for name, value in result.items()} | {
        "SumR": round(sum(result.values()), 10)
    }


@dataclass(frozen=True)
class Alignment:
    """Maps captions and video rows to one space, in which their cosines can be compared.

    Attributes:
        text_mean: vector subtracted from captions, (E,).
        matrix: matrix that maps captions, (E, F).
        video_mean: vector subtracted from video rows, (F,).
        whitening: matrix that maps video rows, (F, F).
    """

    text_mean: np.ndarray
    matrix: np.ndarray
    video_mean: np.ndarray
    whitening: np.ndarray

    def texts(self, texts: np.ndarray) -> np.ndarray:
        """Map captions; (Q, E) -> (Q, F)."""
        return (texts - self.text_mean) @ self.matrix

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Map video rows; (N, F) -> (N, F)."""
        return (rows - self.video_mean) @ self.whitening


def fit_alignment(
    texts: np.ndarray, videos: np.ndarray, ridge: float = 1.0, shrinkage: float = 0.1
) -> Alignment:
    """Fit a ridge regression, in closed form, from a caption to its whitened video.

    Without whitening, the directions in which videos vary most, such as their backgrounds, would
    decide all cosines.

    Args:
        texts: mean word vectors of n training captions, (n, E).
        videos: mean rows of the video of each of these captions, (n, F).
        ridge: strength of the penalty, relative to the mean variance of a text feature.
        shrinkage: number added to the videos' variances, relative to their mean.

    Raises:
        UserError: the sizes do not fit, or there is no caption.
    """
    if texts.ndim != 2 or videos.ndim != 2 or len(texts) != len(videos) or not len(texts):
        raise UserError(f"cannot align texts {texts.shape} with videos {videos.shape}, row by row")
    text_mean, video_mean = texts.mean(axis=0), videos.mean(axis=0)
    x, y = texts - text_mean, videos - video_mean
    variances, axes = np.linalg.eigh(y.T @ y / len(y))  # (F,), (F, F)
    # the tiny constants give a solution also where all inputs are alike
    scale = np.maximum(variances, 0) + shrinkage * variances.mean() + 1e-12
    whitening = (axes / np.sqrt(scale)) @ axes.T
    gram = x.T @ x  # (E, E)
    penalty = ridge * np.trace(gram) / len(gram) + 1e-12
    matrix = np.linalg.solve(gram + penalty * np.eye(len(gram)), x.T @ (y @ whitening))
    return Alignment(text_mean, matrix, video_mean, whitening)


def mean_pooling(
    texts: np.ndarray, videos: Iterable[np.ndarray], alignment: Alignment | None = None
) -> np.ndarray:
    """Score videos by the cosine of a caption with the mean of all rows of a video.

    Args:
        texts: mean word vectors of Q captions, (Q, E).
        videos: rows of V videos, a matrix (N, F) for each; N may differ.
        alignment: maps both to one space; without it, E and F must agree.

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
    """Score videos by the cosine with the best row of a video; see `mean_pooling`."""
    if alignment is not None:
        texts, videos = alignment.texts(texts), map(alignment.rows, videos)
    queries = unit(texts)
    scores = []
    for rows in videos:
        if rows.shape[1] != texts.shape[1]:
            raise UserError(
                f"texts of size {texts.shape[1]} and videos of size {rows.shape[1]} have no cosine:"
                " fit an alignment on the training split"
            )
        scores.append((queries @ unit(rows).T).max(axis=1))
    return np.stack(scores, axis=1) if scores else np.empty((len(texts), 0))


def moment_matching(
    texts: np.ndarray, videos: Iterable[np.ndarray], alignment: Alignment | None = None
) -> np.ndarray:
    """Score videos by the cosine with the best moment token (docs/models/tf_prvr.md).

    Tokens are made of all rows of a video, and then pooled to at most 128; see `mean_pooling`.
    """
    if alignment is not None:
        texts, videos = alignment.texts(texts), map(alignment.rows, videos)
    return max_over_time(texts, (frames(moment_tokens(rows)) for rows in videos))


METHODS = {
    "mean pooling": mean_pooling,
    "max over time": max_over_time,
    "moment tokens": moment_matching,
}


def evaluate_baselines(data: PRVRDataModule) -> dict[str, dict[str, float]]:
    """Evaluate chance, mean pooling, max over time and moment tokens on the test split.

    `untrained` compares the features as they are, if text and video features have the same size.
    `aligned` first maps captions to the video space by a ridge regression on the training split.

    Args:
        data: the data set.

    Returns:
        R@1, R@5, R@10, R@100 and SumR in %, by the name of the baseline; with mAP, nDCG@10 and
        R-precision, except of chance, where a caption has several true videos.
    """
    video_store, text_store = data.stores()
    table = data.annotations("test").evaluated()
    row_of = {video: row for row, video in enumerate(table.videos["video_id"])}
    positives = [[row_of[v] for v in videos] for videos in table.queries["video_ids"]]
    texts = _mean_words(table, text_store)
    results = {"chance": chance(len(table.videos), [len(rows) for rows in positives])}
    alignments: dict[str, Alignment | None] = {"untrained": None}
    if data.video_dim != data.text_dim:
        alignments = {}
    alignments["aligned"] = _alignment(data.annotations("train"), video_store, text_store)
    for name, method in METHODS.items():
        for kind, alignment in alignments.items():
            stored = (video_store[video] for video in table.videos["video_id"])
            videos = stored if method is moment_matching else map(frames, stored)
            results[f"{name}, {kind}"] = _evaluate(method(texts, videos, alignment), positives)
    return results


def _evaluate(scores: np.ndarray, positives: list[list[int]]) -> dict[str, float]:
    padded = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(rows) for rows in positives], batch_first=True, padding_value=-1
    )
    return evaluation(true_ranks(torch.from_numpy(scores), padded))


def _alignment(table: Annotations, videos: FeatureStore, texts: FeatureStore) -> Alignment:
    means = {video: videos[video].mean(axis=0) for video in table.videos["video_id"]}
    targets = np.stack([means[ids[0]] for ids in table.queries["video_ids"]])
    return fit_alignment(_mean_words(table, texts), targets)


def _mean_words(table: Annotations, store: FeatureStore) -> np.ndarray:
    return np.stack([store[query].mean(axis=0) for query in table.queries["query_id"]])
