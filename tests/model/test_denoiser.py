import torch
from model.tiny import CONFIG, frozen
from torch import Tensor
from torch.nn import functional as F

from dreamprvr.model.denoiser import Denoiser

SHAPE = (2, 3, 16)  # B, R, D


def denoiser() -> Denoiser:
    return frozen(Denoiser(CONFIG))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def swish(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, (16,), weight, bias)


def slow_denoiser(module: Denoiser, x: Tensor, t: int, condition: Tensor) -> Tensor:
    """One register (D,) at one step."""
    time = module.time.contract(swish(module.time.expand(module.time.table.weight[t])))
    first = module.condition_norm
    condition = module.condition_linear(norm(condition, first.weight, first.bias).clamp(min=0))
    h = x
    for block in module.blocks:
        half = block.linear_in(swish(norm(h, block.norm_in.weight, block.norm_in.bias)))
        half = half + block.time(swish(time)) + block.condition(swish(condition))
        out = block.linear_out(swish(norm(half, block.norm_out.weight, block.norm_out.bias)))
        h = out + block.shortcut(h)
    return module.output(h + x)


def test_denoiser_equals_the_slow_reference_at_every_step() -> None:
    module, condition = denoiser(), random(*SHAPE)
    x = random(CONFIG.diffusion_steps, *SHAPE)
    steps = torch.arange(CONFIG.diffusion_steps)
    ours = module(x, steps, module.guide(condition))
    for t in range(CONFIG.diffusion_steps):
        for b in range(SHAPE[0]):
            for r in range(SHAPE[1]):
                slow = slow_denoiser(module, x[t, b, r], t, condition[b, r])
                torch.testing.assert_close(ours[t, b, r], slow, rtol=0, atol=1e-12)


def test_step_can_be_one_for_all_or_one_a_video() -> None:
    module, x = denoiser(), random(*SHAPE)
    guidance = module.guide(random(*SHAPE))
    whole = module(x[None], 2, guidance)[0]
    torch.testing.assert_close(module(x, 2, guidance), whole)
    mixed = module(x, torch.tensor([2, 0]), guidance)
    torch.testing.assert_close(mixed[0], whole[0])
    torch.testing.assert_close(mixed[1], module(x, 0, guidance)[1])


def test_time_table_is_frozen_and_can_be_sinusoidal() -> None:
    module = Denoiser(CONFIG)
    module.time.set_sinusoidal()
    table = module.time.table.weight
    assert not table.requires_grad
    for t in range(CONFIG.diffusion_steps):
        for i in range(8):
            angle = torch.tensor(t / 10000 ** (2 * i / 16))
            expected = torch.stack([angle.sin(), angle.cos()])
            torch.testing.assert_close(table[t, 2 * i : 2 * i + 2], expected, rtol=0, atol=1e-6)
