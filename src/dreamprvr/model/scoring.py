"""The score of a query and a video (model.md, section 6)."""

from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from dreamprvr.model.layers import full

PaddedFrames = Literal["zero", "ignore"]


class VideoTokens(NamedTuple):
    """What a gallery keeps of B videos."""

    clips: Tensor  # (B, M_c, D)
    frames: Tensor  # (B, M_f, D), padded rows are zero
    frame_mask: Tensor  # (B, M_f), 1 for a frame

    def normalised(self) -> "VideoTokens":
        """Tokens of unit length in float32, for cosines; zero rows stay zero."""
        return self._replace(
            clips=F.normalize(full(self.clips), dim=-1),
            frames=F.normalize(full(self.frames), dim=-1),
        )


class TokenScores(NamedTuple):
    """Every query against every video: the best token's score at either scale."""

    clip: Tensor  # (Q, B)
    frame: Tensor  # (Q, B)

    def combined(self, clip_weight: float, frame_weight: float) -> Tensor:
        """s(q, v) = w_c clip + w_f frame, (Q, B)."""
        return clip_weight * self.clip + frame_weight * self.frame


def token_products(query: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Dot products of every query and token, in float32; cosines if both are normalised.

    Args:
        query: (Q, D).
        tokens: (B, M, D).
        mask: (B, M), 1 for a token; those with 0 score -inf. None if all take part.

    Returns:
        (Q, B, M).
    """
    with torch.autocast(query.device.type, enabled=False):
        rows = rearrange(full(tokens), "b m d -> d (b m)")
        products = rearrange(full(query) @ rows, "q (b m) -> q b m", b=len(tokens))
    return products if mask is None else products.masked_fill(mask[None] == 0, -torch.inf)


def token_scores(query: Tensor, videos: VideoTokens, padded_frames: PaddedFrames) -> TokenScores:
    """Maximum over tokens of the dot product with the query.

    Args:
        query: (Q, D).
        videos: tokens of B videos.
        padded_frames: `zero`: padding takes part with score 0 (C); `ignore`: with -inf (P).
    """
    mask = videos.frame_mask if padded_frames == "ignore" else None
    # max, not amax: its gradient goes to one token also where several tie
    clip = token_products(query, videos.clips).max(dim=-1).values
    return TokenScores(clip, token_products(query, videos.frames, mask).max(dim=-1).values)
