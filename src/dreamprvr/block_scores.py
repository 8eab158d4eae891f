"""Best tokens of many videos for many queries, a tile of the score matrix at a time."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from dreamprvr.model.layers import full

CPU_TILE = 12e6  # bytes; the maximum over tokens then reads from the cache


class BestTokens(NamedTuple):
    """The best token of each video for each query."""

    score: Tensor  # (Q, B)
    token: Tensor  # (Q, B) int16, or (0,) where it was not asked for


def score_block(
    query: Tensor, tokens: Tensor, mask: Tensor | None, with_token: bool, memory: float
) -> BestTokens:
    """Maximum over tokens of the dot products, never all products at once.

    Args:
        query: (Q, D) float32.
        tokens: (B, M, D), any float type; products are in float32.
        mask: (B, M), 1 for a token that takes part; None if all do.
        with_token: whether to say which token is the best; slower than the maximum alone, though
            less than the products.
        memory: bytes that a tile of products may take.
    """
    videos, per_video = tokens.shape[0], tokens.shape[1] * tokens.shape[2]
    score = query.new_empty(videos, len(query))
    token = torch.empty(score.shape if with_token else (0,), dtype=torch.int16, device=query.device)
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
            score[tile], token[tile] = best.values, best.indices.to(torch.int16)
        else:
            score[tile] = products.amax(dim=1)
    return BestTokens(score.T, token.T if with_token else token)


def _products(columns: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
    """(B, M, Q): queries last, so that the maximum over tokens takes whole rows of them at once."""
    with torch.autocast(columns.device.type, enabled=False):
        rows = full(rearrange(tokens, "b m d -> (b m) d"))
        products = rearrange(rows @ columns, "(b m) q -> b m q", b=len(tokens))
    return products if mask is None else products.masked_fill_(mask[..., None] == 0, -torch.inf)
