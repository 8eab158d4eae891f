"""HLFormer: Gaussian encoders with branches in Lorentz space (docs/models/hlformer.md)."""

from dataclasses import dataclass

from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.gaussian import GaussianConfig, GaussianLossConfig, GaussianModel, Objective
from dreamprvr.models.hlformer.lorentz import LorentzAttention
from dreamprvr.models.hlformer.order import PartialOrder
from dreamprvr.models.hlformer.published import FORMAT
from dreamprvr.models.layers.basic import initialize
from dreamprvr.models.parts import PartSetting

LORENTZ_ENCODER = "dreamprvr.models.hlformer.lorentz.LorentzGaussianEncoder"


@dataclass(frozen=True)
class HLFormerConfig(GaussianConfig):
    """Settings of the network; the defaults are those for ActivityNet Captions.

    Args:
        lorentz_size: M, number of space entries of a point; the number of heads must divide M + 1.

    Raises:
        UserError: no network has such a value; the message names it and says what is allowed.
    """

    gaussian_widths: tuple[float, ...] = (2.0, 4.0, 8.0)
    lorentz_size: int = 127
    gaussian_encoder: PartSetting = LORENTZ_ENCODER

    def __post_init__(self) -> None:
        super().__post_init__()
        smallest = 2 * self.num_heads - 1  # a head then has a time and an entry of space
        if self.lorentz_size < smallest or (self.lorentz_size + 1) % self.num_heads:
            raise UserError(
                f"network.lorentz_size is {self.lorentz_size}; at least {smallest}, and one less "
                f"than a multiple of network.num_heads {self.num_heads}"
            )


@dataclass(frozen=True)
class ObjectiveConfig(GaussianLossConfig):
    """Weights and constants of the loss terms; the defaults are those for ActivityNet Captions.

    Args:
        order_weight: c4, weight of the partial order.
        order_masks_padding: leave padded frames out of the pooling of the partial order. In the
            published code they take part.
    """

    order_weight: float = 0.001
    order_masks_padding: bool = False


class HLFormer(GaussianModel):
    """Eight parallel attention blocks for each scale, four of them in Lorentz space.

    The blocks are joined by attention from the mean of a video. Nothing hyperbolic is needed to
    score a query.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
    """

    network_settings = HLFormerConfig
    objective_settings = ObjectiveConfig
    published = FORMAT
    objective_config: ObjectiveConfig

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        network: HLFormerConfig = HLFormerConfig(),
        objective: ObjectiveConfig = ObjectiveConfig(),
    ) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        self.add_encoders()
        self.order = PartialOrder(network.hidden_size, objective.order_masks_padding)
        self.objective = Objective(objective, network.padded_frames)
        initialize(self)

    def further_terms(self, batch: EncodedBatch, epoch: int) -> dict[str, tuple[float, Tensor]]:
        """Add the partial order; see `GaussianModel.further_terms`."""
        order = (self.objective_config.order_weight, self.order(batch))
        return {**super().further_terms(batch, epoch), "order": order}

    def constrain(self) -> None:
        """Bring the learned scales and the curvature into their ranges."""
        for module in self.modules():
            if isinstance(module, (LorentzAttention, PartialOrder)):
                module.constrain()
