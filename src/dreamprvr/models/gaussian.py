"""The base of GMMFormer v2 and its descendants: Gaussian encoders for clips and frames.

DreamPRVR, GMMFormer v2, Holmes and RAL share these settings and parts; see docs/model.md.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.contract import CompiledParts, RetrievalModel
from dreamprvr.models.encoded import EncodedQueries, Padding, QueryRows, Scale
from dreamprvr.models.layers.basic import InputProjection, PositionEmbedding
from dreamprvr.models.parts import PartSetting, build_part
from dreamprvr.models.settings import check_network, check_settings

QUERY_ENCODER = "dreamprvr.models.layers.query.QueryEncoder"
GAUSSIAN_ENCODER = "dreamprvr.models.layers.gaussian.GaussianEncoder"
AGGREGATION = "dreamprvr.models.layers.gaussian.AdaptiveAggregation"


@dataclass(frozen=True)
class GaussianConfig:
    """Settings that the Gaussian models share.

    Args:
        hidden_size: D, the width of every token.
        num_heads: attention heads; divides `hidden_size`.
        num_clips: M_c, clips that a video is pooled to.
        max_frames: M_f, frames that a longer video is pooled to.
        max_words: words of a caption that are read.
        gaussian_widths: one Gaussian attention branch each, beside the plain one (section 5).
        softmax_temperature: temperature of the softmax over branches in the aggregation.
        dropout: inside attention blocks and after position embeddings.
        input_dropout: in the input projections.
        clip_weight: w_c of the score (section 6).
        frame_weight: w_f of the score.
        padded_frames: `zero` lets padding take part in the maximum over frames with score 0;
            with `ignore` it never wins.
        query_encoder: class of the query branch; see `dreamprvr.models.parts`.
        gaussian_encoder: class of the encoder of clips and of frames; see `dreamprvr.models.parts`.
        aggregation: class that joins its branches; see `dreamprvr.models.parts`.

    Raises:
        UserError: a value makes no network; names it and what is allowed.
    """

    hidden_size: int = 384
    num_heads: int = 4
    num_clips: int = 32
    max_frames: int = 128
    max_words: int = 30
    gaussian_widths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    softmax_temperature: float = 0.6
    dropout: float = 0.31
    input_dropout: float = 0.31
    clip_weight: float = 0.6
    frame_weight: float = 0.4
    padded_frames: Padding = "zero"
    query_encoder: PartSetting = QUERY_ENCODER
    gaussian_encoder: PartSetting = GAUSSIAN_ENCODER
    aggregation: PartSetting = AGGREGATION

    def __post_init__(self) -> None:
        check_settings(
            self, "network",
            hidden_size=2, num_heads=1, num_clips=1, max_frames=1, max_words=1,
            clip_weight=0, frame_weight=0,
        )  # fmt: skip
        check_network(self)
        if not self.softmax_temperature > 0:
            raise UserError(f"network.softmax_temperature {self.softmax_temperature} must be > 0")
        if not all(width > 0 for width in self.gaussian_widths):
            raise UserError(f"network.gaussian_widths {self.gaussian_widths} must all be > 0")


class GaussianModel(RetrievalModel):
    """Query branch, projected and positioned clips and frames, and a Gaussian encoder for each."""

    config: GaussianConfig

    def __init__(
        self, video_dim: int, text_dim: int, network: GaussianConfig, objective: Any
    ) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        config = self.config
        size, dropout = config.hidden_size, config.dropout
        self.query_encoder = build_part(config.query_encoder, text_dim, config)
        self.clip_projection = InputProjection(video_dim, size, config.input_dropout)
        # the published table has a row a frame, also for the clips
        self.clip_position = PositionEmbedding(
            max(config.num_clips, config.max_frames), size, dropout
        )
        self.frame_projection = InputProjection(video_dim, size, config.input_dropout)
        self.frame_position = PositionEmbedding(config.max_frames, size, dropout)

    def add_encoders(self, num_registers: int = 0) -> None:
        """Make the two encoders; apart, as the order of the parts decides their first weights."""
        self.clip_encoder = self._encoder(self.config.num_clips, num_registers)
        self.frame_encoder = self._encoder(self.config.max_frames, num_registers)

    def _encoder(self, length: int, num_registers: int) -> nn.Module:
        config = self.config
        aggregation = build_part(config.aggregation, length, config)
        encoder: nn.Module = build_part(
            config.gaussian_encoder, length, config, num_registers, aggregation
        )
        return encoder

    @property
    def padding(self) -> Padding:  # type: ignore[override]
        """As the settings say."""
        return self.config.padded_frames

    @property
    def scale_weights(self) -> dict[str, float]:
        """w_c and w_f."""
        return {"clips": self.config.clip_weight, "frames": self.config.frame_weight}

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Encode captions as one vector each, which asks both scales."""
        embedding = self.query_encoder(words, word_mask)
        rows = QueryRows(embedding[:, None], embedding.new_ones(len(embedding), 1))
        return EncodedQueries(embedding, {name: rows for name in self.scales}, {})

    def embed_clips(self, clips: Tensor) -> Tensor:
        """Project and position clips; (B, M_c, F) -> (B, M_c, D)."""
        return self.clip_position(self.clip_projection(clips))

    def gaussian_scales(
        self,
        clip_tokens: Tensor,
        frames: Tensor,
        frame_mask: Tensor,
        registers: Tensor | None = None,
        token: Tensor | None = None,
    ) -> dict[str, Scale]:
        """Encode both scales.

        Args:
            clip_tokens: (B, M_c, D), from `embed_clips`.
            frames: (B, M_f, F).
            frame_mask: (B, M_f), 1 for a frame.
            registers: (B, R, D), or None.
            token: (1, 1, D), which asks the branches; None takes each video's mean.
        """
        frame_tokens = self.frame_position(self.frame_projection(frames))
        encoded = self.frame_encoder(frame_tokens, registers, frame_mask, token)
        return {
            "clips": Scale(self.clip_encoder(clip_tokens, registers, None, token)),
            "frames": Scale(encoded * frame_mask[..., None], frame_mask),
        }

    def compiled_parts(self) -> CompiledParts:
        """The query branch, and each Gaussian encoder."""
        encoders = (self.clip_encoder, self.frame_encoder)
        return CompiledParts(
            [(self.query_encoder, "forward")], [(encoder, "forward") for encoder in encoders]
        )
