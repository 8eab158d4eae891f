"""GMMFormer v2: Gaussian encoders, joined by a learned token (docs/models/gmmformer_v2.md)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dreamprvr.models.encoded import EncodedBatch, EncodedVideos
from dreamprvr.models.gaussian import GaussianConfig, GaussianLossConfig, GaussianModel, Objective
from dreamprvr.models.gmmformer_v2.published import FORMAT
from dreamprvr.models.layers.basic import initialize, unit
from dreamprvr.models.losses.queries import optimal_matching


@dataclass(frozen=True)
class GMMFormerV2Config(GaussianConfig):
    """Settings of the network; the defaults are those for ActivityNet Captions."""

    gaussian_widths: tuple[float, ...] = (0.5, 1.0, 5.0, 10.0, 3.0, 0.1, 8.0)


@dataclass(frozen=True)
class ObjectiveConfig(GaussianLossConfig):
    """Weights and constants of the loss terms; the defaults are those for ActivityNet Captions.

    Args:
        matching_weight: c4, weight of the optimal matching.
    """

    matching_weight: float = 0.11


class GMMFormerV2(GaussianModel):
    """Eight parallel attention blocks for each scale, joined by attention from a learned token.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
    """

    network_settings = GMMFormerV2Config
    objective_settings = ObjectiveConfig
    published = FORMAT
    objective_config: ObjectiveConfig

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        network: GMMFormerV2Config = GMMFormerV2Config(),
        objective: ObjectiveConfig = ObjectiveConfig(),
    ) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        self.add_encoders()
        self.token = nn.Parameter(torch.randn(1, 1, network.hidden_size))
        self.objective = Objective(objective, network.padded_frames)
        initialize(self)

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Encode B videos; see `RetrievalModel.encode_videos`."""
        tokens = self.embed_clips(clips)
        return EncodedVideos(self.gaussian_scales(tokens, frames, frame_mask, token=self.token), {})

    def further_terms(self, batch: EncodedBatch, epoch: int) -> dict[str, tuple[float, Tensor]]:
        """Add the optimal matching, whose assignment is computed on the CPU."""
        query, clips = unit(batch.queries.embedding), unit(batch.videos.scales["clips"].tokens)
        matching = optimal_matching(query, clips, batch.labels)
        own = {"matching": (self.objective_config.matching_weight, matching)}
        return super().further_terms(batch, epoch) | own
