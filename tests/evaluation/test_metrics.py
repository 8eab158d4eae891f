import math
import random

import pytest
import torch
from golden import group, settings
from shared import needs_reference
from torch import Tensor
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_normalized_dcg,
    retrieval_r_precision,
)
from torchmetrics.retrieval import RetrievalMAP, RetrievalNormalizedDCG, RetrievalRPrecision

from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.metrics import (
    COLUMNS,
    SEVERAL,
    Coverage,
    RetrievalRecall,
    best_rank,
    evaluation,
    qualities,
    recalls,
    results_table,
    true_ranks,
)


def ranks(scores: Tensor, positives: Tensor) -> Tensor:
    return best_rank(true_ranks(scores, positives))


def slow_rank(scores: list[float], positives: list[int]) -> int:
    """Sort the videos, false before true where the scores are equal; place of the first true."""
    order = sorted(range(len(scores)), key=lambda v: (-scores[v], v in positives))
    return 1 + min(order.index(v) for v in positives if v >= 0)


def slow_recalls(rank: list[int]) -> dict[str, float]:
    result = {f"R@{k}": 100 * sum(r <= k for r in rank) / len(rank) for k in (1, 5, 10, 100)}
    return result | {"SumR": sum(result.values())}


def example(queries: int = 60, videos: int = 150, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores with many ties, and one to three true videos a query."""
    generator = random.Random(seed)
    scores = [[generator.randrange(-20, 10) / 30 for _ in range(videos)] for _ in range(queries)]
    positives = []
    for query in range(queries):
        true = generator.sample(range(videos), 1 + query % 3)
        row = true + [-1] * (3 - len(true))
        positives.append(row if query % 2 else row[::-1])  # padding may come first
    return torch.tensor(scores), torch.tensor(positives)


def slow_example() -> list[int]:
    scores, positives = example()
    return [slow_rank(s, p) for s, p in zip(scores.tolist(), positives.tolist(), strict=True)]


# All true videos of a query


def slow_ranks(scores: list[float], positives: list[int]) -> list[int]:
    """Place of each true video, false before true where the scores are equal; 0 for padding."""
    order = sorted(range(len(scores)), key=lambda v: (-scores[v], v in positives))
    return [1 + order.index(v) if v >= 0 else 0 for v in positives]


def slow_quality(rank: list[int]) -> list[float]:
    """Average precision, nDCG@10 and R-precision of one query, as textbooks state them."""
    true = {place for place in rank if place}
    precisions = [sum(t <= place for t in true) / place for place in true]
    gain = sum(1 / math.log2(place + 1) for place in range(1, 11) if place in true)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(10, len(true)) + 1))
    found = sum(place in true for place in range(1, len(true) + 1))
    return [sum(precisions) / len(true), gain / ideal, found / len(true)]


def slow_qualities(seed: int = 0) -> dict[str, float]:
    rows = zip(*(part.tolist() for part in example(seed=seed)), strict=True)
    each = [slow_quality(slow_ranks(*row)) for row in rows]
    means = [100 * sum(column) / len(each) for column in zip(*each, strict=True)]
    return dict(zip(SEVERAL, means, strict=True))


def test_every_true_video_has_the_rank_of_a_sort() -> None:
    scores, positives = example()
    found = true_ranks(scores, positives)
    for row, true, place in zip(scores.tolist(), positives.tolist(), found.tolist(), strict=True):
        slow = slow_ranks(row, true)
        assert sorted(place) == sorted(slow)
        # true videos with one score are alike: any order of theirs is right
        best_first = sorted((p, row[v]) for p, v in zip(place, true, strict=True) if v >= 0)
        assert [s for _, s in best_first] == sorted((row[v] for v in true if v >= 0), reverse=True)
    assert torch.equal(found.where(found > 0, 999).amin(dim=1), ranks(scores, positives))


def test_ties_of_true_videos_with_false_ones_do_not_help() -> None:
    assert true_ranks(torch.zeros(1, 5), torch.tensor([[3, -1, 0]])).tolist() == [[4, 0, 5]]
    scores = torch.tensor([[0.9, 0.5, 0.5, 0.5, 0.1]])
    assert true_ranks(scores, torch.tensor([[4, 0, 2]])).tolist() == [[5, 1, 4]]
    infinite = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    assert true_ranks(infinite, torch.tensor([[-1, 0]])).tolist() == [[0, 3]]


def test_a_query_without_a_true_video_has_no_rank() -> None:
    scores = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    assert ranks(scores, torch.tensor([[-1, -1], [-1, 2]]))[0] == 0
    assert ranks(scores, torch.empty(2, 0, dtype=torch.int64)).tolist() == [0, 0]
    assert true_ranks(scores, torch.empty(2, 0, dtype=torch.int64)).shape == (2, 0)


def test_measures_by_hand() -> None:
    """Two of three true videos among the first three, the third at place 12."""
    found = qualities(torch.tensor([[3, 1, 12, 0]]))[0].tolist()
    expected = [
        (1 + 2 / 3 + 3 / 12) / 3,
        (1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2),
        2 / 3,
    ]
    assert found == pytest.approx(expected, rel=1e-12)
    assert qualities(torch.tensor([[2, 1, 0]])).tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_those_of_torchmetrics(seed: int) -> None:
    """Scores without ties, as torchmetrics ranks equal scores in another way."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(40, 60, generator=generator, dtype=torch.float64)
    target = torch.rand(40, 60, generator=generator) < 0.05 * (1 + seed)
    target[torch.arange(40), torch.randint(60, (40,), generator=generator)] = True
    lists = [row.nonzero().squeeze(1) for row in target]
    padded = torch.nn.utils.rnn.pad_sequence(lists, batch_first=True, padding_value=-1)
    found = qualities(true_ranks(scores, padded))
    for row, true, own in zip(scores, target, found.tolist(), strict=True):
        theirs = [
            retrieval_average_precision(row, true),
            retrieval_normalized_dcg(row, true, top_k=10),
            retrieval_r_precision(row, true),
        ]
        assert own == pytest.approx([float(value) for value in theirs], rel=1e-5)
    metric = RetrievalRecall()
    metric.update(scores, padded, torch.arange(40))
    means, indexes = metric.compute(), torch.arange(40)[:, None].expand(40, 60)
    for name, theirs in (
        ("mAP", RetrievalMAP()),
        ("nDCG@10", RetrievalNormalizedDCG(top_k=10)),
        ("R-precision", RetrievalRPrecision()),
    ):
        value = 100 * theirs(scores, target, indexes)
        assert means[name] == pytest.approx(float(value), rel=1e-5)


def test_a_single_true_video_adds_no_measure() -> None:
    scores, positives = torch.eye(3), torch.tensor([[0, -1], [1, -1], [0, -1]])
    metric = RetrievalRecall()
    metric.update(scores, positives, torch.arange(3))
    assert tuple(metric.compute()) == COLUMNS
    metric.update(scores[:1], torch.tensor([[1, 2]]), torch.tensor([3]))
    assert tuple(metric.compute()) == COLUMNS + SEVERAL


def test_measures_take_a_query_once() -> None:
    scores, positives = example()
    once, twice = RetrievalRecall(), RetrievalRecall()
    once.update(scores, positives, torch.arange(60))
    for rows in (torch.arange(0, 60, 2), torch.arange(59, -1, -1)):
        twice.update(scores[rows], positives[rows], rows)
    assert twice.compute() == pytest.approx(once.compute(), rel=1e-12)


def test_ranks_equal_the_slow_reference() -> None:
    found = ranks(*example()).tolist()
    assert found == slow_example()
    assert len(set(found)) > 20


def test_metric_equals_the_slow_reference() -> None:
    scores, positives = example()
    metric = RetrievalRecall()
    for start in range(0, 60, 25):  # blocks of another size at the end
        block = slice(start, start + 25)
        metric.update(scores[block], positives[block], torch.arange(60)[block])
    found = metric.compute()
    assert found == pytest.approx(slow_recalls(slow_example()) | slow_qualities(), rel=1e-12)
    assert found == evaluation(true_ranks(scores, positives))


@needs_reference
def test_golden_recall() -> None:
    metric, labels = RetrievalRecall(), group("in")["labels"]
    metric.update(group("eval")["scores"], labels[:, None], torch.arange(len(labels)))
    found, golden = metric.compute(), settings()["recall"]
    assert {name: found[name] for name in golden} == golden
    assert found["SumR"] == sum(golden.values())


def test_everything_tied_is_the_worst_rank() -> None:
    assert ranks(torch.zeros(2, 7), torch.tensor([[0], [6]])).tolist() == [7, 7]
    # three true videos: the four false ones come first
    assert ranks(torch.zeros(1, 7), torch.tensor([[0, 3, 6]])).tolist() == [5]


def test_several_true_videos_count_by_the_best() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7]])
    assert ranks(scores, torch.tensor([[0, 2]])).tolist() == [3]
    assert ranks(scores, torch.tensor([[2, 3]])).tolist() == [2]
    # the best true video shares its score with a false one
    tied = torch.tensor([[0.9, 0.9, 0.9, 0.1]])
    assert ranks(tied, torch.tensor([[0, 1, 3]])).tolist() == [2]


