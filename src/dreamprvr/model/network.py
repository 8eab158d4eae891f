"""The whole network: query branch, registers, and one Gaussian encoder a scale."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.gaussian_attention import GaussianEncoder
from dreamprvr.model.initialization import initialize
from dreamprvr.model.layers import InputProjection, PositionEmbedding, full
from dreamprvr.model.query_encoder import QueryEncoder
from dreamprvr.model.registers import RegisterSample, RegisterSampler
from dreamprvr.model.scoring import TokenScores, VideoTokens, token_scores


class VideoEncoding(NamedTuple):
    """Tokens for scoring, and what the objective needs of the registers."""

    tokens: VideoTokens
    registers: RegisterSample | None  # None in the register-free model


class DreamPRVR(nn.Module):
    """Diffusion-guided registers for partially relevant video retrieval (CVPR 2026).

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        config: everything else.
    """

    def __init__(self, video_dim: int, text_dim: int, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        size, dropout = config.hidden_size, config.dropout
        self.query_encoder = QueryEncoder(text_dim, config)
        self.clip_projection = InputProjection(video_dim, size, config.input_dropout)
        # the published table has a row a frame, also for the clips
        self.clip_position = PositionEmbedding(
            max(config.num_clips, config.max_frames), size, dropout
        )
        self.frame_projection = InputProjection(video_dim, size, config.input_dropout)
        self.frame_position = PositionEmbedding(config.max_frames, size, dropout)
        self.register_sampler = RegisterSampler(config) if config.num_registers else None
        self.clip_encoder = GaussianEncoder(config.num_clips, config)
        self.frame_encoder = GaussianEncoder(config.max_frames, config)
        initialize(self)
        if self.register_sampler and config.time_table == "sinusoidal":
            self.register_sampler.denoiser.time.set_sinusoidal()

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> Tensor:
        """(Q, L, E) and (Q, L) -> (Q, D)."""
        return self.query_encoder(words, word_mask)

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> VideoEncoding:
        """Encode B videos.

        Args:
            clips: (B, M_c, F), pooled and normalised.
            frames: (B, M_f, F), pooled, normalised and zero-padded.
            frame_mask: (B, M_f), 1 for a frame.
        """
        clip_tokens = self.clip_position(self.clip_projection(clips))
        sample = self.register_sampler(clip_tokens) if self.register_sampler else None
        registers = sample.registers if sample else None
        frame_tokens = self.frame_position(self.frame_projection(frames))
        encoded = self.frame_encoder(frame_tokens, registers, frame_mask)
        tokens = VideoTokens(
            clips=self.clip_encoder(clip_tokens, registers, None),
            frames=encoded * frame_mask[..., None],
            frame_mask=frame_mask,
        )
        return VideoEncoding(tokens, sample)

    def score(self, query: Tensor, videos: VideoTokens) -> TokenScores:
        """Cosine scores of queries (Q, D) and already `normalised()` video tokens."""
        return token_scores(F.normalize(full(query), dim=-1), videos, self.config.padded_frames)

    def combine(self, scores: TokenScores) -> Tensor:
        """s(q, v), (Q, B) (section 6)."""
        return scores.combined(self.config.clip_weight, self.config.frame_weight)

    def forward(
        self, words: Tensor, word_mask: Tensor, clips: Tensor, frames: Tensor, frame_mask: Tensor
    ) -> Tensor:
        """Score of every query and video, (Q, B); arguments as in the two encoders."""
        query = self.encode_queries(words, word_mask)
        tokens = self.encode_videos(clips, frames, frame_mask).tokens
        return self.combine(self.score(query, tokens.normalised()))
