"""Ranks a benchmark's test captions without a network: what a trained model has to beat."""

from collections.abc import Iterator

import numpy as np
import torch

from data_modules.base import PRVRDataModule
from data_modules.features import FeatureStore
from data_modules.pooling import frames
from data_modules.schema import Annotations
from dreamprvr.baselines import Alignment, chance, fit_alignment, max_over_time, mean_pooling
from dreamprvr.metrics.retrieval import ranks, recalls

METHODS = {"mean pooling": mean_pooling, "max over time": max_over_time}


def evaluate_baselines(data: PRVRDataModule) -> dict[str, dict[str, float]]:
    """Chance, mean pooling and max over time on the test split.

    `untrained` compares features as they are, where text and video sizes agree. `aligned` first
    maps captions to the video space by ridge regression on the training split.

    Returns:
        R@1, R@5, R@10, R@100 and SumR in % by name.
    """
    video_store, text_store = data.stores()
    table = data.annotations("test")
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
            scores = method(texts, _videos(table, video_store), alignment)
            results[f"{name}, {kind}"] = _evaluate(scores, positives)
    return results


def _evaluate(scores: np.ndarray, positives: list[list[int]]) -> dict[str, float]:
    padded = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(rows) for rows in positives], batch_first=True, padding_value=-1
    )
    return recalls(ranks(torch.from_numpy(scores), padded))


def _alignment(table: Annotations, videos: FeatureStore, texts: FeatureStore) -> Alignment:
    means = {video: videos[video].mean(axis=0) for video in table.videos["video_id"]}
    targets = np.stack([means[ids[0]] for ids in table.queries["video_ids"]])
    return fit_alignment(_mean_words(table, texts), targets)


def _mean_words(table: Annotations, store: FeatureStore) -> np.ndarray:
    return np.stack([store[query].mean(axis=0) for query in table.queries["query_id"]])


def _videos(table: Annotations, store: FeatureStore) -> Iterator[np.ndarray]:
    return (frames(store[video]) for video in table.videos["video_id"])
