"""Two processes compute what one process computes on everything."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from evaluation.test_metrics import example, slow_example, slow_qualities, slow_recalls
from models.tiny import batch, network
from recorder import module
from torch import Tensor, multiprocessing

from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.core.distributed import (
    gather_objects,
    gather_rows,
    is_distributed,
    largest_of_ranks,
    on_first_rank,
)
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.evaluation.metrics import RetrievalRecall
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.encoded import EncodedBatch, gather_encoded
from dreamprvr.training.module import PRVRModule

# Python from 3.12 warns of any fork while there are threads, which pytest-xdist has; these use none
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

Work = Callable[[int], Any]


def _process(rank: int, work: Work, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2
    )
    torch.save(work(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()


def on_two(work: Work, folder: Path) -> list[Any]:
    """Return the results of `work(rank)` on two forked processes."""
    multiprocessing.start_processes(_process, (work, folder), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def halves(whole: TrainBatch, videos: int) -> Iterator[TrainBatch]:
    """The first videos with their captions, and the rest, labelled from 0 each."""
    captions = int((whole.labels < videos).sum())
    for v, q in ((slice(videos), slice(captions)), (slice(videos, None), slice(captions, None))):
        yield TrainBatch(
            Videos(*(part[v] for part in whole.videos)),
            Queries(*(part[q] for part in whole.queries)),
            whole.labels[q] - (v.start or 0),
        )


WHOLE = batch(captions=(3, 1, 1, 4), frames=(8, 2, 5, 1))
PARTS = list(halves(WHOLE, 2))


EXTRA: dict[str, Any] = {
    "inter": "dreamprvr.models.losses.evidence.InterVideoEvidence",
    "intra": "dreamprvr.models.losses.evidence.IntraVideoEvidence",
    "relations": "dreamprvr.models.losses.distillation.RelationalDistillation",
}


def train(data: TrainBatch, **changes: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Loss terms, those of all add-ons included, and gradients; `changes` are settings."""
    model = network(ObjectiveConfig(hard_pool=1, extra=EXTRA), **changes)
    terms = model.losses(gather_encoded(model.encode_batch(data)), epoch=1000)
    terms["total"].backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: term.detach() for name, term in terms.items()}, gradients


def test_loss_and_averaged_gradients_equal_one_process(tmp_path: Path) -> None:
    assert [len(part.labels) for part in PARTS] == [4, 5]
    terms, gradients = train(WHOLE)
    (first, first_gradients), (second, second_gradients) = on_two(
        lambda rank: train(PARTS[rank]), tmp_path
    )
    assert {"inter_combined", "intra", "relations_distance", "relations_angle"} <= terms.keys()
    for name, term in terms.items():
        torch.testing.assert_close(first[name], term, rtol=0, atol=1e-10)
        torch.testing.assert_close(second[name], term, rtol=0, atol=1e-10)
    assert gradients.keys() == first_gradients.keys() == second_gradients.keys()
    for name, gradient in gradients.items():
        mean = (first_gradients[name] + second_gradients[name]) / 2  # as DDP does
        torch.testing.assert_close(mean, gradient, rtol=0, atol=1e-10)


def test_captions_of_different_lengths_equal_one_process(tmp_path: Path) -> None:
    """A row for each word: the processes have different numbers of rows for a caption."""
    whole = batch(captions=(3, 1, 1, 4), words=(2, 1, 2, 2, 5, 4, 1, 3, 2))
    parts = []
    for part in halves(whole, 2):
        longest = int(part.queries.word_mask.sum(dim=1).max())
        _, words, mask, videos = part.queries
        queries = Queries(part.queries.row, words[:, :longest], mask[:, :longest], videos)
        parts.append(part._replace(queries=queries))
    assert [part.queries.words.shape[1] for part in parts] == [2, 5]
    changes = {"frame_query_encoder": "dreamprvr.models.layers.query.WordQueries"}
    terms, gradients = train(whole, **changes)
    (first, first_gradients), (second, second_gradients) = on_two(
        lambda rank: train(parts[rank], **changes), tmp_path
    )
    assert gradients["frame_query_encoder.weight.0.weight"].abs().sum() > 0
    for name, term in terms.items():
        torch.testing.assert_close(first[name], term, rtol=0, atol=1e-10)
        torch.testing.assert_close(second[name], term, rtol=0, atol=1e-10)
    for name, gradient in gradients.items():
        mean = (first_gradients[name] + second_gradients[name]) / 2
        torch.testing.assert_close(mean, gradient, rtol=0, atol=1e-10)


