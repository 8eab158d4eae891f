"""Loss terms over the queries of each video (docs/model.md, section 7)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamprvr.models.losses.retrieval import is_query, mean_over_queries


def _pairs(query: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the cosines of all pairs of queries, and mark two kinds of pairs; (Q, Q) each.

    Args:
        query: embeddings, (Q, D).
        labels: the video of each query, or `PADDED`, (Q,).

    Returns:
        The cosines, the pairs of different queries of one video, and the pairs of a row and a
        different query. Padding is in no pair of the first kind, and never second in the other.
    """
    unit = F.normalize(query, dim=-1)
    itself = torch.eye(len(query), dtype=torch.bool, device=query.device)
    different = is_query(labels) & ~itself
    return unit @ unit.T, (labels[:, None] == labels) & different, different


def diversity(query: Tensor, labels: Tensor, delta: float, alpha: float, gamma: float) -> Tensor:
    """Push the queries of one video apart (docs/model.md, section 7).

    Args:
        query: embeddings, (Q, D).
        labels: (Q,), the video of each query, or `PADDED`.
        delta: margin added to the cosine.
        alpha: steepness.
        gamma: exponent of the weight.

    Returns:
        Sum over ordered pairs of (1 + cos)^gamma log(1 + exp(alpha (cos + delta))), divided by Q.
    """
    cosine, same_video, _ = _pairs(query, labels)
    # the other pairs become 0 before the power, whose gradient at 1 + cos = 0 may be infinite;
    # indexing by the mask instead would make the CPU wait for its size
    cosine = cosine.where(same_video, 0)
    # rounding may leave 1 + cos below 0, where a power has no real value
    terms = (1 + cosine).clamp(min=0) ** gamma * F.softplus(alpha * (cosine + delta))
    return terms.where(same_video, 0).sum() / is_query(labels).sum()


def joint_diversity(query: Tensor, labels: Tensor, delta: float, alpha: float) -> Tensor:
    """Push the queries of one video apart (docs/models/gmmformer.md, section 4).

    In `diversity` each pair has a logarithm of its own. Here each query has one for the sum over
    its pairs, in which the most similar pair counts most.

    Args:
        query: embeddings, (Q, D).
        labels: (Q,), the video of each query, or `PADDED`.
        delta: margin added to the cosine.
        alpha: steepness.

    Returns:
        Mean over queries of log(1 + sum over its pairs of exp(alpha (cos + delta))).
    """
    cosine, same_video, _ = _pairs(query, labels)
    logits = (alpha * (cosine + delta)).masked_fill(~same_video, -torch.inf)
    one = logits.new_zeros(len(logits), 1)  # exp(0)
    values = torch.logsumexp(torch.cat([one, logits], dim=1), dim=1)
    return mean_over_queries(values, labels)


def query_similarity(query: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Compute the query similarity preservation (docs/model.md, section 7).

    Args:
        query: embeddings, (Q, D).
        labels: (Q,), the video of each query, or `PADDED`.
        temperature: tau.

    Returns:
        Mean, over queries with another query of their video, of the mean over those of
        logsumexp_{all others} cos / tau - cos / tau. 0 if no query has one.
    """
    cosine, same_video, different = _pairs(query, labels)
    logits = cosine / temperature
    log_total = torch.logsumexp(logits.masked_fill(~different, -torch.inf), dim=1, keepdim=True)
    count = same_video.sum(dim=1)
    per_query = ((log_total - logits) * same_video).sum(dim=1) / count.clamp(min=1)
    has_positive = count > 0
    return per_query.where(has_positive, 0).sum() / has_positive.sum().clamp(min=1)


def optimal_matching(query: Tensor, clips: Tensor, labels: Tensor) -> Tensor:
    """Match the queries of a video to different clips (docs/models/gmmformer_v2.md, section 4).

    For each video with two or more queries, the Hungarian method assigns the queries to different
    clips so that the sum of the cosines is largest. No gradient passes through the choice. If a
    video has more queries than clips, as many queries as there are clips are assigned.

    Args:
        query: embeddings of unit length, (Q, D).
        clips: clip tokens of unit length, (B, M, D).
        labels: (Q,), the video of each query, or `PADDED`.

    Returns:
        One minus the mean cosine of all assigned pairs, a scalar. 0 if no video has two queries;
        the published code ends with an error there.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and only one model needs it

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
