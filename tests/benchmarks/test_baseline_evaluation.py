"""The baseline's evaluation against the golden recalls and the product's."""

import random
from collections.abc import Callable

import pytest
import torch
from golden import group, settings
from models.tiny import batch
from shared import needs_reference
from torch import Tensor

from benchmarks.baseline import evaluation
from benchmarks.baseline.evaluation import evaluate, ranks, recalls, score
from benchmarks.baseline.network import Baseline
from dreamprvr.core.batch import Queries, Videos
from dreamprvr.evaluation import metrics
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.models.dreamprvr.network import DreamPRVR


def tied(queries: int, videos: int, seed: int) -> tuple[Tensor, Tensor]:
    """Scores with many ties, and one to three true videos a query, padded with -1."""
    generator = random.Random(seed)
    scores = [[generator.randrange(-9, 5) / 7 for _ in range(videos)] for _ in range(queries)]
    positives = []
    for query in range(queries):
        count = min(1 + query % 3, videos)
        positives.append(generator.sample(range(videos), count) + [-1] * (3 - count))
    return torch.tensor(scores), torch.tensor(positives)


def known(positives: Tensor) -> list[set[int]]:
    return [{video for video in row if video >= 0} for row in positives.tolist()]


@pytest.mark.parametrize("videos", [1, 2, 7, 150])
@pytest.mark.parametrize("seed", range(2))
def test_ranks_equal_the_products(videos: int, seed: int) -> None:
    scores, positives = tied(40, videos, seed)
    found = ranks(scores, known(positives))
    assert found == metrics.best_rank(metrics.true_ranks(scores, positives)).tolist()
    assert videos < 100 or len(set(found)) > 10
    assert recalls(found) == pytest.approx(metrics.recalls(torch.tensor(found)), rel=1e-12)


@needs_reference
def test_golden_recall() -> None:
    positives = [{video} for video in group("in")["labels"].tolist()]
    found, golden = recalls(ranks(group("eval")["scores"], positives)), settings()["recall"]
    assert {name: found[name] for name in golden} == golden
    assert found["SumR"] == sum(golden.values())


def loaders(size: int) -> tuple[list[Videos], list[Queries]]:
    """A gallery in two batches, of rows in no order, and its queries in batches of `size`."""
    data = batch(captions=(2, 3, 1, 4, 2))
    row = torch.tensor([7, 2, 0, 9, 4])
    videos = data.videos._replace(row=row)
    queries = data.queries._replace(positives=row[data.labels][:, None])
    gallery = [Videos(*(part[cut] for part in videos)) for cut in (slice(0, 3), slice(3, 5))]
    asked = [Queries(*(part[i : i + size] for part in queries)) for i in range(0, 12, size)]
    return gallery, asked


@pytest.mark.parametrize(("size", "block"), [(12, 50), (5, 50), (12, 5), (5, 1)])
def test_evaluation_equals_the_products(
    pair: Callable[..., tuple[DreamPRVR, Baseline]],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    block: int,
) -> None:
    monkeypatch.setattr(evaluation, "BLOCK", block)
    product, baseline = (model.eval() for model in pair())
    videos, queries = loaders(size)
    gallery, metric = Gallery(product), metrics.RetrievalRecall()
    with torch.no_grad():
        for part in videos:
            gallery.add(part)
        answers = [gallery.ask(part).score for part in queries]
    for part, answer in zip(queries, answers, strict=True):
        metric.update(answer, gallery.positions(part.positives), part.row)
    expected = metric.compute()
    assert expected["R@1"] < 100
    assert evaluate(baseline, videos, queries) == pytest.approx(expected, rel=1e-6)
    scores, positives = score(baseline, videos, queries)
    order = torch.cat([part.row for part in videos]).argsort()  # the product sorts by row
    torch.testing.assert_close(scores[:, order], torch.cat(answers), rtol=0, atol=1e-6)
    assert [len(true) for true in positives] == [1] * 12
