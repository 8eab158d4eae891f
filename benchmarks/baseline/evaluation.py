"""Evaluate a whole gallery (docs/protocol.md): encode, score, sort, find the true videos."""

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.baseline.network import Baseline
from dreamprvr.core.batch import Queries, Videos

BLOCK = 50  # queries scored at once


@torch.no_grad()
def evaluate(
    network: Baseline, videos: Iterable[Videos], queries: Iterable[Queries]
) -> dict[str, float]:
    """Return R@1, R@5, R@10, R@100 and SumR, in %.

    Args:
        network: the network in evaluation mode.
        videos: batches of the whole gallery.
        queries: batches of the queries.

    Raises:
        ValueError: a score is NaN.
    """
    return recalls(ranks(*score(network, videos, queries)))


@torch.no_grad()
def score(
    network: Baseline, videos: Iterable[Videos], queries: Iterable[Queries]
) -> tuple[Tensor, list[set[int]]]:
    """Return scores (Q, V) and, for each query, the columns of its true videos."""
    column: dict[int, int] = {}
    clips, frames = [], []
    for batch in videos:
        encoding = network.encode_videos(batch)
        clips.append(encoding.clips)
        frames.append(encoding.frames)
        for row in batch.row.tolist():
            column[row] = len(column)
    embeddings, positives = [], []
    for part in queries:
        embeddings.append(network.encode_queries(part))
        for rows in part.positives.tolist():
            positives.append({column[row] for row in rows if row >= 0})
    query, all_clips, all_frames = torch.cat(embeddings), torch.cat(clips), torch.cat(frames)
    blocks = []
    for start in range(0, len(query), BLOCK):
        blocks.append(network.scores(query[start : start + BLOCK], all_clips, all_frames))
    return torch.cat(blocks), positives


def ranks(scores: Tensor, positives: list[set[int]]) -> list[int]:
    """Return the rank of each query's best true video, from 1.

    Args:
        scores: score of each query and video, (Q, V).
        positives: columns of the true videos of each query, at least one.

    Returns:
        One plus the number of false videos that score at least as much: a tie never helps.

    Raises:
        ValueError: a score is NaN.
    """
    if scores.isnan().any():
        raise ValueError("a score is NaN")
    values, order = scores.sort(dim=1, descending=True)
    best_ranks = []
    for row, (value, video) in enumerate(zip(values.tolist(), order.tolist(), strict=True)):
        place = 0
        while video[place] not in positives[row]:  # the best true video
            place += 1
        true_score, rank = value[place], 1 + place
        for tied in range(place + 1, len(video)):  # false videos of the same score count too
            if value[tied] < true_score:
                break
            rank += video[tied] not in positives[row]
        best_ranks.append(rank)
    return best_ranks


def recalls(best_ranks: list[int]) -> dict[str, float]:
    """Return R@1, R@5, R@10, R@100 and their sum, in %, from ranks."""
    result = {}
    for k in (1, 5, 10, 100):
        result[f"R@{k}"] = 100 * sum(rank <= k for rank in best_ranks) / len(best_ranks)
    return result | {"SumR": sum(result.values())}
