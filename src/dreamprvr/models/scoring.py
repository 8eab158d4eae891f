"""The score of a query and a video, for every model (docs/model.md, section 6).

    s(q, v) = sum over scales of w_scale * (sum over rows r of w_r * max over tokens i of r . i)

Rows and tokens have unit length, so that their products are cosines. The loss also takes the inner
sums of one scale for rows and tokens that keep their own lengths. `best_sum` computes the inner sum
with gradients, and `best_tokens` without gradients in bounded memory.
"""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, Padding, QueryRows, Scale
from dreamprvr.models.layers.basic import at_least_float32, unit

CPU_TILE = 12e6  # bytes; the maximum over tokens then reads from the processor's cache


def scale_scores(
    queries: EncodedQueries, videos: EncodedVideos, padding: Padding
) -> dict[str, Tensor]:
    """Sum the weighted maxima at each scale, for rows and tokens as they are.

    Args:
        queries: Q queries.
        videos: B videos.
        padding: with `zero`, padding takes part in the maximum with product 0; with `ignore`, it
            takes no part.

    Returns:
        Scores by the name of the scale, (Q, B) each.
    """
    return {name: best_sum(queries.rows[name], scale, padding)
            for name, scale in videos.scales.items()}  # fmt: skip


def combine(by_scale: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Add the scores of all scales up by weight.

    Args:
        by_scale: scores by the name of the scale, (Q, B) each; at least one scale.
        weights: weight of each scale by its name.

    Returns:
        (Q, B).
    """
    return reduce(add, (weights[name] * scores for name, scores in by_scale.items()))


def unit_rows(queries: EncodedQueries) -> EncodedQueries:
    """Bring the rows of all queries to unit length, in float32; their weights stay."""
    rows = {name: each._replace(vectors=unit(each.vectors)) for name, each in queries.rows.items()}
    return queries._replace(rows=rows)


def product_rows(queries: EncodedQueries) -> EncodedQueries:
    """Give the rows of all queries the weights of their plain products; their vectors stay."""
    rows = {
        name: each if each.product_weights is None else each._replace(weights=each.product_weights)
        for name, each in queries.rows.items()
    }
    return queries._replace(rows=rows)


def unit_tokens(videos: EncodedVideos) -> EncodedVideos:
    """Bring all tokens to unit length, in float32; tokens of zeros, as padding has, stay zero."""
    scales = {name: each._replace(tokens=unit(each.tokens)) for name, each in videos.scales.items()}
    return videos._replace(scales=scales)


def best_sum(rows: QueryRows, scale: Scale, padding: Padding) -> Tensor:
    """Sum over the rows of a query the weight times the best product with a token of a video.

    Args:
        rows: rows of Q queries.
        scale: tokens of B videos.
        padding: as for `scale_scores`.

    Returns:
        (Q, B).
    """
    vectors = rearrange(rows.vectors, "q w d -> (q w) d")
    # max, not amax: its gradient goes to one token also where several tie
    best = token_products(vectors, scale.tokens, _mask(scale, padding)).max(dim=-1).values
    return _weighted_sum(rows, best)


def token_products(query: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multiply every row with every token, in float32.

    Args:
        query: rows, (Q, D).
        tokens: (B, M, D).
        mask: (B, M), 1 for a token that takes part; the products of the others are -inf. None if
            all take part.

    Returns:
        (Q, B, M); cosines if both are of unit length.
    """
    with torch.autocast(query.device.type, enabled=False):
        columns = rearrange(at_least_float32(tokens), "b m d -> d (b m)")
        products = at_least_float32(query) @ columns
        products = rearrange(products, "q (b m) -> q b m", b=len(tokens))
    return products if mask is None else products.masked_fill(mask[None] == 0, -torch.inf)


def _mask(scale: Scale, padding: Padding) -> Tensor | None:
    return scale.mask if padding == "ignore" else None


def _weighted_sum(rows: QueryRows, best: Tensor) -> Tensor:
    """Add up the best products of each query's rows by weight; (Q W, B) -> (Q, B)."""
    weights, count = at_least_float32(rows.weights), rows.weights.shape[1]
    if count == 1:
        return best * weights
    by_query = rearrange(best, "(q w) b -> q w b", w=count)
    with torch.autocast(best.device.type, enabled=False):
        return torch.einsum("qw,qwb->qb", weights, by_query)


class BestTokens(NamedTuple):
    """Scores of Q queries and B videos, and the tokens that earned them."""

    score: Tensor  # (Q, B)
    token: Tensor  # (Q, B) int16, index of the best token; (0,) if it was not asked for


def best_tokens(
    rows: QueryRows, scale: Scale, padding: Padding, with_token: bool, memory: float
) -> BestTokens:
    """Compute what `best_sum` computes, without gradients and without all products at once.

    Args:
        rows: rows of Q queries.
        scale: tokens of B videos, of any float type.
        padding: as for `scale_scores`.
        with_token: also give the best token of each video for the heaviest row of each query.
        memory: number of bytes that a tile of products may take.
    """
    vectors = at_least_float32(rearrange(rows.vectors, "q w d -> (q w) d"))
    score, token = score_block(vectors, scale.tokens, _mask(scale, padding), with_token, memory)
    if with_token and rows.weights.shape[1] > 1:
        heaviest = rows.weights.argmax(dim=1)
        by_row = rearrange(token, "(q w) b -> q w b", w=rows.weights.shape[1])
        token = by_row[torch.arange(len(heaviest), device=token.device), heaviest]
    return BestTokens(_weighted_sum(rows, score), token)


def score_block(
    query: Tensor, tokens: Tensor, mask: Tensor | None, with_token: bool, memory: float
) -> BestTokens:
    """Find the maximum over tokens of the dot products, without making all products at once.

    Args:
        query: rows, (Q, D) float32.
        tokens: (B, M, D), of any float type; products are in float32.
        mask: (B, M), 1 for a token that takes part; None if all do.
        with_token: also give the index of the best token. It is slower than the maximum alone,
            though by less than the products take.
        memory: number of bytes that a tile of products may take.
    """
    videos, per_video = tokens.shape[0], tokens.shape[1] * tokens.shape[2]
    best_score = query.new_empty(videos, len(query))
    shape = best_score.shape if with_token else (0,)
    token = torch.empty(shape, dtype=torch.int16, device=query.device)
    memory = min(memory, CPU_TILE) if query.device.type == "cpu" else memory
    # the products of a tile, their maximum and its indices, and the tokens themselves in float32
    bytes_per_video = 4 * (2 * len(query) * tokens.shape[1] + per_video)
    size = max(1, int(memory / bytes_per_video))
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
    """Multiply the tokens (B, M, D) with the rows (D, Q); (B, M, Q).

    The queries come last, so that the maximum over tokens takes whole rows of them at once.
    """
    with torch.autocast(columns.device.type, enabled=False):
        rows = at_least_float32(rearrange(tokens, "b m d -> (b m) d"))
        products = rearrange(rows @ columns, "(b m) q -> b m q", b=len(tokens))
    return products if mask is None else products.masked_fill_(mask[..., None] == 0, -torch.inf)
