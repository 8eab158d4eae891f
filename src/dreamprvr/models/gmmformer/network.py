"""GMMFormer: mixtures of Gaussian attention blocks, one vector for all frames.

The equations are in docs/models/gmmformer.md.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.common import (
    NetworkConfig,
    OneVectorModel,
    RetrievalLossConfig,
    RetrievalObjective,
)
from dreamprvr.models.contract import CompiledParts, TokenSpans
from dreamprvr.models.encoded import EncodedBatch, EncodedVideos, Scale
from dreamprvr.models.gmmformer.published import FORMAT
from dreamprvr.models.layers.attention import OutputAttentionBlock
from dreamprvr.models.layers.basic import initialize
from dreamprvr.models.layers.gaussian import fitted_windows, gaussian_window
from dreamprvr.models.layers.query import AttentionPooling, QueryEncoder
from dreamprvr.models.losses.queries import joint_diversity

FrameLength = Literal["max", "batch", "own"]


@dataclass(frozen=True)
class GMMFormerConfig(NetworkConfig):
    """Settings of the network; the defaults are those for ActivityNet Captions.

    Args:
        gaussian_widths: widths of the Gaussian windows of a mixture; each makes one attention
            block, beside the block without a window.
        frame_length: number of frames that the windows over the frames are made for
            (docs/models/gmmformer.md, section 5). With `max`, `max_frames` for every video; with
            `own`, each video's own number; with `batch`, that of the longest video of the batch,
            as in the published code, so that the vector of a video depends on its batch.

    Raises:
        UserError: no network has such a value; the message names it and says what is allowed.
    """

    dropout: float = 0.2
    input_dropout: float = 0.2
    gaussian_widths: tuple[float, ...] = (0.5, 1.0, 5.0)
    frame_length: FrameLength = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(width > 0 for width in self.gaussian_widths):
            raise UserError(f"network.gaussian_widths {self.gaussian_widths} must all be > 0")


@dataclass(frozen=True)
class ObjectiveConfig(RetrievalLossConfig):
    """Weights and constants of the loss terms; the defaults are those for ActivityNet Captions.

    Args:
        diversity_weight: weight of the diversity term.
        diversity_delta: delta of the diversity term.
        diversity_alpha: alpha of the diversity term.
    """

    diversity_weight: float = 0.015
    diversity_delta: float = 0.2
    diversity_alpha: float = 32.0


class Mixture(nn.ModuleList):
    """Parallel attention blocks, one plain and one for each Gaussian width, and their mean.

    Args:
        config: settings of the network.
    """

    def __init__(self, config: GMMFormerConfig) -> None:
        size, heads, dropout = config.hidden_size, config.num_heads, config.dropout
        count = 1 + len(config.gaussian_widths)
        super().__init__(OutputAttentionBlock(size, heads, dropout) for _ in range(count))

    def forward(self, tokens: Tensor, mask: Tensor | None, windows: Tensor | None) -> Tensor:
        """Transform tokens, (B, L, D) -> (B, L, D).

        Args:
            tokens: (B, L, D).
            mask: (B, L), 1 for a token and 0 for padding; None if all are tokens.
            windows: those of the blocks after the plain one, (G, L, L) or (G, B, 1, L, L); None
                if there are none.
        """
        plain, *gaussian = self
        total: Tensor = plain(tokens, mask)
        for block, window in zip(gaussian, () if windows is None else windows, strict=True):
            total = total + block(tokens, mask, window)
        return total / len(self)


class MixtureEncoder(nn.Module):
    """Two mixtures, one after the other.

    Args:
        length: L, largest number of tokens of a video.
        config: settings of the network.
        fitted: make the windows for each video's own number of tokens.
    """

    def __init__(self, length: int, config: GMMFormerConfig, fitted: bool = False) -> None:
        super().__init__()
        self.widths, self.fitted = config.gaussian_widths, fitted
        self.first, self.second = Mixture(config), Mixture(config)
        self.windows: Tensor
        self.register_buffer("windows", self._windows(length), persistent=False)

    def _windows(self, length: int) -> Tensor:
        made = [gaussian_window(length, width) for width in self.widths]
        return torch.stack(made) if made else torch.empty(0, length, length)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode the tokens of each video, (B, L, D) -> (B, L, D).

        Args:
            tokens: tokens after projection and position embedding, (B, L, D).
            mask: (B, L), 1 for a token and 0 for padding; None if all are tokens.
        """
        windows = self.windows
        if self.fitted and mask is not None and self.widths:
            windows = fitted_windows(mask, self.widths)
        elif tokens.shape[1] != windows.shape[-1]:
            windows = self._windows(tokens.shape[1]).to(windows)
        encoded: Tensor = self.second(self.first(tokens, mask, windows), mask, windows)
        return encoded