@pytest.mark.parametrize("seed", range(20))
def test_naming_a_true_video_twice_changes_nothing(seed: int) -> None:
    generator = random.Random(seed)
    scores, positives = example(queries=30, videos=generator.randrange(3, 12), seed=seed)
    twice = []
    for row in positives.tolist():
        known = [video for video in row if video >= 0]
        more = row + generator.choices([*known, -1], k=4)
        twice.append(generator.sample(more, len(more)))
    found = ranks(scores, torch.tensor(twice))
    assert torch.equal(found, ranks(scores, positives))
    rows = zip(scores.tolist(), twice, strict=True)
    assert found.tolist() == [slow_rank(row, true) for row, true in rows]


def test_infinite_scores_are_ranked() -> None:
    scores = torch.tensor([[-torch.inf, 0.0, torch.inf], [-torch.inf, -torch.inf, 0.0]])
    assert ranks(scores, torch.tensor([[0], [0]])).tolist() == [3, 3]


def test_cutoffs_and_unrounded_sum() -> None:
    found = recalls(torch.tensor([1, 2, 5, 6, 10, 11, 100]))
    share = 100 / 7
    assert found == pytest.approx(
        {"R@1": share, "R@5": 3 * share, "R@10": 5 * share, "R@100": 100, "SumR": 9 * share + 100}
    )
    assert recalls(torch.tensor([101]))["SumR"] == 0


