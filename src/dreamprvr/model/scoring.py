"""The score of a query and a video (model.md, section 6)."""

from typing import Literal, NamedTuple

import torch
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
    """Every query against every video: the best token's score and which token it is."""

    clip: Tensor  # (Q, B)
    frame: Tensor  # (Q, B)
    best_clip: Tensor  # (Q, B) int64
    best_frame: Tensor  # (Q, B) int64

    def combined(self, clip_weight: float, frame_weight: float) -> Tensor:
        """s(q, v) = w_c clip + w_f frame, (Q, B)."""
        return clip_weight * self.clip + frame_weight * self.frame


def token_scores(query: Tensor, videos: VideoTokens, padded_frames: PaddedFrames) -> TokenScores:
    """Maximum over tokens of the dot product with the query; cosines if both are normalised.

    Args:
        query: (Q, D).
        videos: tokens of B videos.
        padded_frames: `zero`: padding takes part with score 0 (C); `ignore`: with -inf (P).
    """
    with torch.autocast(query.device.type, enabled=False):
        clip = torch.einsum("qd,bmd->qbm", full(query), full(videos.clips)).max(dim=-1)
        frames = torch.einsum("qd,bmd->qbm", full(query), full(videos.frames))
        if padded_frames == "ignore":
            frames = frames.masked_fill(videos.frame_mask[None] == 0, -torch.inf)
        frame = frames.max(dim=-1)
    return TokenScores(clip.values, frame.values, clip.indices, frame.indices)
