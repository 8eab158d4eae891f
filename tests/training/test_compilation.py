import json
import math
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from models.tiny import CONFIG, batch, network, single, stir
from shared import DATA, needs_data
from torch import Tensor
from torch.utils._pytree import tree_map

from dreamprvr.core.errors import UserError
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR, Objective
from dreamprvr.models.encoded import PADDED, EncodedBatch
from dreamprvr.models.registry import find_model
from dreamprvr.training.compilation import (
    bucket,
    bucketed_objective,
    bucketed_queries,
    compile_step,
)

CAPTIONS = [(2, 3, 4), (2, 3, 5)]  # 9 and 10 captions, padded to 10
# one block of each kind is compiled as several are, and sooner
SMALL = {"gaussian_widths": (0.5,), "diffusion_steps": 2}
# of torch's own tracer, about tensors of its own
tracer_warns = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def make(**changes: Any) -> DreamPRVR:
    return single(network(ObjectiveConfig(hard_pool=1, hard_negatives_from=1), **changes))


def step(model: RetrievalModel, captions: tuple[int, ...]) -> list[Tensor]:
    total = model.losses(model.encode_batch(single(batch(captions))), epoch=1)["total"]
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [total.detach(), *torch.autograd.grad(total, parameters)]


@pytest.mark.slow
@tracer_warns
def test_compiled_step_equals_the_plain_one_in_a_bounded_number_of_graphs() -> None:
    plain, compiled = make(**SMALL), make(**SMALL)
    compile_step(compiled, backend="aot_eager")
    graphs = []
    for captions in CAPTIONS:
        found = step(compiled, captions)
        for ours, expected in zip(found, step(plain, captions), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1]  # captions of one bucket share graphs
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def other(name: str) -> RetrievalModel:
    """A small model of another kind, with one window."""
    torch.manual_seed(0)
    kind = find_model(name)
    network = kind.network_settings(
        hidden_size=16, num_heads=2, num_clips=4, max_frames=8, max_words=5,
        dropout=0.0, input_dropout=0.0, gaussian_widths=(0.5,),
    )  # fmt: skip
    made = kind(6, 5, network, kind.objective_settings(hard_pool=1, hard_negatives_from=1))
    stir(made)
    return made


