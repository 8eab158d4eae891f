"""The whole network (docs/model.md, sections 3 to 6)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.baseline.gaussian import (
    AttentionBlock,
    GaussianEncoder,
    InputProjection,
    PositionEmbedding,
)
from benchmarks.baseline.registers import Registers, RegisterSampler
from dreamprvr.core.batch import Queries, Videos
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig

CHOICES = ("initial_register", "reverse_noise", "training_noise", "time_table", "padded_frames")


class QueryEncoder(nn.Module):
    """Projection, position, attention block, attention pooling over the words."""

    def __init__(self, text_dim: int, config: DreamPRVRConfig) -> None:
        super().__init__()
        size, dropout = config.hidden_size, config.dropout
        self.projection = InputProjection(text_dim, size, config.input_dropout)
        self.position = PositionEmbedding(config.max_words, size, dropout)
        self.block = AttentionBlock(size, config.num_heads, dropout)
        self.pooling = nn.Linear(size, 1, bias=False)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """(Q, L, E) and (Q, L) -> (Q, D)."""
        x = self.position(self.projection(words))
        x = self.block(x, x, mask[:, None, :])
        scores = self.pooling(x)[..., 0] + (1 - mask) * -10000.0  # (Q, L)
        weights = torch.softmax(scores, dim=-1)
        return (weights[..., None] * x).sum(dim=1)


class Encoding(NamedTuple):
    """Results of the network for B videos."""

    clips: Tensor  # (B, M_c, D)
    frames: Tensor  # (B, M_f, D), padded rows are zero
    registers: Registers | None  # None in the model without registers


class Baseline(nn.Module):
    """The network. Load its weights: it does not initialise them as the published code does.

    Args:
        video_dim: size of a video feature, F.
        text_dim: size of a word feature, E.
        config: sizes; the choices must be those of the published code.

    Raises:
        ValueError: the configuration asks for a variant of the paper.
    """

    def __init__(self, video_dim: int, text_dim: int, config: DreamPRVRConfig) -> None:
        super().__init__()
        for name in CHOICES:
            if getattr(config, name) != getattr(DreamPRVRConfig, name):
                raise ValueError(f"{name} {getattr(config, name)!r} is not in the baseline")
        self.config = config
        size, dropout, input_dropout = config.hidden_size, config.dropout, config.input_dropout
        self.query_encoder = QueryEncoder(text_dim, config)
        self.clip_projection = InputProjection(video_dim, size, input_dropout)
        # the published table has a row for each frame, also for the clips
        clip_rows = max(config.num_clips, config.max_frames)
        self.clip_position = PositionEmbedding(clip_rows, size, dropout)
        self.frame_projection = InputProjection(video_dim, size, input_dropout)
        self.frame_position = PositionEmbedding(config.max_frames, size, dropout)
        self.register_sampler = RegisterSampler(config) if config.num_registers else None
        self.clip_encoder = GaussianEncoder(config.num_clips, config)
        self.frame_encoder = GaussianEncoder(config.max_frames, config)

    def encode_queries(self, queries: Queries) -> Tensor:
        """Return the embedding of each query, (Q, D)."""
        return self.query_encoder(queries.words, queries.word_mask)

    def encode_videos(self, videos: Videos) -> Encoding:
        """Return tokens and registers of B videos."""
        clips = self.clip_position(self.clip_projection(videos.clips))
        frames = self.frame_position(self.frame_projection(videos.frames))
        sample = None if self.register_sampler is None else self.register_sampler(clips)
        registers = None if sample is None else sample.registers
        clips = self.clip_encoder(clips, registers, torch.ones_like(clips[..., 0]))
        frames = self.frame_encoder(frames, registers, videos.frame_mask)
        return Encoding(clips, frames * videos.frame_mask[..., None], sample)

    def scores(self, query: Tensor, clips: Tensor, frames: Tensor) -> Tensor:
        """Return the scores s(q, v), (Q, B).

        Args:
            query: embeddings, not normalised, (Q, D).
            clips: tokens, not normalised, (B, M_c, D).
            frames: tokens, not normalised, with zeros for padding, (B, M_f, D).
        """
        clip = best(F.normalize(query, dim=-1), F.normalize(clips, dim=-1))
        frame = best(F.normalize(query, dim=-1), F.normalize(frames, dim=-1))
        return self.config.clip_weight * clip + self.config.frame_weight * frame


def best(query: Tensor, tokens: Tensor) -> Tensor:
    """Return the largest dot product of queries (Q, D) and tokens (B, M, D), as (Q, B)."""
    return torch.einsum("qd,bmd->qbm", query, tokens).max(dim=-1).values
