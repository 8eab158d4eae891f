"""Settings of DreamPRVR."""

from dataclasses import dataclass, field
from typing import Literal

from dreamprvr.core.errors import UserError
from dreamprvr.models.gaussian import GaussianConfig
from dreamprvr.models.parts import PartSetting
from dreamprvr.models.settings import check_objective, check_settings

DIFFUSION = "dreamprvr.models.dreamprvr.registers.DiffusionRegisters"


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights and constants of the loss terms; the defaults are ActivityNet's.

    Args:
        clip_nce_weight: weight of the clip NCE.
        frame_nce_weight: weight of the frame NCE.
        diversity_weight: weight of the diversity term.
        similarity_weight: weight of the query similarity preservation.
        kl_weight: weight of the sampler's KL term.
        diffusion_weight: weight of L_dre.
        margin: margin of the two triplet terms, whose weight is 1.
        hard_negatives_from: first epoch (from 0) with hard negatives.
        hard_pool: a query's negative is drawn from this many hardest videos.
        diversity_delta: delta of the diversity term.
        diversity_alpha: alpha of the diversity term.
        diversity_gamma: gamma of the diversity term.
        similarity_temperature: tau of the query similarity preservation.
        extra: further loss terms by name, each a class with the interface of
            `dreamprvr.models.parts.LossTerm`.
    """

    clip_nce_weight: float = 0.02
    frame_nce_weight: float = 0.04
    diversity_weight: float = 0.003
    similarity_weight: float = 0.01
    kl_weight: float = 1e-4
    diffusion_weight: float = 1e-3
    margin: float = 0.2
    hard_negatives_from: int = 20
    hard_pool: int = 20
    diversity_delta: float = 0.2
    diversity_alpha: float = 32.0
    diversity_gamma: float = 1.0
    similarity_temperature: float = 0.08
    extra: dict[str, PartSetting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_objective(self)
        if self.similarity_temperature == 0:
            raise UserError("objective.similarity_temperature 0.0 must be > 0")


@dataclass(frozen=True)
class DreamPRVRConfig(GaussianConfig):
    """Settings of the network; those that all Gaussian models share are in `GaussianConfig`.

    The defaults are the published ActivityNet model. Where the paper and the published code
    differ, the default is the code's behaviour and the other value is the paper's (docs/model.md:
    C and P).

    Args:
        num_registers: R; 0 is the register-free model.
        diffusion_steps: T, steps of the truncated diffusion.
        denoiser_blocks: residual blocks of the denoiser.
        text_perturbation: relative spread of the textual perturbation sampler (section 4.6).
        initial_register: `mean` starts the diffusion from mu, repeated; `sample` (paper) from
            R samples of N(mu, exp(logvar)).
        reverse_noise: noise of a reverse step: the initial `register`, or `gaussian` (paper).
        training_noise: noise of the training target: the initial `register` at every step t,
            or `gaussian` noise at one sampled t a video (paper).
        time_table: the denoiser's frozen step table: `random` N(0, 0.02), or `sinusoidal` (paper).
        registers: class of the register sampler; see `dreamprvr.models.parts`.

    Raises:
        UserError: a value makes no network; names it and what is allowed.
    """

    num_registers: int = 4
    diffusion_steps: int = 10
    denoiser_blocks: int = 2
    text_perturbation: float = 0.1
    initial_register: Literal["mean", "sample"] = "mean"
    reverse_noise: Literal["register", "gaussian"] = "register"
    training_noise: Literal["register", "gaussian"] = "register"
    time_table: Literal["random", "sinusoidal"] = "random"
    registers: PartSetting = DIFFUSION

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(
            self, "network",
            num_registers=0, diffusion_steps=1, denoiser_blocks=1, text_perturbation=0,
        )  # fmt: skip
