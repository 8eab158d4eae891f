"""R@K and SumR over a whole gallery, and what several true videos add (docs/protocol.md)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from dreamprvr.core.errors import UserError

CUTOFFS = (1, 5, 10, 100)
DEPTH = 10  # places that nDCG looks at
COLUMNS = ("R@1", "R@5", "R@10", "R@100", "SumR")
SEVERAL = ("mAP", "nDCG@10", "R-precision")  # measures of queries with several true videos


class Coverage(NamedTuple):
    """The part of a split that an evaluation covered."""

    videos: int  # number of videos that were ranked
    all_videos: int  # number of videos of the split
    captions: int  # number of captions that were evaluated
    all_captions: int  # number of captions of the split

    @property
    def whole(self) -> bool:
        """True if every caption was ranked against every video."""
        return self.videos == self.all_videos and self.captions == self.all_captions

    def __str__(self) -> str:
        return (
            f"{self.videos} of {self.all_videos} videos, "
            f"{self.captions} of {self.all_captions} captions"
        )


def refuse_nan(scores: Tensor, query: Tensor) -> None:
    """Refuse scores that are not numbers.

    Args:
        scores: (Q, V).
        query: row of each query in its table, (Q,).

    Raises:
        UserError: a score is NaN.
    """
    broken = scores.isnan().any(dim=1)
    if broken.any():
        raise UserError(
            f"query row {int(query[broken][0])} has NaN scores: the features hold NaN (run "
            "`lightning data check`) or the training diverged (lower the learning rate)"
        )


def true_ranks(scores: Tensor, positives: Tensor) -> Tensor:
    """Rank each true video of a query among all videos, from 1 (docs/protocol.md, Measures).

    The rank of the i-th best true video is i plus the number of false videos that score at least as
    much, so that a tie never helps.

    Args:
        scores: scores of every video of the gallery, (Q, V).
        positives: positions of the true videos in the gallery, (Q, P) int64, padded with -1.

    Returns:
        (Q, P) int64, in the order of `positives`; 0 for padding, and for a video that its query
        names a second time.
    """
    count = scores.shape[1]
    known = (positives >= 0) & ~_repeated(positives)
    column = positives.where(known, count)  # padding goes to a further column
    false = torch.ones(len(scores), count + 1, dtype=torch.bool, device=scores.device)
    false = false.scatter(1, column, False)[:, :count]  # (Q, V)
    score = scores.gather(1, positives.clamp(min=0))  # (Q, P)
    before = torch.full_like(positives, count)  # false videos that score at least as much
    for place in range(positives.shape[1]):
        rows = known[:, place].nonzero().squeeze(1)  # of further true videos there are few
        whole = len(rows) == len(scores)
        others, is_false = (scores, false) if whole else (scores[rows], false[rows])
        above = (others >= score[rows, place, None]) & is_false
        before[rows, place] = above.sum(dim=1)
    # true videos of equal `before` have no false one between them: the better score comes first
    order = score.argsort(dim=1, descending=True, stable=True)
    sorted_before = before.where(known, count + 1).gather(1, order)
    order = order.gather(1, sorted_before.argsort(dim=1, stable=True))
    number = torch.arange(1, positives.shape[1] + 1, device=scores.device).expand_as(order)
    return (before + torch.empty_like(order).scatter(1, order, number)).where(known, 0)


def _repeated(positives: Tensor) -> Tensor:
    """Mark the videos that stand in their row before, (Q, P) bool."""
    ordered, order = positives.sort(dim=1, stable=True)
    again = torch.zeros_like(ordered, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(again).scatter(1, order, again)


def best_rank(ranks: Tensor) -> Tensor:
    """Pick the best rank of each query: (Q, P) as of `true_ranks` -> (Q,); 0 if there is none."""
    best = ranks.where(ranks > 0, torch.iinfo(ranks.dtype).max)
    none = best.new_full((len(best), 1), torch.iinfo(ranks.dtype).max)
    best = torch.cat([best, none], dim=1).amin(dim=1)
    return best.where(best < none[:, 0], 0)


def recalls(rank: Tensor) -> dict[str, float]:
    """Compute R@1, R@5, R@10, R@100 and their sum SumR, in %, from ranks (Q,)."""
    result = {f"R@{k}": 100 * (rank <= k).double().mean().item() for k in CUTOFFS}
    return result | {"SumR": sum(result.values())}


def qualities(ranks: Tensor) -> Tensor:
    """Compute average precision, nDCG@10 and R-precision of each query (docs/protocol.md).

    Args:
        ranks: ranks of all true videos, (Q, P) int64, 0 for padding; at least one for each query.

    Returns:
        (Q, 3) double, from 0 to 1, in the order of `SEVERAL`.
    """
    known = ranks > 0
    count = known.sum(dim=1, keepdim=True).clamp(min=1)  # (Q, 1)
    ordered = ranks.where(known, torch.iinfo(ranks.dtype).max).sort(dim=1).values.double()
    number = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
    precision = (number / ordered).where(number <= count, 0).sum(dim=1, keepdim=True) / count
    gain = (1 / (ranks + 1).double().log2()).where(known & (ranks <= DEPTH), 0).sum(1, keepdim=True)
    places = torch.arange(1, DEPTH + 1, device=ranks.device)
    ideal = (1 / (places + 1).double().log2()).cumsum(0)[count.clamp(max=DEPTH) - 1]
    found = (known & (ranks <= count)).sum(dim=1, keepdim=True) / count.double()
    return torch.cat([precision, gain / ideal, found], dim=1)


def evaluation(ranks: Tensor) -> dict[str, float]:
    """Compute all measures, in %.

    Args:
        ranks: ranks of all true videos, (Q, P) int64, 0 for padding; at least one for each query.

    Returns:
        R@1, R@5, R@10, R@100 and SumR of the best rank; mAP, nDCG@10 and R-precision where a query
        has several true videos, as they say nothing new about a single one.
    """
    result = recalls(best_rank(ranks))
    if bool(((ranks > 0).sum(dim=1) > 1).any()):
        result |= _means(qualities(ranks))
    return result


def _means(quality: Tensor) -> dict[str, float]:
    return dict(zip(SEVERAL, (100 * quality.mean(dim=0)).tolist(), strict=True))


class RetrievalRecall(Metric):
    """The metric R@1, R@5, R@10, R@100 and SumR, in %, and what several true videos add.

    It is updated with blocks of queries and keeps four numbers for each query, not the scores. A
    query that comes twice, because distributed samplers pad with duplicates, counts once.

    Attributes:
        counted: number of queries that the last `compute` covered, of all processes together.
        ranked: their rows in the table of queries, ascending, as `query`; their ranks as `rank`;
            and in % what several true videos add, by name; (Q,) each.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0
        self.ranked: dict[str, Tensor] = {}
        self.rank: list[Tensor] | Tensor
        self.quality: list[Tensor] | Tensor
        self.several: list[Tensor] | Tensor
        self.query: list[Tensor] | Tensor
        for name in ("rank", "quality", "several", "query"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, positives: Tensor, query: Tensor) -> None:
        """Add a block of queries.

        Args:
            scores: scores of every video of the gallery, (Q, V).
            positives: positions of the true videos in the gallery, (Q, P) int64, padded with -1; at
                least one for each query.
            query: row of each query in its table, (Q,) int64.

        Raises:
            UserError: a score is NaN.
        """
        refuse_nan(scores, query)
        ranks = true_ranks(scores, positives)
        several = (ranks > 0).sum(dim=1) > 1
        added = (best_rank(ranks), qualities(ranks), several, query)
        states = (self.rank, self.quality, self.several, self.query)
        for state, value in zip(states, added, strict=True):
            assert isinstance(state, list)
            state.append(value)

    def compute(self) -> dict[str, float]:
        """Compute `R@1`, `R@5`, `R@10`, `R@100` and `SumR`, in %.

        Where a query has several true videos, `mAP`, `nDCG@10` and `R-precision` are added.
        """
        query = dim_zero_cat(self.query)
        order = query.argsort(stable=True)
        query = query[order]
        first = torch.ones_like(query, dtype=torch.bool)
        first[1:] = query[1:] != query[:-1]
        once = order[first]
        rank, quality = dim_zero_cat(self.rank)[once], dim_zero_cat(self.quality)[once]
        self.counted = len(once)
        self.ranked = {"query": query[first], "rank": rank}
        result = recalls(rank)
        if bool(dim_zero_cat(self.several)[once].any()):
            result |= _means(quality)
            self.ranked |= dict(zip(SEVERAL, 100 * quality.T, strict=True))
        return result


def results_table(rows: Mapping[str, Mapping[str, float]], corner: str = "") -> str:
    """Make a table of measures in %, with one decimal.

    Args:
        rows: `R@1`, `R@5`, `R@10`, `R@100` and `SumR` by the name of the row, and perhaps `mAP`,
            `nDCG@10` and `R-precision`; a row without these has dashes where another has them.
        corner: text before the header, such as data set and split.
    """
    further = [name for name in SEVERAL if any(name in row for row in rows.values())]
    widths = {name: max(8, len(name) + 2) for name in (*COLUMNS, *further)}
    first = max(map(len, [corner, *rows]))
    lines = [f"{corner:<{first}}" + "".join(f"{name:>{size}}" for name, size in widths.items())]
    for label, row in rows.items():
        lines.append(f"{label:<{first}}" + "".join(_cell(row, *one) for one in widths.items()))
    return "\n".join(lines)


def _cell(row: Mapping[str, float], name: str, width: int) -> str:
    missing = name in SEVERAL and name not in row
    return "-".rjust(width) if missing else f"{row[name]:{width}.1f}"