@pytest.mark.slow
@tracer_warns
@pytest.mark.parametrize("name", ["gmmformer", "hlformer"])  # the others share these layers
def test_a_compiled_step_of_another_model_equals_the_plain_one(name: str) -> None:
    compiled = other(name)
    compile_step(compiled, backend="eager")
    expected = step(other(name), CAPTIONS[0])
    for ours, theirs in zip(step(compiled, CAPTIONS[0]), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@tracer_warns
def test_parts_compiled_for_an_accelerator_have_whole_graphs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The device `meta` replaces the accelerator, whose masks and attention have other code."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no `meta`
    chances = {"dropout": 0.1, "input_dropout": 0.1, "text_perturbation": 0.1, **SMALL}
    model = make(**chances).to("meta")
    compile_step(model, backend="eager")
    data = tree_map(lambda x: x.to("meta"), single(batch(CAPTIONS[0])))
    for epoch in (0, 1):  # the second has hard negatives
        model.zero_grad()
        total = model.losses(model.encode_batch(data), epoch)["total"]
        total.backward()
        assert total.device.type == "meta"
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def recorded() -> tuple[DreamPRVR, list[list[Any]]]:
    """A compiled network, and the example inputs of every graph that is made of it."""
    model = make(**SMALL)
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(inputs)
        return graph.forward

    compile_step(model, backend=backend)
    return model, graphs


def test_a_smaller_batch_leaves_full_ones_their_own_graph() -> None:
    """One graph for any batch size would be slower for them all."""
    model, graphs = recorded()
    for captions in ((1, 1, 1), (1, 1)):
        videos = single(batch(captions)).videos
        with torch.no_grad():
            model.encode_videos(videos.clips, videos.frames, videos.frame_mask)
    assert graphs
    assert not any(isinstance(x, torch.SymInt) for inputs in graphs for x in inputs)


def test_ragged_captions_make_as_many_graphs_as_buckets() -> None:
    """Torch's own limit is 8 graphs of a function."""
    model, graphs = recorded()
    torch.manual_seed(0)
    counts = torch.randint(9, 41, (60,)).tolist()
    with torch.no_grad():
        for count in counts:
            words = torch.randn(count, 4, 5)
            queries = model.encode_queries(words, torch.ones(count, 4))
            assert len(queries.embedding) == count
    assert len(set(counts)) > 20
    assert len(graphs) == len({bucket(count) for count in counts}) == 9


def test_objectives_of_word_rows_meet_buckets_only() -> None:
    """9 and 10 rows of a query are padded to 10, and no term changes."""
    model = network(
        ObjectiveConfig(hard_pool=1), max_words=10,
        frame_query_encoder="dreamprvr.models.layers.query.WordQueries",
    )  # fmt: skip
    widths = set()

    def compute(data: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        rows = data.queries.rows["frames"]
        assert rows.product_weights is not None
        assert rows.vectors.shape[:2] == rows.weights.shape == rows.product_weights.shape
        widths.add(rows.vectors.shape[1])
        terms: dict[str, Tensor] = model.objective(data, hard_negatives)
        return terms

    for words in ((9, 2, 3, 4, 1, 9), (10, 2, 3, 4, 1, 9)):
        with torch.no_grad():
            encoded = model.encode_batch(batch(words=words))
            found = bucketed_objective(compute)(encoded, hard_negatives=True)
            expected = model.objective(encoded, True)
        for name, term in expected.items():
            torch.testing.assert_close(found[name], term, rtol=1e-12, atol=1e-12)
    assert widths == {10}


@tracer_warns
def test_a_second_fit_compiles_what_the_first_did() -> None:
    """With a smaller batch, as an epoch ends."""
    model, captions = make(**SMALL), (4, 2)
    for _ in range(2):
        compile_step(model, backend="eager")
    expected = step(make(**SMALL), captions)
    for ours, theirs in zip(step(model, captions), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"^training.compile on the CPU needs a C\+\+ compiler"):
        compile_step(make())


def test_half_precision_on_the_cpu_is_refused() -> None:
    with pytest.raises(UserError, match=r"CPU needs --trainer\.precision 32-true$"):
        compile_step(make(), half=True)


def test_attention_that_cannot_be_fused_is_refused() -> None:
    model = make()
    with pytest.raises(UserError, match=r"^training.fused_attention works on an accelerator only"):
        compile_step(model, backend="eager", fused=True)
    with pytest.raises(UserError, match=r"heads of at least 16 channels, .* is 8$"):
        compile_step(model.to("meta"), backend="eager", fused=True)


RAGGED = [(2, 3, 4), (1,), (3, 7, 1), (2, 2)]  # 9, 1, 11 and 4 queries


def test_buckets() -> None:
    found = [bucket(size) for size in range(1, 4097)]
    assert found[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(set(found))[8:17] == [10, 12, 14, 16, 20, 24, 28, 32, 40]
    assert found == sorted(found)
    for size, rounded in enumerate(found, start=1):
        assert size <= rounded < 1.25 * size
        assert bucket(rounded) == rounded
    assert len(set(found)) <= 4 * math.log2(4096)


@pytest.mark.parametrize("captions", RAGGED)
def test_queries_meet_buckets_only_and_stay_the_same(captions: tuple[int, ...]) -> None:
    model, queries = network(), batch(captions, words=[3] * sum(captions)).queries
    sizes = []

    def encode(words: Tensor, mask: Tensor) -> Tensor:
        assert words.shape[:2] == mask.shape
        sizes.append(mask.shape)
        return model.query_encoder(words, mask)

    found = bucketed_queries(encode, CONFIG.max_words)(queries.words, queries.word_mask)
    expected = model.query_encoder(queries.words, queries.word_mask)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert [*sizes[0]] == [bucket(sum(captions)), 3]


def test_padded_words_stay_the_same_up_to_the_longest_caption() -> None:
    torch.manual_seed(3)
    words, mask = torch.randn(2, 9, 5, dtype=torch.float64), torch.ones(2, 9).double()
    model = network(max_words=10)
    sizes = []

    def encode(words: Tensor, mask: Tensor) -> Tensor:
        sizes.append(mask.shape[1])
        return model.query_encoder(words, mask)

    expected = model.query_encoder(words, mask)
    for longest in (9, 10, 16):
        found = bucketed_queries(encode, longest)(words, mask)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert sizes == [9, 10, 10]


def terms(model: DreamPRVR, captions: tuple[int, ...], bucketed: bool) -> dict[str, Tensor]:
    objective = Objective(ObjectiveConfig(hard_pool=1), "zero")
    seen = []

    def compute(data: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        seen.append(data)
        return objective(data, hard_negatives)

    data = model.encode_batch(batch(captions))
    found = (bucketed_objective(compute) if bucketed else compute)(data, True)
    count, padded = sum(captions), bucket(sum(captions)) if bucketed else sum(captions)
    assert len(seen[0].queries.embedding) == len(seen[0].labels) == padded
    assert {len(rows.vectors) for rows in seen[0].queries.rows.values()} == {padded}
    assert (seen[0].labels[count:] == PADDED).all()
    return found


@pytest.mark.parametrize("captions", RAGGED)
def test_every_term_and_gradient_stays_the_same(captions: tuple[int, ...]) -> None:
    model = network()
    plain, padded = (terms(model, captions, bucketed) for bucketed in (False, True))
    assert plain.keys() == padded.keys()
    for name, term in plain.items():
        torch.testing.assert_close(padded[name], term, rtol=1e-12, atol=1e-12)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for ours, expected in zip(
        torch.autograd.grad(padded["total"], parameters),
        torch.autograd.grad(plain["total"], parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@needs_data
def test_an_epoch_of_activitynet_has_few_shapes() -> None:
    """128 videos a batch with all their sentences, at most 64 words of each."""
    videos = json.loads((DATA / "activitynet" / "train.json").read_text()).values()
    sentences = np.array([len(video["sentences"]) for video in videos])
    words = np.array([max(len(s.split()) for s in video["sentences"]) for video in videos])
    order = np.random.default_rng(0).permutation(len(sentences))
    batches = [order[start:end] for start, end in pairwise(range(0, len(order), 128))]
    shapes = [(int(sentences[b].sum()), min(int(words[b].max()), 64)) for b in batches]
    padded = [(bucket(count), min(bucket(longest), 64)) for count, longest in shapes]
    assert len(set(shapes)) == 75
    assert len(set(padded)) == 10  # graphs of the query encoder
    assert len({count for count, _ in padded}) == 3  # of the objective
    more = [a * b / (c * d) for (a, b), (c, d) in zip(padded, shapes, strict=True)]
    assert np.mean(more) == pytest.approx(1.135, abs=0.001)
