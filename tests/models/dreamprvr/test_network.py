from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pytest
import torch
from golden import group
from golden import network as golden_network
from models.tiny import CONFIG, TEXT_DIM, VIDEO_DIM, batch, condition_of, network, single
from shared import needs_reference
from torch import Tensor, nn

from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.dreamprvr.registers import DiffusionRegisters
from dreamprvr.models.encoded import EncodedVideos
from dreamprvr.models.layers.basic import sinusoidal_table
from dreamprvr.models.scoring import combine, scale_scores, unit_rows, unit_tokens
from dreamprvr.models.testing import ModelContract


class TestContract(ModelContract):
    model = DreamPRVR
    small = {
        "hidden_size": 16, "num_heads": 2, "num_registers": 2, "diffusion_steps": 3,
        "gaussian_widths": (0.25, 2.0),
    }  # fmt: skip


def encode(model: DreamPRVR, data: TrainBatch) -> EncodedVideos:
    return model.encode_videos(data.videos.clips, data.videos.frames, data.videos.frame_mask)


def score(model: DreamPRVR, data: TrainBatch) -> Tensor:
    return model(*data.queries[1:3], *data.videos[1:])


@cache
def evaluated() -> dict[str, Tensor]:
    model, inputs = golden_network(), group("in")
    with torch.no_grad():
        queries = model.encode_queries(inputs["text"], inputs["text_mask"])
        videos = model.encode_videos(inputs["clips"], inputs["frames"], inputs["frame_mask"])
        scores = scale_scores(unit_rows(queries), unit_tokens(videos), model.padding)
        sampler = model.register_sampler
        assert isinstance(sampler, DiffusionRegisters)
        tokens = model.embed_clips(inputs["clips"])
        sample = sampler(tokens).context
        summary = sampler.summary(tokens)
    return {
        "query": queries.embedding,
        "video_summary_tokens": summary,
        "condition": condition_of(sampler, tokens),
        "mu": sample.mu,
        "logvar": sample.logvar,
        "clip_tokens": videos.scales["clips"].tokens,
        "frame_tokens": videos.scales["frames"].tokens,
        "clip_scores": scores["clips"],
        "frame_scores": scores["frames"],
        "scores": combine(scores, model.scale_weights),
    }


