import pytest
import torch
from models.tiny import frozen, stir
from torch import Tensor, nn

from dreamprvr.models.layers import parallel as branches
from dreamprvr.models.layers.attention import AttentionBlock
from dreamprvr.models.layers.basic import LayerNorm
from dreamprvr.models.layers.parallel import ParallelBlocks, grouped_linear, grouped_norm

GENERATOR = torch.Generator().manual_seed(0)
TOKENS = torch.randn(2, 4, 8, dtype=torch.float64, generator=GENERATOR)
CONTEXT = torch.randn(2, 6, 8, dtype=torch.float64, generator=GENERATOR)
WINDOWS = torch.rand(3, 4, 6, dtype=torch.float64, generator=GENERATOR)
MASK = torch.tensor([[1.0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1]], dtype=torch.float64)


def parallel(dropout: float = 0.0) -> ParallelBlocks:
    torch.manual_seed(0)
    module = ParallelBlocks([AttentionBlock(8, 2, dropout) for _ in range(3)]).double()
    stir(module)
    return module


def gradients(module: ParallelBlocks, output: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(output.square().sum(), list(module.parameters())))


@pytest.mark.parametrize("at_once", ["one", "all"])
@pytest.mark.parametrize("masked", [True, False])
def test_parallel_blocks_equal_one_block_after_the_other(
    at_once: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        branches, "blocks_at_once", lambda device, number: {"one": 1}.get(at_once, number)
    )
    module, mask = parallel(), MASK if masked else None
    found = module(TOKENS, CONTEXT, mask, WINDOWS)
    expected = torch.stack(
        [block(TOKENS, CONTEXT, mask, window) for block, window in zip(module, WINDOWS)]  # noqa: B905
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(gradients(module, found), gradients(module, expected), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_names_are_those_of_a_plain_list() -> None:
    names = {name.split(".", 1)[0] for name, _ in parallel().named_parameters()}
    assert names == {"0", "1", "2"}
    assert set(parallel()[0].state_dict()) == set(AttentionBlock(8, 2, 0.0).state_dict())


@pytest.mark.parametrize("at_once", [1, 3])
def test_dropout_differs_between_branches(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "blocks_at_once", lambda device, number: at_once)
    module = parallel(dropout=0.5)
    for block in module:
        block.load_state_dict(module[0].state_dict())
    same = WINDOWS[:1].expand_as(WINDOWS)
    found = module.train()(TOKENS, CONTEXT, None, same)
    assert not torch.allclose(found[0], found[1])
    found = module.eval()(TOKENS, CONTEXT, None, same)
    torch.testing.assert_close(found[0], found[1])


X = torch.randn(3, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_grouped_linear_equals_one_layer_after_the_other(groups: int) -> None:
    layers = [frozen(nn.Linear(6, 5)) for _ in range(groups)]
    for g, layer in enumerate(layers):
        layer.weight += g
    expected = torch.stack([layer(X[g]) for g, layer in enumerate(layers)])
    torch.testing.assert_close(grouped_linear(X[:groups], layers), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_grouped_norm_equals_one_layer_after_the_other(groups: int) -> None:
    norms = [frozen(LayerNorm(6)) for _ in range(groups)]
    for g, norm in enumerate(norms):
        norm.weight += g
        norm.bias -= g
    expected = torch.stack([norm(X[g]) for g, norm in enumerate(norms)])
    torch.testing.assert_close(grouped_norm(X[:groups], norms), expected, rtol=0, atol=1e-12)


def test_grouped_norm_stays_in_float32() -> None:
    norms = [LayerNorm(6), LayerNorm(6)]
    found = grouped_norm(X[:2].bfloat16(), norms)
    assert found.dtype == torch.float32
    exact = torch.stack([norm(X[g].bfloat16().float()) for g, norm in enumerate(norms)])
    torch.testing.assert_close(found, exact)