def test_gathered_batch_is_the_whole_batch(tmp_path: Path) -> None:
    def work(rank: int) -> EncodedBatch:
        return gather_encoded(network().requires_grad_(False).encode_batch(PARTS[rank]))

    whole = network().requires_grad_(False).encode_batch(WHOLE)
    for found in on_two(work, tmp_path):
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("counts", [(3, 1), (0, 2), (2, 2)])
def test_ragged_rows_and_their_gradients(counts: tuple[int, int], tmp_path: Path) -> None:
    weights = torch.arange(1.0, 1 + sum(counts))[:, None]

    def work(rank: int) -> tuple[Tensor, Tensor | None]:
        x = torch.full((counts[rank], 2), float(rank), requires_grad=True)
        gathered = gather_rows(x)
        # a loss that differs between ranks: its gradients are added up
        ((rank + 1) * weights * gathered).sum().backward()
        return gathered.detach(), x.grad

    found = on_two(work, tmp_path)
    expected = torch.cat([torch.full((n, 2), float(rank)) for rank, n in enumerate(counts)])
    for (gathered, gradient), own in zip(found, (weights * 3).split(counts), strict=True):
        assert torch.equal(gathered, expected)
        assert torch.equal(gradient, own.expand(-1, 2))


def test_metric_equals_the_slow_reference(tmp_path: Path) -> None:
    scores, positives = example()
    # ragged, and queries 20 to 29 on both, as a distributed sampler pads
    parts = [torch.arange(30), torch.arange(20, 60)]

    def work(rank: int) -> tuple[dict[str, float], int]:
        metric, rows = RetrievalRecall(), parts[rank]
        metric.update(scores[rows], positives[rows], rows)
        return metric.compute(), metric.counted

    expected = pytest.approx(slow_recalls(slow_example()) | slow_qualities(), rel=1e-12)
    assert on_two(work, tmp_path) == [(expected, 60), (expected, 60)]


def test_gallery_is_that_of_one_process(tmp_path: Path) -> None:
    model = network().requires_grad_(False)

    def work(rank: int) -> tuple[Tensor, Tensor]:
        gallery = Gallery(model)
        # every other video, as a distributed sampler deals them, and video 0 on both
        rows = [[0, 2], [1, 3, 0]][rank]
        gallery.add(Videos(*(part[rows] for part in WHOLE.videos)))
        return gallery.rows, gallery.ask(WHOLE.queries).score

    expected = model(*WHOLE.queries[1:3], *WHOLE.videos[1:])
    for rows, score in on_two(work, tmp_path):
        assert rows.tolist() == [0, 1, 2, 3]
        torch.testing.assert_close(score, expected, rtol=0, atol=1e-12)


def test_objects_come_in_rank_order(tmp_path: Path) -> None:
    found = on_two(lambda rank: (is_distributed(), gather_objects({"rank": rank})), tmp_path)
    assert found == [(True, [{"rank": 0}, {"rank": 1}])] * 2


def test_the_first_rank_works_and_its_failure_is_everybodys(tmp_path: Path) -> None:
    def work(rank: int) -> list[str]:
        done: list[str] = []
        on_first_rank(lambda: done.append("done"))
        try:
            on_first_rank(lambda: done.append({}["no"]))
        except (UserError, KeyError) as error:
            done.append(f"{type(error).__name__}: {error}")
        return done

    assert on_two(work, tmp_path) == [
        ["done", "KeyError: 'no'"],
        ["UserError: 'no'"],
    ]


def test_a_single_process_gathers_nothing() -> None:
    assert not is_distributed()
    assert gather_objects("x") == ["x"]
    encoded = network().encode_batch(WHOLE)
    assert gather_encoded(encoded) is encoded


def test_the_largest_of_all_ranks(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert on_two(lambda rank: largest_of_ranks(15 * rank, cpu), tmp_path) == [15, 15]
    assert largest_of_ranks(2, cpu) == 2


def test_all_terms_are_logged_of_all_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PRVRModule, "_is_logged_step", lambda _: True)
    monkeypatch.setattr(PRVRModule, "current_epoch", 99)

    def logged(data: TrainBatch) -> dict[str, float]:
        model, found = module(), {}
        model.network = network(ObjectiveConfig(hard_pool=1))  # without random numbers
        monkeypatch.setattr(model, "log", lambda name, value, **_: found.update({name: value}))
        monkeypatch.setattr(model, "log_dict", lambda values, **_: found.update(values))
        model.training_step(data, 0)
        return {name: float(value) for name, value in found.items()}

    expected = pytest.approx(logged(WHOLE), rel=1e-10)
    assert {"loss", "train/kl", "train/diffusion", "train/clip_nce"} <= set(logged(WHOLE))
    assert on_two(lambda rank: logged(PARTS[rank]), tmp_path) == [expected, expected]
