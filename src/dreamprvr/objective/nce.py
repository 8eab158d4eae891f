"""Contrastive loss on unnormalised scores (model.md, section 7: NCE)."""

import torch
from torch import Tensor

from dreamprvr.objective.padding import is_query, mean_over_queries


def nce(scores: Tensor, labels: Tensor) -> Tensor:
    """Query-to-video plus video-to-query noise-contrastive estimation.

    Args:
        scores: (Q, B), maximum over tokens of the plain dot products.
        labels: (Q,), the video of each query, or `PADDING`.

    Returns:
        Mean over queries of logsumexp_v s - s_pos, plus mean over videos of
        logsumexp_{all q} s - logsumexp_{its q} s. A video without a query counts as 0.
    """
    positive = scores.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
    query_term = mean_over_queries(torch.logsumexp(scores, dim=1) - positive, labels)
    scores = scores.masked_fill(~is_query(labels)[:, None], -torch.inf)
    videos = torch.arange(scores.shape[1], device=scores.device)
    own = labels[:, None] == videos  # (Q, B)
    asked = own.any(dim=0)
    own_total = torch.logsumexp(scores.masked_fill(~own, -torch.inf).where(asked, scores), dim=0)
    return query_term + (torch.logsumexp(scores, dim=0) - own_total).mean()
