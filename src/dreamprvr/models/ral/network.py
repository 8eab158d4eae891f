"""RAL on GMMFormer v2: word-level queries, and probabilistic losses (docs/models/ral.md)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.gmmformer_v2.network import GMMFormerV2, GMMFormerV2Config
from dreamprvr.models.gmmformer_v2.network import ObjectiveConfig as GMMFormerV2LossConfig
from dreamprvr.models.layers.basic import initialize
from dreamprvr.models.parts import PartSetting
from dreamprvr.models.ral.alignment import ProbabilisticAlignment
from dreamprvr.models.ral.published import FORMAT
from dreamprvr.models.settings import check_settings

WORD_QUERIES = "dreamprvr.models.layers.query.WordQueries"


@dataclass(frozen=True)
class RALConfig(GMMFormerV2Config):
    """Settings of the network; the defaults are those for ActivityNet Captions."""

    clip_weight: float = 0.6
    frame_weight: float = 0.4
    frame_query_encoder: PartSetting | None = WORD_QUERIES

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frame_query_encoder is None:
            raise UserError("RAL needs network.frame_query_encoder; without it, use gmmformer_v2")


@dataclass(frozen=True)
class ObjectiveConfig(GMMFormerV2LossConfig):
    """Weights and constants of the loss terms; the defaults are those for ActivityNet Captions.

    Args:
        proxy_weight: weight of the proxy matching, L_PM.
        distribution_weight: weight of the distribution alignment, L_DA.
        samples: number of samples of each distribution.
        support_captions: number of captions that the words of a video are filled up to with rows
            of zeros. A video with more captions gets none.
        mask_padding: leave padded words, padded frames and rows of zeros out of the attention over
            rows. The published code has them take part.
    """

    proxy_weight: float = 0.004
    distribution_weight: float = 0.00025
    samples: int = 6
    support_captions: int = 26
    mask_padding: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, "objective", samples=1)


class RAL(GMMFormerV2):
    """Robust alignment learning: every word looks for its best frame.

    In training, videos and their captions are also embedded as distributions.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
    """

    network_settings = RALConfig
    objective_settings = ObjectiveConfig
    published = FORMAT
    objective_config: ObjectiveConfig

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        network: RALConfig = RALConfig(),
        objective: ObjectiveConfig = ObjectiveConfig(),
    ) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        self.alignment = ProbabilisticAlignment(
            network.hidden_size, objective.samples, objective.support_captions,
            objective.mask_padding, objective.proxy_weight, objective.distribution_weight,
        )  # fmt: skip
        initialize(self.alignment)

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute all loss terms; see `RetrievalModel.losses`."""
        own = self.alignment(batch, epoch)  # first: the others draw a number that depends on Q
        terms = super().losses(batch, epoch)
        weighted = [self.alignment.weight[name] * value for name, value in own.items()]
        return terms | own | {"total": terms["total"] + torch.stack(weighted).sum()}
