"""GMMFormer v2: Gaussian encoders, joined by a learned token (docs/models/gmmformer_v2.md)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.contract import CompiledParts
from dreamprvr.models.encoded import EncodedBatch, EncodedVideos, Padding
from dreamprvr.models.gaussian import GaussianConfig, GaussianModel
from dreamprvr.models.gmmformer_v2.published import FORMAT
from dreamprvr.models.layers.basic import at_least_float32, initialize
from dreamprvr.models.losses.matching import optimal_matching
from dreamprvr.models.losses.queries import diversity
from dreamprvr.models.losses.retrieval import retrieval_terms, weighted_total
from dreamprvr.models.settings import check_objective


@dataclass(frozen=True)
class GMMFormerV2Config(GaussianConfig):
    """Settings of the network, as in `GaussianConfig`; the defaults are ActivityNet's."""

    gaussian_widths: tuple[float, ...] = (0.5, 1.0, 5.0, 10.0, 3.0, 0.1, 8.0)
    clip_weight: float = 0.7
    frame_weight: float = 0.3


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and constants of the loss terms; the defaults are ActivityNet's.

    Args:
        clip_nce_weight: c1, weight of the clip NCE.
        frame_nce_weight: c2, weight of the frame NCE.
        diversity_weight: c3, weight of the diversity term.
        matching_weight: c4, weight of the optimal matching.
        margin: margin of the two triplet terms, whose weight is 1.
        hard_negatives_from: first epoch (from 0) with hard negatives.
        hard_pool: a query's negative is drawn from this many hardest videos.
        diversity_delta: delta of the diversity term.
        diversity_alpha: alpha of the diversity term.
        diversity_gamma: gamma of the diversity term.
    """

    clip_nce_weight: float = 0.02
    frame_nce_weight: float = 0.04
    diversity_weight: float = 0.003
    matching_weight: float = 0.11
    margin: float = 0.2
    hard_negatives_from: int = 20
    hard_pool: int = 20
    diversity_delta: float = 0.2
    diversity_alpha: float = 32.0
    diversity_gamma: float = 1.0

    def __post_init__(self) -> None:
        check_objective(self)


class Objective(nn.Module):
    """Every loss term of a batch, and their weighted sum.

    Args:
        config: weights and constants.
        padding: whether padded frames take part in the maxima.
    """

    def __init__(self, config: ObjectiveConfig, padding: Padding) -> None:
        super().__init__()
        self.config = config
        self.padding: Padding = padding

    def forward(self, batch: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        """Compute the unweighted terms by name, and `total`; all scalars in float32.

        Args:
            batch: the encoded batch.
            hard_negatives: whether the triplets use hard negatives.
        """
        c = self.config
        query, labels = at_least_float32(batch.queries.embedding), batch.labels
        with torch.autocast(query.device.type, enabled=False):
            terms = retrieval_terms(batch, self.padding, c.margin, hard_negatives, c.hard_pool)
            shape = (c.diversity_delta, c.diversity_alpha, c.diversity_gamma)
            terms["diversity"] = diversity(query, labels, *shape)
            return terms


class GMMFormerV2(GaussianModel):
    """Eight parallel attention blocks a scale, joined by what one learned token finds.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
    """

    network_settings = GMMFormerV2Config
    objective_settings = ObjectiveConfig
    published = FORMAT

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

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute all loss terms; see `RetrievalModel.losses`."""
        c = self.objective.config
        terms = dict(self.objective(batch, epoch >= c.hard_negatives_from))
        # apart from the compiled terms: the assignment is made on the host
        with torch.autocast(batch.labels.device.type, enabled=False):
            clips = F.normalize(at_least_float32(batch.videos.scales["clips"].tokens), dim=-1)
            query = F.normalize(at_least_float32(batch.queries.embedding), dim=-1)
            terms["matching"] = optimal_matching(query, clips, batch.labels)
        return terms | {"total": weighted_total(terms, c, {})}

    def compiled_parts(self) -> CompiledParts:
        """The query branch, the Gaussian encoders and the objective without the matching."""
        return super().compiled_parts()._replace(losses=[(self.objective, "forward")])