class Objective(RetrievalObjective):
    """The loss terms and their weighted sum (docs/models/gmmformer.md, section 4)."""

    def own_terms(self, query: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the query diversity."""
        c = self.config
        return {"diversity": joint_diversity(query, labels, c.diversity_delta, c.diversity_alpha)}


class GMMFormer(OneVectorModel):
    """Two mixtures of attention blocks for each scale, and one vector for all frames of a video.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
    """

    network_settings = GMMFormerConfig
    objective_settings = ObjectiveConfig
    published = FORMAT
    config: GMMFormerConfig
    objective_config: ObjectiveConfig

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        network: GMMFormerConfig = GMMFormerConfig(),
        objective: ObjectiveConfig = ObjectiveConfig(),
    ) -> None:
        size = network.hidden_size
        block = OutputAttentionBlock(size, network.num_heads, network.dropout)
        query_encoder = QueryEncoder(text_dim, network, block)
        super().__init__(video_dim, text_dim, network, objective, query_encoder)
        self.clip_encoder = MixtureEncoder(network.num_clips, network)
        self.frame_encoder = MixtureEncoder(
            network.max_frames, network, fitted=network.frame_length == "own"
        )
        self.frame_pooling = AttentionPooling(size)
        self.objective = Objective(objective, self.padding)
        initialize(self)

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Encode B videos; see `RetrievalModel.encode_videos`.

        Returns:
            A token for each clip, (B, M_c, D), and one for all frames, (B, 1, D).
        """
        if self.config.frame_length == "batch":
            longest = int(frame_mask.sum(dim=1).max())
            frames, frame_mask = frames[:, :longest], frame_mask[:, :longest]
        clip_tokens = self.clip_encoder(self.embed_clips(clips))
        frame_tokens = self.frame_encoder(self.embed_frames(frames), frame_mask)
        vector = self.frame_pooling(frame_tokens, frame_mask)
        return EncodedVideos({"clips": Scale(clip_tokens), "frames": Scale(vector[:, None])}, {})

    def token_spans(self, scale: str) -> TokenSpans:
        """List what the tokens cover; the one token of `frames` covers all of them."""
        if scale == "frames":
            return TokenSpans("frames", [(0, self.config.max_frames)])
        return super().token_spans(scale)

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute all loss terms; see `RetrievalModel.losses`."""
        terms: dict[str, Tensor] = self.objective(
            batch, epoch >= self.objective_config.hard_negatives_from
        )
        return terms

    def compiled_parts(self) -> CompiledParts:
        """Name the query branch, the encoders and the objective.

        With `frame_length: batch` the number of frames varies, so their encoder is left out.
        """
        others: list[tuple[nn.Module, str]] = [(self.clip_encoder, "forward")]
        if self.config.frame_length != "batch":
            others.append((self.frame_encoder, "forward"))
        return CompiledParts(
            queries=[(self.query_encoder, "forward")],
            losses=[(self.objective, "forward")],
            others=others,
        )
