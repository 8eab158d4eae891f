import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.layers.basic import (
    Dropout,
    FeedForward,
    InputProjection,
    LayerNorm,
    PositionEmbedding,
    at_least_float32,
    parameter_groups,
    sinusoidal_table,
)
from dreamprvr.training.optimizer import BertAdam


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(dtype: torch.dtype) -> None:
    assert at_least_float32(torch.ones(1, dtype=dtype)).dtype == torch.float32
    assert LayerNorm(4)(torch.randn(2, 4).to(dtype)).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_and_float64_stay(dtype: torch.dtype) -> None:
    x = torch.ones(1, dtype=dtype)
    assert at_least_float32(x) is x


def test_layer_norm() -> None:
    norm, x = LayerNorm(3), torch.tensor([[1.0, 2.0, 6.0]])
    norm.weight.data = torch.tensor([1.0, 2.0, 3.0])
    norm.bias.data = torch.tensor([0.0, 0.5, 0.0])
    deviation = math.sqrt((4 + 1 + 9) / 3 + 1e-5)
    expected = torch.tensor([[-2 / deviation, -2 / deviation + 0.5, 9 / deviation]])
    torch.testing.assert_close(norm(x), expected)


def test_input_projection_order() -> None:
    projection, x = InputProjection(4, 6, dropout=0.5), torch.randn(3, 4)
    projection.linear.bias.data.normal_()
    normed = F.layer_norm(x, (4,))
    torch.testing.assert_close(projection.eval()(x), F.relu(projection.linear(normed)))
    projection.train()
    torch.manual_seed(1)
    dropped = F.relu(projection.linear(projection.dropout(normed)))  # before the Linear
    torch.manual_seed(1)
    torch.testing.assert_close(projection(x), dropped)


def test_position_embedding_takes_the_first_rows() -> None:
    position, x = PositionEmbedding(5, 4, dropout=0.0), torch.randn(2, 3, 4)
    for i in range(3):
        expected = F.layer_norm(x[:, i] + position.embedding.weight[i], (4,))
        torch.testing.assert_close(position(x)[:, i], expected)


def test_feed_forward() -> None:
    ffn, x = FeedForward(4, 3, dropout=0.5).eval(), torch.randn(2, 4)
    assert ffn.expand.weight.shape == (12, 4)
    torch.testing.assert_close(ffn(x), ffn.contract(ffn.expand(x).clamp(min=0)))


