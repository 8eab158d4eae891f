"""Holmes: GMMFormer v2's network, trained with evidential losses (docs/models/holmes.md)."""

from dataclasses import dataclass

import torch
from torch import nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.encoded import Padding
from dreamprvr.models.gaussian import GaussianConfig, GaussianLossConfig, GaussianModel, Objective
from dreamprvr.models.holmes.published import FORMAT
from dreamprvr.models.layers.basic import initialize
from dreamprvr.models.losses.evidence import InterVideoEvidence, IntraVideoEvidence
from dreamprvr.models.parts import LossTerm


@dataclass(frozen=True)
class HolmesConfig(GaussianConfig):
    """Settings of the network; the defaults are those for ActivityNet Captions."""

    gaussian_widths: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    clip_weight: float = 0.6
    frame_weight: float = 0.4


@dataclass(frozen=True)
class ObjectiveConfig(GaussianLossConfig):
    """Weights and constants of the loss terms; the defaults are those for ActivityNet Captions.

    Args:
        inter_weight: w4, weight of each of the three evidential terms between videos.
        inter_temperature: tau of the evidence between videos, at least 0.02.
        intra_weight: w3, weight of the evidential term inside videos.
        intra_temperature: tau of the evidence inside videos, at least 0.02.
        evidence_from: first epoch, counted from 0, that softens labels between videos and has the
            term inside videos.
        beta: bound of the thresholds that tell the kinds of queries.
        smoothing: share of the scores in the label of an ambiguous query.
        padded_queries: with `zero`, the similarities of a video depend on the largest number of
            queries of a video in the batch, as published; with `ignore`, they do not.
    """

    inter_weight: float = 0.06
    inter_temperature: float = 0.04
    intra_weight: float = 1e-4
    intra_temperature: float = 0.08
    evidence_from: int = 20
    beta: float = 0.3
    smoothing: float = 0.2
    padded_queries: Padding = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        if taken := self.extra.keys() & {"inter", "intra"}:
            name = min(taken)
            raise UserError(
                f"objective.extra.{name}: Holmes has this term; change its settings, such as "
                f"objective.{name}_weight, or give another name"
            )
        self.terms()  # refuses settings outside their ranges

    def terms(self) -> dict[str, LossTerm]:
        """Make the evidential terms by name."""
        return {
            "inter": InterVideoEvidence(
                self.inter_weight, self.inter_temperature, self.evidence_from, self.beta,
                self.smoothing,
            ),
            "intra": IntraVideoEvidence(
                self.intra_weight, self.intra_temperature, self.evidence_from, self.padded_queries
            ),
        }  # fmt: skip


class Holmes(GaussianModel):
    """Eight parallel attention blocks for each scale, joined by attention from their mean.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
    """

    network_settings = HolmesConfig
    objective_settings = ObjectiveConfig
    published = FORMAT
    objective_config: ObjectiveConfig

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        network: HolmesConfig = HolmesConfig(),
        objective: ObjectiveConfig = ObjectiveConfig(),
    ) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        self.add_encoders()
        # as in the published code; nothing uses it, and no gradient reaches it
        self.token = nn.Parameter(torch.randn(1, 1, network.hidden_size), requires_grad=False)
        self.objective = Objective(objective, network.padded_frames)
        for name, term in objective.terms().items():
            term.padding = self.padding
            self.extra_terms[name] = term
        initialize(self)