def test_query_seen_twice_counts_once() -> None:
    scores, positives = torch.eye(3), torch.tensor([[0], [1], [0]])  # ranks 1, 1, 3
    metric = RetrievalRecall()
    metric.update(scores, positives, torch.tensor([4, 2, 9]))
    metric.update(scores[:2], positives[:2], torch.tensor([4, 2]))
    assert metric.compute()["R@1"] == pytest.approx(200 / 3)


def test_a_reset_metric_forgets_its_ranks() -> None:
    metric = RetrievalRecall()
    metric.update(torch.tensor([[0.0, 1.0]]), torch.tensor([[0]]), torch.tensor([0]))
    assert metric.compute()["R@1"] == 0
    metric.reset()
    metric.update(torch.tensor([[0.0, 1.0]]), torch.tensor([[1]]), torch.tensor([0]))
    assert metric.compute()["R@1"] == 100


@pytest.mark.parametrize("column", [0, 1])
def test_nan_is_refused_with_the_query(column: int) -> None:
    scores = torch.zeros(3, 2)
    scores[1, column] = torch.nan
    with pytest.raises(UserError, match="query row 17 has NaN scores"):
        RetrievalRecall().update(scores, torch.zeros(3, 1).long(), torch.tensor([16, 17, 18]))


def test_a_metric_says_which_queries_it_ranked() -> None:
    scores, positives = torch.eye(3), torch.tensor([[0], [1], [0]])
    metric = RetrievalRecall()
    metric.update(scores, positives, torch.tensor([4, 2, 9]))
    metric.update(scores[:2], positives[:2], torch.tensor([4, 2]))
    metric.compute()
    assert metric.counted == 3
    found = {name: part.tolist() for name, part in metric.ranked.items()}
    assert found == {"query": [2, 4, 9], "rank": [1, 1, 3]}
    metric.update(torch.eye(3)[:1], torch.tensor([[0, 1]]), torch.tensor([11]))
    assert metric.compute()["mAP"] == pytest.approx(metric.ranked["mAP"].mean().item())
    assert metric.ranked["mAP"].tolist()[:2] == [100, 100]


@pytest.mark.parametrize("seen", [(4, 4, 9, 9), (3, 4, 9, 9), (4, 4, 8, 9)])
def test_only_an_evaluation_of_the_whole_split_is_whole(seen: tuple[int, int, int, int]) -> None:
    coverage = Coverage(*seen)
    assert coverage.whole == (seen == (4, 4, 9, 9))
    assert str(coverage) == f"{seen[0]} of 4 videos, {seen[2]} of 9 captions"


def row(*values: float) -> dict[str, float]:
    return dict(zip(COLUMNS, values, strict=True))


def test_a_table_of_results_has_one_row_for_each_name() -> None:
    rows = {"chance": row(0.04, 0.25, 0.55, 5, 5.84), "DreamPRVR": row(8.7, 27.5, 40.3, 100, 176.5)}
    assert results_table(rows).split("\n") == [
        "              R@1     R@5    R@10   R@100    SumR",
        "chance        0.0     0.2     0.6     5.0     5.8",
        "DreamPRVR     8.7    27.5    40.3   100.0   176.5",
    ]


def test_the_corner_names_data_set_and_split() -> None:
    assert results_table({"a": row(1, 2, 3, 4, 10)}, "tvr test").split("\n") == [
        "tvr test     R@1     R@5    R@10   R@100    SumR",
        "a            1.0     2.0     3.0     4.0    10.0",
    ]


def test_other_entries_are_not_shown() -> None:
    assert results_table({"a": row(1, 2, 3, 4, 10) | {"loss": 9.9}}).count("9.9") == 0


def test_a_table_without_rows() -> None:
    assert results_table({}).split() == list(COLUMNS)


def test_a_table_where_some_captions_have_several_true_videos() -> None:
    rows = {"chance": row(1, 2, 3, 4, 10), "model": row(1, 2, 3, 4, 10)}
    rows["model"] |= dict(zip(SEVERAL, (11, 22, 33), strict=True))
    assert results_table(rows).split("\n") == [
        "           R@1     R@5    R@10   R@100    SumR     mAP  nDCG@10  R-precision",
        "chance     1.0     2.0     3.0     4.0    10.0       -        -            -",
        "model      1.0     2.0     3.0     4.0    10.0    11.0     22.0         33.0",
    ]


def test_a_missing_column_is_an_error() -> None:
    with pytest.raises(KeyError, match="SumR"):
        results_table({"a": {"R@1": 1, "R@5": 1, "R@10": 1, "R@100": 1}})
