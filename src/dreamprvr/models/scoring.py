"""The score of a query and a video, for every model (docs/model.md, section 6).

    s(q, v) = sum over scales of w_scale * (sum over rows r of w_r * max over tokens i of r . i)

with rows and tokens of unit length, so that products are cosines. The loss takes the inner sums of
one scale, also of rows and tokens that were not brought to unit length.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, Padding, QueryRows, Scale
from dreamprvr.models.layers.basic import at_least_float32, unit

CPU_TILE = 12e6  # bytes; the maximum over tokens then reads from the cache


def scale_scores(
    queries: EncodedQueries, videos: EncodedVideos, padding: Padding
) -> dict[str, Tensor]:
    """Sum of weighted maxima at each scale, of rows and tokens as they are.

    Args:
        queries: Q queries.
        videos: B videos.
        padding: `zero`: padding takes part in the maximum with product 0; `ignore`: it does not.

    Returns:
        (Q, B) by scale.
    """
    return {name: best_sum(queries.rows[name], scale, padding)
            for name, scale in videos.scales.items()}  # fmt: skip


def combine(by_scale: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Weighted sum over scales; (Q, B) each -> (Q, B)."""
    total: Tensor | None = None
    for name, scores in by_scale.items():
        total = weights[name] * scores if total is None else total + weights[name] * scores
    assert total is not None, "a model has at least one scale"
    return total


def unit_rows(queries: EncodedQueries) -> EncodedQueries:
    """Bring all rows to unit length, in float32; weights stay."""
    rows = {name: each._replace(vectors=unit(each.vectors)) for name, each in queries.rows.items()}
    return queries._replace(rows=rows)


def unit_tokens(videos: EncodedVideos) -> EncodedVideos:
    """Bring all tokens to unit length, in float32; rows of zeros, as padding, stay zero."""
    scales = {name: each._replace(tokens=unit(each.tokens)) for name, each in videos.scales.items()}
    return videos._replace(scales=scales)


def best_sum(rows: QueryRows, scale: Scale, padding: Padding) -> Tensor:
    """Sum over a query's rows of the weight times the best product with a token.

    Args:
        rows: of Q queries.
        scale: of B videos.
        padding: as in `scale_scores`.

    Returns:
        (Q, B).
    """
    mask = scale.mask if padding == "ignore" else None
    count = rows.vectors.shape[1]
    vectors = rearrange(rows.vectors, "q w d -> (q w) d")
    # max, not amax: its gradient goes to one token also where several tie
    best = token_products(vectors, scale.tokens, mask).max(dim=-1).values
    if count == 1:
        return best * at_least_float32(rows.weights)
    best = rearrange(best, "(q w) b -> q w b", w=count)
    return torch.einsum("qw,qwb->qb", at_least_float32(rows.weights), best)


def token_products(query: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multiply every row and token, in float32.

    Args:
        query: (Q, D).
        tokens: (B, M, D).
        mask: (B, M), 1 for a token; those with 0 score -inf. None if all take part.

    Returns:
        (Q, B, M); cosines if both are of unit length.
    """
    with torch.autocast(query.device.type, enabled=False):
        rows = rearrange(at_least_float32(tokens), "b m d -> d (b m)")
        products = rearrange(at_least_float32(query) @ rows, "q (b m) -> q b m", b=len(tokens))
    return products if mask is None else products.masked_fill(mask[None] == 0, -torch.inf)


class BestTokens(NamedTuple):
    """The best token of each video for each row of a query."""

    score: Tensor  # (Q, B)
    token: Tensor  # (Q, B) int16, or (0,) where it was not asked for


def score_block(
    query: Tensor, tokens: Tensor, mask: Tensor | None, with_token: bool, memory: float
) -> BestTokens:
    """Find the maximum over tokens of the dot products without making all products at once.

    Args:
        query: (Q, D) float32.
        tokens: (B, M, D), any float type; products are in float32.
        mask: (B, M), 1 for a token that takes part; None if all do.
        with_token: also say which token is the best. It is slower than the maximum alone, though
            by less than the products take.
        memory: bytes that a tile of products may take.
    """
    videos, per_video = tokens.shape[0], tokens.shape[1] * tokens.shape[2]
    best_score = query.new_empty(videos, len(query))
    shape = best_score.shape if with_token else (0,)
    token = torch.empty(shape, dtype=torch.int16, device=query.device)
    memory = min(memory, CPU_TILE) if query.device.type == "cpu" else memory
    # a tile's products, their maximum and indices, and the tokens themselves in float32
    bytes_a_video = 4 * (2 * len(query) * tokens.shape[1] + per_video)
    size = max(1, int(memory / bytes_a_video))
    columns = query.T.contiguous()
    for start in range(0, videos, size):
        tile = slice(start, start + size)
        products = _products(columns, tokens[tile], None if mask is None else mask[tile])
        if with_token:
            best = products.max(dim=1)
            best_score[tile], token[tile] = best.values, best.indices.to(torch.int16)
        else:
            best_score[tile] = products.amax(dim=1)
    return BestTokens(best_score.T, token.T if with_token else token)


def _products(columns: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
    """(B, M, Q): queries last, so that the maximum over tokens takes whole rows of them at once."""
    with torch.autocast(columns.device.type, enabled=False):
        rows = at_least_float32(rearrange(tokens, "b m d -> (b m) d"))
        products = rearrange(rows @ columns, "(b m) q -> b m q", b=len(tokens))
    return products if mask is None else products.masked_fill_(mask[..., None] == 0, -torch.inf)
