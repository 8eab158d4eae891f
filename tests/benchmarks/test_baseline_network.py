"""The baseline's network against the golden vectors and the product's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden import group
from golden import network as golden_network
from models.tiny import CONFIG, TEXT_DIM, VIDEO_DIM, batch
from shared import needs_reference
from torch import nn

from benchmarks.baseline.network import Baseline
from dreamprvr.core.batch import Queries, Videos
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR

SHAPES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"captions": (1,)}),
    ({}, {"captions": (1,), "frames": (1,), "words": (1,)}),
    ({}, {"frames": (8, 1, 3)}),
    ({}, {"frames": (8, 8, 8), "words": (5,) * 6}),
    ({"num_registers": 0}, {}),
    ({"num_registers": 0}, {"captions": (1,)}),
    ({"num_registers": 1}, {}),
    ({"num_registers": 5, "num_heads": 4}, {"captions": (1, 4, 2, 1)}),
    ({"diffusion_steps": 1}, {}),
    ({"diffusion_steps": 10, "denoiser_blocks": 1}, {}),
    ({"num_clips": 1, "max_frames": 1}, {"num_clips": 1, "max_frames": 1}),
    ({"max_frames": 2}, {"max_frames": 2}),
    ({"gaussian_widths": ()}, {}),
    ({"softmax_temperature": 0.09, "clip_weight": 0.5, "frame_weight": 0.5}, {}),
]


@needs_reference
def test_golden_inference() -> None:
    product = golden_network()
    inputs, golden = group("in"), group("eval")
    baseline = Baseline(24, 20, product.config).eval()
    baseline.load_state_dict(group("state"))
    every = torch.arange(6)
    with torch.no_grad():
        query = baseline.encode_queries(
            Queries(
                torch.arange(20), inputs["text"], inputs["text_mask"], inputs["labels"][:, None]
            )
        )
        encoding = baseline.encode_videos(
            Videos(every, inputs["clips"], inputs["frames"], inputs["frame_mask"])
        )
        scores = baseline.scores(query, encoding.clips, encoding.frames)
    assert encoding.registers is not None
    found = {
        "query": query,
        "condition": encoding.registers.condition,
        "mu": encoding.registers.mu,
        "logvar": encoding.registers.logvar,
        "registers": encoding.registers.registers,
        "clip_tokens": encoding.clips,
        "frame_tokens": encoding.frames,
        "scores": scores,
    }
    for name, value in found.items():
        # the chain amplifies rounding in the registers (tests/models/dreamprvr/test_registers.py)
        atol = 2e-4 if name == "registers" else 1e-5
        torch.testing.assert_close(
            value, golden[name], rtol=0, atol=atol, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize(("changes", "sizes"), SHAPES)
def test_encodings_and_scores_equal_the_products(
    pair: Callable[..., tuple[DreamPRVR, Baseline]], changes: dict[str, Any], sizes: dict[str, Any]
) -> None:
    (product, baseline), data = pair(**changes), batch(**sizes)
    query, encoding = baseline.encode_queries(data.queries), baseline.encode_videos(data.videos)
    expected = product.encode_videos(*data.videos[1:])
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(query, product.encode_queries(*data.queries[1:3]).embedding, **close)
    for name, tokens in (("clips", encoding.clips), ("frames", encoding.frames)):
        torch.testing.assert_close(tokens, expected.scales[name].tokens, **close)
    sampler = product.register_sampler
    assert (encoding.registers is None) == (sampler is None)
    if sampler is not None:
        sample = sampler(product.embed_clips(data.videos.clips)).context
        for name in ("registers", "initial", "condition", "mu", "logvar"):
            theirs = getattr(sample, name)
            torch.testing.assert_close(getattr(encoding.registers, name), theirs, **close)
    scores = baseline.scores(query, encoding.clips, encoding.frames)
    torch.testing.assert_close(scores, product(*data.queries[1:3], *data.videos[1:]), **close)
    assert scores.numel() == 1 or scores.std() > 1e-3  # else the comparison says nothing


@pytest.mark.parametrize("registers", [0, 4])
def test_parameters_have_the_products_names_and_shapes(registers: int) -> None:
    config = DreamPRVRConfig(num_registers=registers)
    with torch.device("meta"):
        product, baseline = DreamPRVR(1024, 768, config), Baseline(1024, 768, config)
    for theirs, ours in (
        (product.state_dict(), baseline.state_dict()),
        (dict(product.named_parameters()), dict(baseline.named_parameters())),
    ):
        shapes = [
            {name: (value.shape, value.requires_grad) for name, value in found.items()}
            for found in (theirs, ours)
        ]
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "choice",
    [
        {"initial_register": "sample"},
        {"reverse_noise": "gaussian"},
        {"training_noise": "gaussian"},
        {"time_table": "sinusoidal"},
        {"padded_frames": "ignore"},
    ],
)
def test_variants_of_the_paper_are_refused(choice: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(choice))} .* is not in the baseline"):
        Baseline(8, 8, DreamPRVRConfig(**choice))


def test_initial_weights() -> None:
    torch.manual_seed(0)
    config = DreamPRVRConfig(hidden_size=128, gaussian_widths=(1.0,))
    network = Baseline(64, 64, config)
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.Embedding)) and module.weight.numel() > 2000:
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1), name
        if isinstance(module, nn.Linear) and module.bias is not None:
            assert not module.bias.any(), name
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all(), name
            assert not module.bias.any(), name
        if isinstance(module, nn.GRU):
            hidden = module.weight_hh_l0[:32]
            assert not module.bias_ih_l0.any()
            assert hidden.std().item() == pytest.approx(1 / 96**0.5, rel=0.1)
    assert network.register_sampler is not None
    assert network.register_sampler.query_tokens.std().item() == pytest.approx(1, rel=0.1)


def test_products_weights_load_strictly() -> None:
    product = DreamPRVR(VIDEO_DIM, TEXT_DIM, CONFIG)
    baseline = Baseline(VIDEO_DIM, TEXT_DIM, CONFIG)
    baseline.load_state_dict(product.state_dict(), strict=True)
    DreamPRVR(VIDEO_DIM, TEXT_DIM, CONFIG).load_state_dict(baseline.state_dict(), strict=True)
