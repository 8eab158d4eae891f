"""Optimal matching of queries to clips (docs/models/gmmformer_v2.md, section 4)."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dreamprvr.models.losses.retrieval import is_query


def optimal_matching(query: Tensor, clips: Tensor, labels: Tensor) -> Tensor:
    """One minus the mean cosine of the queries of a video with different clips, chosen best.

    For each video with two or more queries, the Hungarian method assigns them to different clips
    so that the sum of cosines is largest. No gradient passes through the choice. Videos with one
    query take no part. Where a video has more queries than clips, the best of them are assigned.

    Args:
        query: (Q, D) of unit length.
        clips: (B, M, D) of unit length.
        labels: (Q,), the video of each query, or `PADDED`.

    Returns:
        A scalar; 0 where no video has two queries. The published code stops there.
    """
    known = labels.where(is_query(labels), 0)
    cosines = torch.einsum("qd,qmd->qm", query, clips[known])  # each query with its own video
    table, video = cosines.detach().cpu().numpy(), labels.tolist()
    rows: list[int] = []
    columns: list[int] = []
    by_video: dict[int, list[int]] = {}
    for row, label in enumerate(video):
        by_video.setdefault(label, []).append(row)
    for label, own in by_video.items():
        if label < 0 or len(own) < 2:
            continue
        chosen, clip = linear_sum_assignment(table[own], maximize=True)
        rows += [own[i] for i in chosen]
        columns += clip.tolist()
    if not rows:
        return query.sum() * 0
    return 1 - cosines[rows, columns].mean()
