import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from models.tiny import batch, network, single
from torch import Tensor
from torch.utils._pytree import tree_map

from dreamprvr.bucketing import bucket
from dreamprvr.compilation import compile_step
from dreamprvr.errors import UserError
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR

# 9, 10, 9 and 6 captions, the first three padded to 10; the last batch is smaller
CAPTIONS = [(2, 3, 4), (2, 3, 5), (4, 4, 1), (4, 2)]
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


def step(model: DreamPRVR, captions: tuple[int, ...]) -> list[Tensor]:
    total = model.losses(model.encode_batch(single(batch(captions))), epoch=1)["total"]
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [total.detach(), *torch.autograd.grad(total, parameters)]


@pytest.mark.slow
@tracer_warns
def test_compiled_step_equals_the_plain_one_in_a_bounded_number_of_graphs() -> None:
    plain, compiled = make(), make()
    compile_step(compiled, backend="aot_eager")
    graphs = []
    for captions in CAPTIONS:
        found = step(compiled, captions)
        for ours, expected in zip(found, step(plain, captions), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1] == graphs[2] < graphs[3]  # captions of one bucket share graphs
    assert compiled.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.slow
@tracer_warns
@pytest.mark.parametrize("hard_negatives", [False, True])
def test_what_runs_on_an_accelerator_has_whole_graphs(
    hard_negatives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the CPU; other code draws masks and attends there. `meta` stands for its device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no `meta`
    chances = {"dropout": 0.1, "input_dropout": 0.1, "text_perturbation": 0.1}
    model = make(**chances).to("meta")
    compile_step(model, backend="eager")
    data = tree_map(lambda x: x.to("meta"), single(batch(CAPTIONS[0])))
    total = model.losses(model.encode_batch(data), epoch=int(hard_negatives))["total"]
    total.backward()
    assert total.device.type == "meta"
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def recorded() -> tuple[DreamPRVR, list[list[Any]]]:
    """A compiled network, and the example inputs of every graph that is made of it."""
    model = make()
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(inputs)
        return graph.forward

    compile_step(model, backend=backend)
    return model, graphs


def test_a_smaller_batch_leaves_full_ones_their_own_graph() -> None:
    """One graph for any batch size would be slower for them all."""
    model, graphs = recorded()
    sizes = [(1, 1, 1), (1, 1), (1, 1, 1), (1,)]
    for captions in sizes:
        videos = single(batch(captions)).videos
        with torch.no_grad():
            model.encode_videos(videos.clips, videos.frames, videos.frame_mask)
    assert graphs
    assert not any(isinstance(x, torch.SymInt) for inputs in graphs for x in inputs)


def test_ragged_captions_make_as_many_graphs_as_buckets() -> None:
    model, graphs = recorded()
    torch.manual_seed(0)
    counts = torch.randint(9, 41, (60,)).tolist()
    with torch.no_grad():
        for count in counts:
            words = torch.randn(count, 4, 5)
            queries = model.encode_queries(words, torch.ones(count, 4))
            assert len(queries.embedding) == count
    assert len(set(counts)) > 20
    assert len(graphs) == len({bucket(count) for count in counts}) <= 9


@tracer_warns
def test_a_second_fit_compiles_what_the_first_did() -> None:
    model = make()
    for _ in range(2):
        compile_step(model, backend="eager")
    expected = step(make(), CAPTIONS[0])
    for ours, theirs in zip(step(model, CAPTIONS[0]), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_many_networks_are_compiled_in_one_process() -> None:
    """A sweep; torch's own limit is 8 graphs of a function."""
    videos = single(batch((1, 1))).videos
    for _ in range(9):
        model = make()
        compile_step(model, backend="eager")
        with torch.no_grad():
            model.encode_videos(videos.clips, videos.frames, videos.frame_mask)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"^model.compile needs a C\+\+ compiler"):
        compile_step(make())


def test_half_precision_on_the_cpu_is_refused() -> None:
    with pytest.raises(UserError, match=r"CPU needs --trainer\.precision 32-true$"):
        compile_step(make(), half=True)


def test_attention_that_cannot_be_fused_is_refused() -> None:
    model = make()
    with pytest.raises(UserError, match=r"^model.fused_attention trains on an accelerator only"):
        compile_step(model, backend="eager", fused=True)
    with pytest.raises(UserError, match=r"heads of at least 16 channels, .* is 8$"):
        compile_step(model.to("meta"), backend="eager", fused=True)
