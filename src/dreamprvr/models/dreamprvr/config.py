"""Settings of DreamPRVR."""

from dataclasses import dataclass
from typing import Literal

from dreamprvr.core.errors import UserError
from dreamprvr.models.gaussian import GaussianConfig, GaussianLossConfig
from dreamprvr.models.parts import PartSetting, part_path
from dreamprvr.models.settings import check_settings

DIFFUSION = "dreamprvr.models.dreamprvr.registers.DiffusionRegisters"


@dataclass(frozen=True)
class ObjectiveConfig(GaussianLossConfig):
    """Weights and constants of the loss terms; the defaults are those for ActivityNet Captions.

    Args:
        similarity_weight: weight of the query similarity preservation.
        similarity_temperature: tau of the query similarity preservation.
        kl_weight: weight of the sampler's KL term.
        diffusion_weight: weight of L_dre.
    """

    similarity_weight: float = 0.01
    similarity_temperature: float = 0.08
    kl_weight: float = 1e-4
    diffusion_weight: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.similarity_temperature == 0:
            raise UserError("objective.similarity_temperature 0.0 must be > 0")


@dataclass(frozen=True)
class DreamPRVRConfig(GaussianConfig):
    """Settings of the network; the defaults are the published model for ActivityNet Captions.

    Where the paper and the published code differ, the default is what the code does. The other
    value is marked (paper); docs/model.md marks the two as C and P.

    Args:
        num_registers: R, number of registers of a video; 0 is the model without registers.
        diffusion_steps: T, number of steps of the truncated diffusion.
        denoiser_blocks: number of residual blocks of the denoiser.
        text_perturbation: relative spread p of the textual perturbation sampler
            (docs/model.md, section 4.6).
        initial_register: with `mean`, the diffusion starts from mu, repeated; with `sample`
            (paper), from R samples of N(mu, exp(logvar)).
        reverse_noise: noise of a reverse step: the initial `register`, or `gaussian` (paper).
        training_noise: noise of the training target: the initial `register` at every step t,
            or `gaussian` noise at one drawn step t for each video (paper).
        time_table: frozen table of the denoiser's steps: `random` N(0, 0.02), or `sinusoidal`
            (paper).
        registers: class of the register sampler; see `dreamprvr.models.parts`.
    """

    clip_weight: float = 0.6
    frame_weight: float = 0.4
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
        if self.num_registers == 0 and part_path(self.registers) != DIFFUSION:
            raise UserError(
                f"network.registers {part_path(self.registers)} would never be used, since "
                "network.num_registers is 0: give a number from 1, or leave the class out"
            )
