"""Sizes and choices of the network."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin

from dreamprvr.core.text import quote
from dreamprvr.errors import UserError

LARGEST = 1_000_000  # of all numbers of a network
MOST_BRANCHES = 1000  # Gaussian attention branches


@dataclass(frozen=True)
class NetworkConfig:
    """Every hyper-parameter of the network but the feature sizes, which the data set knows.

    The defaults are the published ActivityNet model. Where the paper and the published code
    differ, the default is the code's behaviour and the other value is the paper's (model.md: C, P).

    Args:
        hidden_size: D, the width of every token.
        num_heads: attention heads; divides `hidden_size`.
        num_clips: M_c, clips that a video is pooled to.
        max_frames: M_f, frames that a longer video is pooled to.
        max_words: words of a caption that are read.
        num_registers: R; 0 is the register-free model.
        diffusion_steps: T, steps of the truncated diffusion.
        denoiser_blocks: residual blocks of the denoiser.
        gaussian_widths: one Gaussian attention branch each, beside the plain one (section 5).
        softmax_temperature: of the softmax over branches in the adaptive aggregation.
        dropout: inside attention blocks and after position embeddings.
        input_dropout: in the input projections.
        clip_weight: w_c of the score (section 6).
        frame_weight: w_f of the score.
        text_perturbation: relative spread of the textual perturbation sampler (section 4.6).
        initial_register: `mean` starts the diffusion from mu, repeated; `sample` (paper) from
            R samples of N(mu, exp(logvar)).
        reverse_noise: noise of a reverse step: the initial `register`, or `gaussian` (paper).
        training_noise: noise of the training target: the initial `register` at every step t,
            or `gaussian` noise at one sampled t a video (paper).
        time_table: the denoiser's frozen step table: `random` N(0, 0.02), or `sinusoidal` (paper).
        padded_frames: padding takes part in the maximum over frames with score 0 (`zero`) or
            never wins (`ignore`, score -inf; paper).

    Raises:
        UserError: a value makes no network; names it and what is allowed.
    """

    hidden_size: int = 384
    num_heads: int = 4
    num_clips: int = 32
    max_frames: int = 128
    max_words: int = 30
    num_registers: int = 4
    diffusion_steps: int = 10
    denoiser_blocks: int = 2
    gaussian_widths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    softmax_temperature: float = 0.6
    dropout: float = 0.31
    input_dropout: float = 0.31
    clip_weight: float = 0.6
    frame_weight: float = 0.4
    text_perturbation: float = 0.1
    initial_register: Literal["mean", "sample"] = "mean"
    reverse_noise: Literal["register", "gaussian"] = "register"
    training_noise: Literal["register", "gaussian"] = "register"
    time_table: Literal["random", "sinusoidal"] = "random"
    padded_frames: Literal["zero", "ignore"] = "zero"

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(f"network.{field.name}", field.type, getattr(self, field.name))
        least = {
            "hidden_size": 2, "num_heads": 1, "num_registers": 0, "diffusion_steps": 1,
            "num_clips": 1, "max_frames": 1, "max_words": 1, "denoiser_blocks": 1,
            "clip_weight": 0, "frame_weight": 0, "text_perturbation": 0,
        }  # fmt: skip
        for name, smallest in least.items():
            if not getattr(self, name) >= smallest:  # NaN is refused too
                raise UserError(f"network.{name} is {getattr(self, name)}; at least {smallest}")
        if self.hidden_size % self.num_heads:
            raise UserError(
                f"network.hidden_size {self.hidden_size} is not a multiple of "
                f"network.num_heads {self.num_heads}"
            )
        if self.hidden_size % 2:
            raise UserError(f"network.hidden_size {self.hidden_size} must be even")
        if not self.softmax_temperature > 0:
            raise UserError(f"network.softmax_temperature {self.softmax_temperature} must be > 0")
        for name in ("dropout", "input_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"network.{name} is {getattr(self, name)}; from 0 to below 1")
        if not all(width > 0 for width in self.gaussian_widths):
            raise UserError(f"network.gaussian_widths {self.gaussian_widths} must all be > 0")


def _check_type(name: str, kind: Any, value: Any) -> None:
    """Refuse a value of another type, and a number that no network has.

    Args:
        name: of the setting, for the message.
        kind: the annotation of the setting.
        value: what is given, of any type.

    Raises:
        UserError: names the setting, the value and what is allowed.
    """
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"{name} is {quote(value)}; one of {', '.join(get_args(kind))}")
    elif get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list)) or len(value) > MOST_BRANCHES:
            raise UserError(f"{name} is {quote(value)}; up to {MOST_BRANCHES} numbers")
        for width in value:
            _check_type(name, float, width)
    else:
        allowed = int if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, allowed):
            what = "a whole number" if kind is int else "a number"
            raise UserError(f"{name} is {quote(value)}; it must be {what}")
        if abs(value) > LARGEST:
            raise UserError(f"{name} is {quote(value)}; at most {LARGEST:,}")
