import math

import pytest
import torch
from models.tiny import CONFIG, frozen
from torch import Tensor
from torch.nn import functional as F

from dreamprvr.models.dreamprvr.diffusion import Denoiser, Diffusion, cosine_betas

STEPS = [1, 2, 5, 10]


def slow_betas(steps: int) -> list[float]:
    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    return [min(1 - alpha_bar((t + 1) / steps) / alpha_bar(t / steps), 0.999) for t in range(steps)]


def slow_alpha_bar(steps: int) -> list[float]:
    """Compute abar of the steps 0 to T - 1, then 1: index -1 is before the first step."""
    products = [1.0]
    for beta in slow_betas(steps):
        products.append(products[-1] * (1 - beta))
    return [*products[1:], 1.0]


def denoise(x: Tensor, step: Tensor) -> Tensor:
    return torch.tanh(x + step)


def slow_reverse(x: Tensor, steps: int, noise: list[Tensor]) -> Tensor:
    """From the book (DDPM, equations 6, 7 and 15), one step after the other."""
    beta, abar = slow_betas(steps), slow_alpha_bar(steps)
    for t in range(steps - 1, -1, -1):
        eps = denoise(x, torch.tensor([t]))
        start = ((x - math.sqrt(1 - abar[t]) * eps) / math.sqrt(abar[t])).clamp(-1, 1)
        mean = (
            math.sqrt(abar[t - 1]) * beta[t] / (1 - abar[t]) * start
            + math.sqrt(1 - beta[t]) * (1 - abar[t - 1]) / (1 - abar[t]) * x
        )
        variance = beta[t] * (1 - abar[t - 1]) / (1 - abar[t])
        x = mean + math.sqrt(variance) * noise.pop(0) if t > 0 else mean
    return x


@pytest.mark.parametrize("steps", STEPS)
def test_betas_follow_the_cosine_schedule(steps: int) -> None:
    betas = cosine_betas(steps)
    assert betas.tolist() == pytest.approx(slow_betas(steps), rel=1e-9)
    assert betas[-1] == 0.999
    assert (betas > 0).all()


@pytest.mark.parametrize("steps", STEPS)
def test_forward_process_keeps_unit_variance(steps: int) -> None:
    diffusion, abar = Diffusion(steps), slow_alpha_bar(steps)
    for t in range(steps):
        assert float(diffusion.signal[t]) == pytest.approx(math.sqrt(abar[t]), rel=1e-6)
        assert float(diffusion.noise[t]) == pytest.approx(math.sqrt(1 - abar[t]), rel=1e-6)
    torch.testing.assert_close(diffusion.signal**2 + diffusion.noise**2, torch.ones(steps))


def test_add_noise_at_a_step_a_video() -> None:
    diffusion, start, noise = Diffusion(4), torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    noisy = diffusion.add_noise(start, noise, torch.tensor([3, 1]).view(-1, 1, 1))
    abar = slow_alpha_bar(4)
    for video, t in enumerate([3, 1]):
        expected = math.sqrt(abar[t]) * start[video] + math.sqrt(1 - abar[t]) * noise[video]
        torch.testing.assert_close(noisy[video], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", STEPS)
def test_chain_equals_the_slow_reference(steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    initial, z = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator)
    ours = Diffusion(steps).double().reverse(denoise, initial, z)
    # the constants are float32; the clamp hides the steep first step's rounding
    torch.testing.assert_close(ours, slow_reverse(initial, steps, [z] * steps), rtol=0, atol=2e-6)


@pytest.mark.parametrize("steps", STEPS)
def test_gaussian_noise_is_drawn_anew_each_step(steps: int) -> None:
    initial = torch.randn(2, 3, 4)
    torch.manual_seed(5)
    noise = [torch.randn_like(initial) for _ in range(steps - 1)]
    torch.manual_seed(5)
    ours = Diffusion(steps).reverse(denoise, initial, None)
    torch.testing.assert_close(ours, slow_reverse(initial, steps, noise), rtol=0, atol=1e-5)


def test_one_step_is_the_clamped_start_and_draws_nothing() -> None:
    initial = torch.full((1, 1, 2), 0.01)
    before = torch.get_rng_state()
    found = Diffusion(1).reverse(lambda x, t: x, initial, None)
    assert torch.equal(before, torch.get_rng_state())
    abar = 0.001
    expected = 0.01 * (1 - math.sqrt(1 - abar)) / math.sqrt(abar)
    torch.testing.assert_close(found, torch.full_like(found, expected), rtol=1e-4, atol=0)
    far = Diffusion(1).reverse(lambda x, t: -x, torch.ones(1, 1, 2), None)
    torch.testing.assert_close(far, torch.ones(1, 1, 2))


def test_gradients_flow_through_the_whole_chain() -> None:
    diffusion = Diffusion(3).double()
    initial = 0.01 * torch.randn(1, 2, 2, dtype=torch.float64)
    scale = torch.full((3,), 0.02, dtype=torch.float64, requires_grad=True)

    def chain(scale: Tensor, initial: Tensor) -> Tensor:
        return diffusion.reverse(lambda x, t: scale[t] * x, initial, initial)

    assert torch.autograd.gradcheck(chain, (scale, initial.requires_grad_()))
    (gradient,) = torch.autograd.grad(chain(scale, initial).square().sum(), scale)
    assert (gradient != 0).all()  # every step's denoiser is reached


def test_constants_are_no_part_of_a_checkpoint() -> None:
    assert not Diffusion(4).state_dict()


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