@needs_reference
def test_golden_inference() -> None:
    golden = group("eval")
    del golden["registers"]  # in test_registers.py
    assert evaluated().keys() == golden.keys()
    for name, value in golden.items():
        torch.testing.assert_close(
            evaluated()[name], value, rtol=0, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize(
    ("dims", "registers", "millions"),
    [((1024, 1024), 4, 36.14), ((1024, 1024), 6, 36.14), ((3072, 768), 8, 37.62)],
)
def test_published_parameter_counts(dims: tuple[int, int], registers: int, millions: float) -> None:
    with torch.device("meta"):
        model = DreamPRVR(*dims, DreamPRVRConfig(num_registers=registers))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


def test_scores_are_the_weighted_best_cosines() -> None:
    model, data = network(clip_weight=0.7, frame_weight=0.2), batch()
    scales = encode(model, data).scales
    query = model.encode_queries(*data.queries[1:3]).embedding
    scores = score(model, data)
    for q in range(6):
        for v in range(3):
            cosines = [
                max(torch.cosine_similarity(query[q], row, dim=0).item() for row in part[v])
                for part in (scales["clips"].tokens.detach(), scales["frames"].tokens.detach())
            ]
            expected = 0.7 * cosines[0] + 0.2 * max(cosines[1], 0)
            assert scores[q, v].item() == pytest.approx(expected, abs=1e-12)


def test_padded_frames_give_zero_tokens() -> None:
    data = batch(frames=(8, 3, 1))
    frames = encode(network(), data).scales["frames"].tokens
    lengths = (frames != 0).any(-1).sum(-1)
    assert lengths.tolist() == [8, 3, 1]


# The paper's options


def test_ignored_padding_never_wins() -> None:
    model, data = network(padded_frames="ignore"), batch(frames=(8, 3, 1))
    videos = unit_tokens(encode(model, data))
    queries = model.encode_queries(*data.queries[1:3])
    # below 0 against the third video's only frame
    opposite = -videos.scales["frames"].tokens[2, :1].expand(len(queries.embedding), -1)
    rows = queries.rows["frames"]._replace(vectors=opposite[:, None])
    asked = queries._replace(rows=queries.rows | {"frames": rows})
    found = scale_scores(asked, videos, model.padding)["frames"]
    assert found[0, 2].item() == pytest.approx(-1)
    assert scale_scores(asked, videos, network().padding)["frames"][0, 2].item() == 0


def test_a_sinusoidal_time_table_changes_only_the_table() -> None:
    torch.manual_seed(0)
    published = DreamPRVR(VIDEO_DIM, TEXT_DIM, CONFIG).state_dict()
    torch.manual_seed(0)
    config = replace(CONFIG, time_table="sinusoidal")
    paper = DreamPRVR(VIDEO_DIM, TEXT_DIM, config).state_dict()
    different = [name for name in published if not torch.equal(published[name], paper[name])]
    assert different == ["register_sampler.denoiser.time.table.weight"]
    assert torch.equal(paper[different[0]], sinusoidal_table(3, 16))


# Edge cases


def test_a_model_without_registers() -> None:
    model, data = network(num_registers=0), batch()
    assert not [name for name in model.state_dict() if "register" in name]
    assert encode(model, data).extras == {}
    assert score(model, data).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({}, {"captions": (1,)}),
        ({}, {"captions": (2,), "frames": (1,), "words": (1, 1)}),
        ({"num_clips": 1}, {"num_clips": 1}),
        ({"max_frames": 1}, {"max_frames": 1}),
        ({"max_frames": 2}, {"max_frames": 2}),  # fewer frames than clips
        ({"max_words": 1}, {"words": (1,) * 6}),
        ({"diffusion_steps": 1}, {}),
        ({"num_registers": 1}, {}),
        ({"gaussian_widths": ()}, {}),
        ({"num_heads": 1, "denoiser_blocks": 1}, {}),
    ],
)
def test_smallest_sizes(changes: dict[str, Any], data: dict[str, Any]) -> None:
    model, made = network(**changes), batch(**data)
    scores = score(model, made)
    assert scores.shape == (len(made.labels), len(made.videos.row))
    assert scores.isfinite().all()


def test_all_large_parts_are_compiled() -> None:
    model = network()
    queries, losses, others = model.compiled_parts()
    assert queries == [(model.query_encoder, "forward")]
    assert losses == [(model.objective, "forward")]
    sampler = model.register_sampler
    assert others == [
        (model.clip_encoder, "forward"), (model.frame_encoder, "forward"),
        (sampler, "sample"), (sampler, "diffusion_target"),
    ]  # fmt: skip


# Mixed precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_softmax_and_norms_stay_in_float32(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    softmax: Callable[..., Tensor] = torch.softmax
    seen: list[torch.dtype] = []

    def watched(x: Tensor, dim: int) -> Tensor:
        seen.append(x.dtype)
        return softmax(x, dim)

    monkeypatch.setattr(torch, "softmax", watched)
    model, data = single(network()), single(batch())
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_forward_hook(lambda m, inputs, output: seen.append(output.dtype))
    exact = score(model, data)
    softmaxes = len(seen)
    with torch.autocast("cpu", dtype):
        scores = score(model, data)
        assert isinstance(model.register_sampler, DiffusionRegisters)
        sample = model.register_sampler(model.embed_clips(data.videos.clips)).context
    assert len(seen) > 2 * softmaxes > 50
    assert set(seen) == {torch.float32}
    assert scores.dtype == sample.mu.dtype == sample.logvar.dtype == torch.float32
    assert (scores - exact).abs().max() < 0.05
    assert not torch.equal(scores, exact)


def test_a_model_in_float64_computes_in_float64() -> None:
    scores = score(network(), batch())
    assert scores.dtype == torch.float64
    half = score(single(network()), single(batch())).double()
    torch.testing.assert_close(half, scores, rtol=0, atol=1e-4)


def test_settings_can_be_made_again_from_a_dictionary() -> None:
    config = network().config
    assert DreamPRVRConfig(**asdict(config)) == config