def test_sinusoidal_table_interleaves_sines_and_cosines() -> None:
    table = sinusoidal_table(7, 6)
    for position in range(7):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert float(table[position, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(table[position, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-6)


CONFIG = DreamPRVRConfig(hidden_size=64, num_clips=8, max_frames=16, gaussian_widths=(1.0,))


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


def test_initial_weights_of_linears_and_embeddings() -> None:
    assert len(modules(nn.Linear)) > 50
    assert len(modules(nn.Embedding)) == 4  # three position tables and the time table
    for module in modules(nn.Linear) + modules(nn.Embedding):
        assert_normal(module.weight, 0.02)
        if getattr(module, "bias", None) is not None:
            assert not module.bias.any()


def test_initial_weights_of_layer_norms() -> None:
    assert len(modules(nn.LayerNorm)) > 20
    for module in modules(nn.LayerNorm):
        assert (module.weight == 1).all()
        assert not module.bias.any()


def test_initial_weights_of_the_pooling_gru() -> None:
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


with torch.device("meta"):
    NETWORK = DreamPRVR(1024, 1024)
DECAYED, EXEMPT = parameter_groups(NETWORK)
NAMES = {parameter: name for name, parameter in NETWORK.named_parameters()}


def test_biases_and_the_norms_of_projections_and_positions_are_not_decayed() -> None:
    names = {NAMES[parameter] for parameter in EXEMPT["params"]}
    gru = "register_sampler.variational.pooling.gru"
    assert {name for name in names if not name.endswith(".bias")} == {
        "query_encoder.projection.norm.weight",
        "query_encoder.position.norm.weight",
        "clip_projection.norm.weight",
        "clip_position.norm.weight",
        "frame_projection.norm.weight",
        "frame_position.norm.weight",
        "clip_encoder.register_projection.norm.weight",
        "frame_encoder.register_projection.norm.weight",
        f"{gru}.bias_ih_l0",
        f"{gru}.bias_hh_l0",
        f"{gru}.bias_ih_l0_reverse",
        f"{gru}.bias_hh_l0_reverse",
    }
    assert EXEMPT["weight_decay"] == 0


def test_no_bias_is_decayed_but_other_norms_are() -> None:
    names = {NAMES[parameter] for parameter in DECAYED["params"]}
    assert not [name for name in names if "bias" in name.rsplit(".")[-1]]
    assert names >= {
        "query_encoder.block.attention_norm.weight",
        "clip_encoder.branches.3.ffn_norm.weight",
        "register_sampler.variational.mean_norm.weight",
        "register_sampler.denoiser.condition_norm.weight",
        "register_sampler.denoiser.blocks.1.norm_out.weight",
        "register_sampler.query_tokens",
        "clip_position.embedding.weight",
    }
    assert "weight_decay" not in DECAYED


def test_every_trainable_parameter_is_in_one_group() -> None:
    grouped = [NAMES[parameter] for parameter in DECAYED["params"] + EXEMPT["params"]]
    trainable = [name for name, p in NETWORK.named_parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)
    assert set(NAMES.values()) - set(grouped) == {"register_sampler.denoiser.time.table.weight"}


def test_decayed_group_takes_the_optimisers_decay() -> None:
    optimizer = BertAdam(parameter_groups(NETWORK), weight_decay=0.123)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.123, 0.0]


# Dropout

COUNT = 200_001  # no multiple of the four masks in a random word


def dropped_entries(p: float, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return Dropout(p)(torch.ones(COUNT)) == 0


@pytest.mark.parametrize("p", [0.001, 0.2, 0.31, 0.5, 0.9])
def test_dropout_drops_its_share_and_scales_the_rest(p: float) -> None:
    torch.manual_seed(0)
    found = Dropout(p)(torch.ones(COUNT))
    share = (found == 0).double().mean().item()
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / COUNT) + 2**-16
    assert found[found != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-3)


def test_dropped_entries_are_independent() -> None:
    dropped = dropped_entries(0.31).double()
    for lag in range(1, 9):  # four entries share a random word
        pairs = torch.stack([dropped[lag:], dropped[:-lag]])
        assert abs(torch.corrcoef(pairs)[0, 1]) < 5 / math.sqrt(COUNT)
    for offset in range(4):
        share = dropped[offset::4].mean().item()
        assert abs(share - 0.31) < 5 * math.sqrt(0.31 * 0.69 / (COUNT / 4))


def test_dropout_draws_a_new_mask_each_time() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.5)
    first, second = dropout(torch.ones(COUNT)), dropout(torch.ones(COUNT))
    assert not torch.equal(first, second)
    assert torch.equal(first == 0, dropped_entries(0.5))


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_dropped_with_zero_or_in_evaluation(training: bool) -> None:
    x = torch.randn(3, 4)
    assert Dropout(0.0).train(training)(x) is x
    assert Dropout(0.5).eval()(x) is x


def test_everything_is_dropped_with_probability_one() -> None:
    assert not Dropout(1.0)(torch.randn(3, 4)).any()


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dropout_keeps_shape_and_type(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert (found.shape, found.dtype) == (shape, dtype)
    assert ((found == 0) | (found == 2)).all()


def test_the_gradient_of_dropout_has_the_same_mask() -> None:
    x = torch.randn(50, requires_grad=True)
    found = Dropout(0.5)(x)
    found.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad * x.detach(), found.detach())


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_number_that_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        Dropout(p)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_relu_and_dropout_in_one_equal_both_in_turn(p: float) -> None:
    x = torch.linspace(-1, 1, 1001)
    x[3] = 0.0
    values = []
    for function in (Dropout(p).relu, lambda y: Dropout(p)(torch.relu(y))):
        torch.manual_seed(0)
        inputs = x.clone().requires_grad_()
        output = function(inputs)
        (gradient,) = torch.autograd.grad(output.sum(), inputs)
        values.append((output.detach(), gradient))
    assert torch.equal(values[0][0], values[1][0])
    assert torch.equal(values[0][1], values[1][1])
