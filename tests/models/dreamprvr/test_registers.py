import math

import pytest
import torch
from golden import group
from golden import network as golden_network
from models.tiny import CONFIG, condition_of, network
from shared import needs_reference
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from dreamprvr.models.dreamprvr.network import mean_per_video
from dreamprvr.models.dreamprvr.registers import (
    DiffusionRegisters,
    LearnedRegisters,
    PooledRegisters,
    RegisterSample,
    denoising_error,
    kl_to_standard_normal,
    perturb_text,
)

CLIPS = torch.randn(3, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TEXT = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def sampler(**changes: object) -> DiffusionRegisters:
    module = network(**changes).register_sampler
    assert isinstance(module, DiffusionRegisters)
    return module.requires_grad_(False)


def sampled(module: DiffusionRegisters, clips: Tensor) -> RegisterSample:
    sample: RegisterSample = module(clips).context
    return sample


def golden_sample(dtype: torch.dtype) -> tuple[DiffusionRegisters, Tensor]:
    """The golden sampler and the registers that it makes of the golden clips."""
    model, clips = golden_network().to(dtype), group("in")["clips"].to(dtype)
    module = model.register_sampler
    assert isinstance(module, DiffusionRegisters)
    with torch.no_grad():
        return module, module(model.embed_clips(clips)).registers


# The first reverse step multiplies x_T by 1 / sqrt(abar_T), here about 103, and with it the
# rounding of mu. So the golden float32 registers, ours in float32 and ours in float64 are up to
# 3e-5 apart, by chance more or less with every change of the order of operations. Hence a wider
# tolerance end to end, and a tight one for the chain alone from the same start.


@needs_reference
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_golden_registers(dtype: torch.dtype) -> None:
    registers = golden_sample(dtype)[1].float()
    torch.testing.assert_close(registers, group("eval")["registers"], rtol=0, atol=4e-5)


@needs_reference
@torch.no_grad()
def test_chain_from_the_golden_start() -> None:
    module, golden = golden_sample(torch.float32)[0], group("eval")
    initial = golden["mu"][:, None].expand_as(golden["registers"])
    guidance = module.denoiser.guide(golden["condition"])
    ours = module.diffusion.reverse(lambda x, t: module.denoiser(x, t, guidance), initial, initial)
    # the first step multiplies rounding by 103: a product of T rows instead of one row at a time
    # moves one entry of 576 from 4e-6 to 1.3e-5
    torch.testing.assert_close(ours, golden["registers"], rtol=0, atol=2e-5)


@needs_reference
def test_float32_is_close_to_float64() -> None:
    exact = golden_sample(torch.float64)[1].float()
    torch.testing.assert_close(golden_sample(torch.float32)[1], exact, rtol=0, atol=4e-5)


@needs_reference
@torch.no_grad()
def test_golden_predicted_noise() -> None:
    model, inputs = golden_network(), group("in")
    sampler = model.register_sampler
    assert isinstance(sampler, DiffusionRegisters)
    query = model.encode_queries(inputs["text"], inputs["text_mask"]).embedding
    text = torch.stack([query[inputs["labels"] == video].mean(0) for video in range(6)])
    target = sampler.diffusion_target(sampled(sampler, model.embed_clips(inputs["clips"])), text)
    golden = group("train")["predicted_noise"]
    torch.testing.assert_close(target.predicted, golden, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("registers", [1, 2])
def test_a_sample_is_made_by_the_parts_of_the_sampler(steps: int, registers: int) -> None:
    module = sampler(num_registers=registers, diffusion_steps=steps)
    sample = sampled(module, CLIPS)
    guidance = module.denoiser.guide(condition_of(module, CLIPS))
    torch.testing.assert_close(sample.guidance, guidance)
    torch.testing.assert_close(
        (sample.mu, sample.logvar),
        module.variational(module.summary(CLIPS), module.variational.rank_weights()),
    )
    assert sample.registers.shape == sample.initial.shape == (3, registers, 16)


def test_published_start_is_the_mean_and_draws_nothing() -> None:
    module = sampler()
    before = torch.get_rng_state()
    sample = sampled(module, CLIPS)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(sample.initial, sample.mu[:, None].expand(-1, 2, -1))
    assert torch.equal(module(CLIPS).registers, sample.registers)


def test_sampled_start() -> None:
    module = sampler(initial_register="sample", num_registers=4000, diffusion_steps=1)
    sample = sampled(module.train(), CLIPS[:1])
    standard = (sample.initial - sample.mu[:, None]) / torch.exp(0.5 * sample.logvar[:, None])
    assert standard.mean(1).abs().max() < 5 / 4000**0.5
    assert (standard.std(1) - 1).abs().max() < 5 / 8000**0.5
    assert not torch.equal(sampled(module, CLIPS[:1]).initial, sample.initial)


@pytest.mark.parametrize("noise", ["register", "gaussian"])
def test_noise_of_the_reverse_steps(noise: str) -> None:
    module = sampler(reverse_noise=noise)
    torch.manual_seed(3)
    sample = sampled(module, CLIPS)
    torch.manual_seed(3)
    expected = module.diffusion.reverse(
        lambda x, t: module.denoiser(x, t, sample.guidance),
        sample.initial,
        sample.initial if noise == "register" else None,
    )
    torch.testing.assert_close(sample.registers, expected)
    assert torch.equal(module(CLIPS).registers, sample.registers) == (noise == "register")


def slow_prediction(
    module: DiffusionRegisters, video: int, start: Tensor, eps: Tensor, t: int
) -> Tensor:
    """Predict the noise of one video at one step, (R, D)."""
    noisy = module.diffusion.signal[t] * start + module.diffusion.noise[t] * eps
    guidance = module.denoiser.guide(condition_of(module, CLIPS[video : video + 1]))
    return module.denoiser(noisy[None], t, guidance)[0]


def standardised_text(video: int) -> Tensor:
    row = TEXT[video]
    return (row - row.mean()) / (row.var(correction=0) + 1e-5).sqrt() + row.mean()


def test_published_target_takes_every_step_and_the_register_as_noise() -> None:
    module = sampler()
    sample = sampled(module, CLIPS)
    target = module.diffusion_target(sample, TEXT)
    assert target.predicted.shape == target.noise.shape == (3, 3, 2, 16)  # (T, B, R, D)
    for t in range(CONFIG.diffusion_steps):
        for video in range(3):
            eps = sample.initial[video]
            assert torch.equal(target.noise[t, video], eps)
            slow = slow_prediction(module, video, standardised_text(video).expand(2, -1), eps, t)
            torch.testing.assert_close(target.predicted[t, video], slow)


def test_gaussian_target_takes_one_step_a_video() -> None:
    module = sampler(training_noise="gaussian")
    sample, seen = sampled(module, CLIPS), set()
    for _ in range(20):
        target = module.diffusion_target(sample, TEXT)
        assert target.predicted.shape == target.noise.shape == (1, 3, 2, 16)
        start, eps = standardised_text(0).expand(2, -1), target.noise[0, 0]
        errors = [
            (slow_prediction(module, 0, start, eps, t) - target.predicted[0, 0]).abs().max().item()
            for t in range(CONFIG.diffusion_steps)
        ]
        assert min(errors) < 1e-10
        seen.add(errors.index(min(errors)))
    assert seen == set(range(CONFIG.diffusion_steps))


def test_gaussian_target_noise_is_standard_normal() -> None:
    module = sampler(training_noise="gaussian", num_registers=2000, diffusion_steps=1)
    noise = module.diffusion_target(sampled(module, CLIPS), TEXT).noise
    assert abs(noise.mean()) < 5 / noise.numel() ** 0.5
    assert abs(noise.std() - 1) < 5 / (2 * noise.numel()) ** 0.5


def test_gradients_reach_both_sides_of_the_target() -> None:
    module = network().register_sampler
    assert isinstance(module, DiffusionRegisters)
    clips, text = CLIPS.clone().requires_grad_(), TEXT.clone().requires_grad_()
    sample = sampled(module, clips)
    predicted, noise = module.diffusion_target(sample, text)
    for output, source in ((predicted, clips), (predicted, text), (noise, clips)):
        (gradient,) = torch.autograd.grad(output.square().sum(), source, retain_graph=True)
        assert (gradient.abs().sum(-1) > 0).all()


def test_losses_are_one_value_a_video() -> None:
    module = sampler()
    registers = module(CLIPS)
    found = module.losses(registers, TEXT)
    target = module.diffusion_target(registers.context, TEXT)
    assert found.keys() == {"kl", "diffusion"}
    torch.testing.assert_close(found["diffusion"], denoising_error(*target))
    sample = registers.context
    torch.testing.assert_close(found["kl"], kl_to_standard_normal(sample.mu, sample.logvar))


def test_pooled_registers_are_means_of_equal_parts() -> None:
    found = PooledRegisters(CONFIG)(CLIPS)
    for register in range(2):
        expected = CLIPS[:, 2 * register : 2 * register + 2].mean(dim=1)
        torch.testing.assert_close(found.registers[:, register], expected)
    assert PooledRegisters(CONFIG).losses(found, TEXT) == {}


def test_learned_registers_are_the_same_for_every_video() -> None:
    module = LearnedRegisters(CONFIG)
    found = module(CLIPS).registers
    assert found.shape == (3, 2, 16)
    assert all(torch.equal(each, module.tokens[0]) for each in found)


ROWS = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) + 0.5


def slow_standardised(row: Tensor) -> Tensor:
    mean = sum(row) / len(row)
    variance = sum((value - mean) ** 2 for value in row) / len(row)
    return torch.stack([(value - mean) / (variance + 1e-5) ** 0.5 for value in row])


@needs_reference
def test_golden_target() -> None:
    labels = group("in")["labels"]
    text = mean_per_video(group("eval")["query"], labels, 6)
    x0 = group("train")["x0"]
    torch.testing.assert_close(perturb_text(text, x0.shape[1], 0.0), x0, rtol=0, atol=1e-5)


def test_variants_without_perturbation_are_the_standardised_text() -> None:
    variants = perturb_text(ROWS, 3, 0.0)
    assert variants.shape == (2, 3, 6)
    for b in range(2):
        expected = slow_standardised(ROWS[b]) + ROWS[b].mean()
        for r in range(3):
            torch.testing.assert_close(variants[b, r], expected)


def test_mean_and_spread_of_the_variants() -> None:
    torch.manual_seed(0)
    count, p = 20_000, 0.3
    variants = perturb_text(ROWS, count, p)
    for b in range(2):
        spread = p * math.sqrt(sum((v - ROWS[b].mean()) ** 2 for v in ROWS[b]) / 5)
        standardised = slow_standardised(ROWS[b])
        # alpha s + beta: variances of alpha and beta are independent
        deviation = spread * (standardised**2 + 1).sqrt()
        error = (variants[b].mean(0) - standardised - ROWS[b].mean()).abs()
        assert (error < 5 * deviation / math.sqrt(count)).all()
        assert ((variants[b].std(0) / deviation - 1).abs() < 5 / math.sqrt(2 * count)).all()
        # drawn per register and dimension
        correlation = torch.corrcoef(variants[b].T) - torch.eye(6)
        assert correlation.abs().max() < 5 / math.sqrt(count)


def test_no_gradient_passes_through_alpha_and_beta() -> None:
    text, weights = ROWS.clone().requires_grad_(), torch.randn(2, 4, 6, dtype=torch.float64)
    torch.manual_seed(4)
    (ours,) = torch.autograd.grad((weights * perturb_text(text, 4, 0.5)).sum(), text)

    torch.manual_seed(4)
    alpha = 1 + 0.5 * ROWS.std(1)[:, None, None] * torch.randn(2, 4, 6, dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for b in range(2):
        for r in range(4):
            total = total + (weights[b, r] * alpha[b, r] * slow_standardised(text[b])).sum()
    (expected,) = torch.autograd.grad(total, text)
    torch.testing.assert_close(ours, expected)
    assert ours.abs().max() > 0.1


MU = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LOGVAR = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_kl_equals_the_slow_reference() -> None:
    total = 0.0
    for b in range(3):
        for d in range(5):
            mu, logvar = MU[b, d].item(), LOGVAR[b, d].item()
            total += 0.5 * (mu * mu + math.exp(logvar) - 1 - logvar)
    assert kl_to_standard_normal(MU, LOGVAR).mean().item() == pytest.approx(total / 3, rel=1e-12)


def test_kl_equals_torch_distributions() -> None:
    zero = torch.zeros_like(MU)
    expected = kl_divergence(Normal(MU, (LOGVAR / 2).exp()), Normal(zero, zero + 1)).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(MU, LOGVAR), expected)


def test_kl_is_zero_at_the_standard_normal_and_positive_elsewhere() -> None:
    zero = torch.zeros(2, 4)
    assert kl_to_standard_normal(zero, zero).tolist() == [0, 0]
    assert kl_to_standard_normal(zero + 0.1, zero).tolist() == pytest.approx([4 * 0.005] * 2)
    assert (kl_to_standard_normal(zero, zero - 0.1) > 0).all()


def test_denoising_error_is_the_mean_square_with_both_sides_in_the_gradient() -> None:
    predicted = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    errors = denoising_error(predicted, noise)
    one = [((predicted - noise)[:, video] ** 2).mean().item() for video in range(3)]
    assert errors.tolist() == pytest.approx(one, rel=1e-12)
    loss = errors.mean()
    pairs = zip(predicted.flatten().tolist(), noise.flatten().tolist(), strict=True)
    assert loss.item() == pytest.approx(sum((a - b) ** 2 for a, b in pairs) / 48, rel=1e-12)
    loss.backward()
    assert predicted.grad is not None
    assert noise.grad is not None
    torch.testing.assert_close(predicted.grad, -noise.grad)
