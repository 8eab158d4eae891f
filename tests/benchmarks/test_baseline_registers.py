"""The baseline's register sampler against the golden vectors and loops."""

import pytest
import torch
from golden import group, network_config, settings
from models.tiny import CONFIG, frozen
from shared import needs_reference

from benchmarks.baseline.network import Baseline
from benchmarks.baseline.objective import mean_per_video
from benchmarks.baseline.registers import (
    Registers,
    RegisterSampler,
    VariationalSampler,
    perturb_text,
    sinusoidal_codes,
)
from dreamprvr.models.dreamprvr import registers
from dreamprvr.models.layers.basic import sinusoidal_table


@needs_reference
def test_golden_prediction() -> None:
    c, golden = settings()["config"], group("eval")
    network = Baseline(c["visual_feat_dim"], c["q_feat_size"], network_config()).eval()
    network.load_state_dict(group("state"))
    assert network.register_sampler is not None
    text = mean_per_video(golden["query"], group("in")["labels"], 6)
    start = perturb_text(text, c["num_registers"], 0.0)
    torch.testing.assert_close(start, group("train")["x0"], rtol=0, atol=1e-5)
    initial = golden["mu"][:, None].repeat(1, c["num_registers"], 1)
    sample = Registers(initial, initial, golden["condition"], golden["mu"], golden["logvar"])
    predicted = network.register_sampler.predict_noise(sample, text)
    expected = group("train")["predicted_noise"]
    torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-5)


def test_poolings_equal_the_slow_reference() -> None:
    sampler = frozen(VariationalSampler(8, 5))
    h = torch.randn(2, 5, 8, dtype=torch.float64)
    states, _ = sampler.pooling.gru(sampler.pooling.codes[None])
    both = [(state[:32] + state[32:]) / 2 for state in states[0]]
    by_rank = (sampler.pooling.score(torch.stack(both))[:, 0] / 0.1).softmax(0).tolist()
    additive = sampler.mean_pooling
    pooled, mixed = sampler.pooling(h), additive(h)
    for b in range(2):
        for d in range(8):
            largest = sorted(h[b, :, d].tolist(), reverse=True)
            expected = sum(w * value for w, value in zip(by_rank, largest, strict=True))
            assert pooled[b, d].item() == pytest.approx(expected, abs=1e-12)
        logits = [(additive.w2.weight @ (additive.w1.weight @ row).tanh()).item() for row in h[b]]
        weights = torch.tensor(logits, dtype=torch.float64).softmax(0)
        torch.testing.assert_close(mixed[b], weights @ h[b], rtol=0, atol=1e-12)
    mu, _ = sampler(h)
    torch.testing.assert_close(mu.norm(dim=-1), torch.ones(2, dtype=torch.float64))


def test_condition_is_embedded_at_every_step() -> None:
    sampler, calls = RegisterSampler(CONFIG), []
    embed = sampler.denoiser.condition_linear
    embed.register_forward_hook(lambda *_: calls.append(1))
    clips = torch.randn(3, CONFIG.num_clips, CONFIG.hidden_size)
    sample = sampler(clips)
    assert len(calls) == CONFIG.diffusion_steps
    sampler.predict_noise(sample, clips.mean(1))
    assert len(calls) == 2 * CONFIG.diffusion_steps


@pytest.mark.parametrize("spread", [0.0, 0.1, 2.0])
def test_perturbed_text_and_its_gradient_equal_the_products(spread: float) -> None:
    text = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 2, 6, dtype=torch.float64)
    found = []
    for perturb in (registers.perturb_text, perturb_text):
        torch.manual_seed(4)
        variants = perturb(text, 2, spread)
        (gradient,) = torch.autograd.grad((weights * variants).sum(), text)
        found.append((variants.detach(), gradient))
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [1, 4, 32])
def test_codes_are_the_products(length: int) -> None:
    codes = sinusoidal_codes(length, 32)
    torch.testing.assert_close(codes, sinusoidal_table(length, 32), rtol=0, atol=1e-5)
