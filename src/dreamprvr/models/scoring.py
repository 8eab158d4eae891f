"""The score of a query and a video, for every model (docs/model.md, section 6).

    s(q, v) = sum over scales of w_scale * (sum over rows r of w_r * max over tokens i of r . i)

Rows and tokens have unit length, so that their products are cosines. The loss also takes the inner
sums of one scale for rows and tokens that keep their own lengths. `best_sum` computes the inner sum
with gradients, and `best_tokens` without gradients and with the tokens that won. Both make the
products in tiles of bounded memory.
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

GRADIENT_TILE = 128e6  # bytes of the products that the loss makes at once
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
    used, mask = used_rows(rows), _mask(scale, padding)
    bytes_per_video = 4 * max(1, len(used.vectors)) * scale.tokens.shape[1]
    size = max(1, int(GRADIENT_TILE / bytes_per_video))
    tiles = scale.tokens.split(size)
    masks = [None] * len(tiles) if mask is None else mask.split(size)
    # the gradient needs the places of the maxima and not the products, which are freed tile by
    # tile; max, not amax: its gradient goes to one token also where several tie
    best = [
        token_products(used.vectors, tokens, kept).max(dim=-1).values
        for tokens, kept in zip(tiles, masks, strict=True)
    ]
    return _weighted_sum(used, torch.cat(best, dim=1))


class UsedRows(NamedTuple):
    """The N rows of Q queries that have a weight, one after the other."""

    vectors: Tensor  # (N, D)
    weights: Tensor  # (N,)
    place: Tensor  # (N,), place of each row among the Q W rows, in ascending order
    shape: torch.Size  # Q and W


def used_rows(rows: QueryRows) -> UsedRows:
    """List the rows of all queries without those of weight 0, as padded words have.

    Captions are of very different lengths, so that half of all rows may be padding. A compiled
    graph needs fixed shapes; it keeps all rows.

    Args:
        rows: rows of Q queries.
    """
    vectors, weights = rearrange(rows.vectors, "q w d -> (q w) d"), rows.weights.flatten()
    if rows.weights.shape[1] == 1 or torch.compiler.is_compiling():
        place = torch.arange(len(weights), device=weights.device)
    else:
        place = weights.detach().nonzero().squeeze(1)
        vectors, weights = vectors[place], weights[place]
    return UsedRows(vectors, at_least_float32(weights), place, rows.weights.shape)


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


def _weighted_sum(used: UsedRows, best: Tensor) -> Tensor:
    """Add up the best products of each query's rows by weight; (N, B) -> (Q, B)."""
    weighted, (queries, width) = best * used.weights[:, None], used.shape
    if width == 1:
        return weighted
    return weighted.new_zeros(queries, best.shape[1]).index_add(0, used.place // width, weighted)


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
    used, mask = used_rows(rows), _mask(scale, padding)
    vectors = at_least_float32(used.vectors)
    # a tile is at least one video, so that few enough rows make its products fit
    block = max(1, int(_tile_bytes(memory, vectors.device) / (8 * scale.tokens.shape[1])))
    parts = [
        score_block(block_rows, scale.tokens, mask, with_token, memory)
        for block_rows in vectors.split(block)
    ]
    token = torch.cat([part.token for part in parts])
    if with_token and rows.weights.shape[1] > 1:
        token = token[_heaviest(rows.weights, used)]
    return BestTokens(_weighted_sum(used, torch.cat([part.score for part in parts])), token)


def _heaviest(weights: Tensor, used: UsedRows) -> Tensor:
    """Find the row of the largest weight of each query; (Q,), an index into the used rows."""
    queries, width = used.shape
    word = weights.where(weights != 0, -torch.inf).argmax(dim=1)
    place = torch.arange(queries, device=weights.device) * width + word
    return torch.searchsorted(used.place, place).clamp(max=len(used.place) - 1)


def _tile_bytes(memory: float, device: torch.device) -> float:
    return min(memory, CPU_TILE) if device.type == "cpu" else memory


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
    memory = _tile_bytes(memory, query.device)
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
