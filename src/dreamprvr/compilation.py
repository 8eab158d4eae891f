"""torch.compile for a training step: encoders, register sampler and objective, one graph each."""

import shutil
from typing import Any

import torch

from dreamprvr.errors import UserError
from dreamprvr.model.network import DreamPRVR
from dreamprvr.objective.objective import Objective

COMPILERS = ("c++", "g++", "clang++", "cl")


def compile_step(
    network: DreamPRVR, objective: Objective, backend: str = "inductor", fused: bool = False
) -> None:
    """Compile the parts of a training step in place; the state dict stays as it is.

    Captions are ragged, so what sees them takes any number of them and of words in one graph; the
    rest is compiled once for each batch size, and once more for evaluation.

    Args:
        network: its encoders and register sampler are compiled.
        objective: with random and with hard negatives: two graphs.
        backend: of torch.compile.
        fused: attention branches through FlexAttention (`model.fused_attention`).

    Raises:
        UserError: on the CPU where no C++ compiler is found.
    """
    device = next(network.parameters()).device.type
    if backend == "inductor" and device == "cpu" and not any(map(shutil.which, COMPILERS)):
        raise UserError("model.compile needs a C++ compiler on the CPU, and none is installed")
    options: dict[str, Any] = {"fullgraph": True, "backend": backend}
    network.query_encoder.compile(dynamic=True, **options)
    objective.compile(dynamic=True, **options)
    for encoder in (network.clip_encoder, network.frame_encoder):
        encoder.branches.fused = fused
        encoder.compile(**options)
    sampler = network.register_sampler
    if sampler is not None:  # its GRU, which depends on no video, stays outside
        for name in ("sample", "diffusion_target"):
            setattr(sampler, name, torch.compile(getattr(sampler, name), **options))
