"""Golden vectors of the published implementation, with the parameter names of this project."""

import json
from functools import cache
from typing import Any

from safetensors.torch import load_file
from shared import REFERENCE
from torch import Tensor

from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.dreamprvr.published import FORMAT


@cache
def settings() -> dict[str, Any]:
    return json.loads((REFERENCE / "tiny.json").read_text())


@cache
def _tensors() -> dict[str, Tensor]:
    return load_file(REFERENCE / "tiny.safetensors")


def group(prefix: str) -> dict[str, Tensor]:
    """Return the tensors below `prefix/`, with parameters renamed."""
    tensors = {
        k.removeprefix(prefix + "/"): v for k, v in _tensors().items() if k.startswith(prefix + "/")
    }
    return {FORMAT.to_ours(k): v for k, v in tensors.items()} if prefix in PARAMETERS else tensors


PARAMETERS = {"state", "grad", "after"}


def network_config() -> DreamPRVRConfig:
    c = settings()["config"]
    return DreamPRVRConfig(
        hidden_size=c["hidden_size"],
        num_heads=c["n_heads"],
        num_clips=c["map_size"],
        max_frames=c["max_ctx_l"],
        max_words=c["max_desc_l"],
        num_registers=c["num_registers"],
        diffusion_steps=c["timesteps"],
        denoiser_blocks=c["num_diffusion_layers"],
        softmax_temperature=c["sft_factor"],
        dropout=c["drop"],
        input_dropout=c["input_drop"],
        clip_weight=c["clip_scale_w"],
        frame_weight=c["frame_scale_w"],
        text_perturbation=0.0,
    )


def network() -> DreamPRVR:
    """Return the tiny network with the weights before training."""
    c = settings()["config"]
    model = DreamPRVR(c["visual_feat_dim"], c["q_feat_size"], network_config())
    model.load_state_dict(group("state"))
    return model.eval()
