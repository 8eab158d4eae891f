import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from dreamprvr.model.config import NetworkConfig
from dreamprvr.model.layers import sinusoidal_table
from dreamprvr.model.network import DreamPRVR

CONFIG = NetworkConfig(hidden_size=64, num_clips=8, max_frames=16, gaussian_widths=(1.0,))


@cache
def network() -> DreamPRVR:
    torch.manual_seed(0)
    return DreamPRVR(24, 20, CONFIG)


def assert_normal(weight: torch.Tensor, deviation: float) -> None:
    """Mean and standard deviation within five standard errors."""
    count = weight.numel()
    assert abs(weight.mean()) < 5 * deviation / math.sqrt(count)
    assert abs(weight.std() / deviation - 1) < 5 / math.sqrt(2 * count)


def modules(kind: type[nn.Module]) -> list[nn.Module]:
    return [module for module in network().modules() if isinstance(module, kind)]


def test_linears_and_embeddings() -> None:
    assert len(modules(nn.Linear)) > 50
    assert len(modules(nn.Embedding)) == 4  # three position tables and the time table
    for module in modules(nn.Linear) + modules(nn.Embedding):
        assert_normal(module.weight, 0.02)
        if getattr(module, "bias", None) is not None:
            assert not module.bias.any()


def test_layer_norms() -> None:
    assert len(modules(nn.LayerNorm)) > 20
    for module in modules(nn.LayerNorm):
        assert (module.weight == 1).all()
        assert not module.bias.any()


def test_pooling_gru() -> None:
    (gru,) = modules(nn.GRU)
    for suffix in ("l0", "l0_reverse"):
        inputs = getattr(gru, f"weight_ih_{suffix}")  # (3 x 32, 32), Xavier uniform
        bound = math.sqrt(6 / (32 + 96))
        assert inputs.abs().max() <= bound
        assert inputs.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        hidden = getattr(gru, f"weight_hh_{suffix}")
        torch.testing.assert_close(hidden.T @ hidden, torch.eye(32), rtol=0, atol=1e-5)
        for bias in (f"bias_ih_{suffix}", f"bias_hh_{suffix}"):
            assert not getattr(gru, bias).any()


def test_query_tokens_are_standard_normal() -> None:
    sampler = network().register_sampler
    assert sampler is not None
    assert_normal(sampler.query_tokens, 1.0)


def test_time_table_is_frozen_noise_or_sinusoidal() -> None:
    sampler = network().register_sampler
    assert sampler is not None
    assert_normal(sampler.denoiser.time.table.weight, 0.02)
    frozen = [name for name, p in network().named_parameters() if not p.requires_grad]
    assert frozen == ["register_sampler.denoiser.time.table.weight"]

    paper = DreamPRVR(24, 20, replace(CONFIG, time_table="sinusoidal")).register_sampler
    assert paper is not None
    table = paper.denoiser.time.table.weight
    assert torch.equal(table, sinusoidal_table(CONFIG.diffusion_steps, 64))
    assert not table.requires_grad


def test_every_parameter_has_a_rule() -> None:
    ruled = {
        id(p)
        for kind in (nn.Linear, nn.Embedding, nn.LayerNorm, nn.GRU)
        for module in modules(kind)
        for p in module.parameters()
    }
    rest = [name for name, p in network().named_parameters() if id(p) not in ruled]
    assert rest == ["register_sampler.query_tokens"]
