"""R@K and SumR over a whole gallery (docs/protocol.md)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from dreamprvr.core.errors import UserError

CUTOFFS = (1, 5, 10, 100)


class Coverage(NamedTuple):
    """How much of a split an evaluation saw: `videos` of `all_videos`, and so the captions."""

    videos: int
    all_videos: int
    captions: int
    all_captions: int

    @property
    def whole(self) -> bool:
        """Whether every caption was ranked against every video."""
        return self.videos == self.all_videos and self.captions == self.all_captions

    def __str__(self) -> str:
        return (
            f"{self.videos} of {self.all_videos} videos, "
            f"{self.captions} of {self.all_captions} captions"
        )


def refuse_nan(scores: Tensor, query: Tensor) -> None:
    """Refuse scores that are no numbers.

    Args:
        scores: (Q, V).
        query: (Q,) the row of each query in its table.

    Raises:
        UserError: a score is NaN.
    """
    broken = scores.isnan().any(dim=1)
    if broken.any():
        raise UserError(
            f"query row {int(query[broken][0])} has NaN scores: the features hold NaN (run "
            "`lightning data check`) or the training diverged (lower the learning rate)"
        )


def ranks(scores: Tensor, positives: Tensor) -> Tensor:
    """Rank of each query's best true video, from 1.

    One plus the number of other videos that score at least as much: a tie never helps.

    Args:
        scores: (Q, V) of every video of the gallery.
        positives: (Q, P) int64, positions of the true videos in the gallery, padded with -1; at
            least one a query.

    Returns:
        (Q,) int64.
    """
    count = scores.shape[1]
    column = positives.where(positives >= 0, count)  # padding goes to a column of its own
    true = torch.zeros(len(scores), count + 1, dtype=torch.bool, device=scores.device)
    true = true.scatter(1, column, True)[:, :count]  # (Q, V); a video named twice is one video
    best = scores.masked_fill(~true, -torch.inf).amax(dim=1, keepdim=True)
    # the query's own true videos do not stand in its way
    return 1 + ((scores >= best) & ~true).sum(dim=1)


def recalls(rank: Tensor) -> dict[str, float]:
    """R@1, R@5, R@10, R@100 and their sum, in %, from ranks (Q,)."""
    result = {f"R@{k}": 100 * (rank <= k).double().mean().item() for k in CUTOFFS}
    return result | {"SumR": sum(result.values())}


class RetrievalRecall(Metric):
    """Recall at 1, 5, 10 and 100, and SumR, in %.

    Keeps one rank a query, never the scores. Updated with blocks of queries, each against the
    whole gallery; a query seen twice (distributed samplers pad with duplicates) counts once.

    Attributes:
        counted: number of queries that the last `compute` ranked, on all processes together.
    """

    full_state_update = False
    higher_is_better = True

    def __init__(self) -> None:
        super().__init__()
        self.counted = 0
        self.rank: list[Tensor] | Tensor
        self.query: list[Tensor] | Tensor
        self.add_state("rank", default=[], dist_reduce_fx="cat")
        self.add_state("query", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, positives: Tensor, query: Tensor) -> None:
        """Add a block of queries.

        Args:
            scores: (Q, V), every video of the gallery.
            positives: (Q, P) int64, positions of the true videos, padded with -1.
            query: (Q,) int64, the row of each query in its table.

        Raises:
            UserError: a score is NaN.
        """
        refuse_nan(scores, query)
        assert isinstance(self.rank, list)
        assert isinstance(self.query, list)
        self.rank.append(ranks(scores, positives))
        self.query.append(query)

    def compute(self) -> dict[str, float]:
        """`R@1`, `R@5`, `R@10`, `R@100` and `SumR`, in %."""
        rank, query = dim_zero_cat(self.rank), dim_zero_cat(self.query)
        order = query.argsort(stable=True)
        query, rank = query[order], rank[order]
        first = torch.ones_like(query, dtype=torch.bool)
        first[1:] = query[1:] != query[:-1]
        self.counted = int(first.sum())
        return recalls(rank[first])


COLUMNS = ("R@1", "R@5", "R@10", "R@100", "SumR")


def results_table(rows: Mapping[str, Mapping[str, float]], corner: str = "") -> str:
    """Lay out rows of recalls in %, one decimal, under the usual header.

    Args:
        rows: by name, each holding `R@1`, `R@5`, `R@10`, `R@100` and `SumR`.
        corner: stands before the header: data set and split, where the rows do not say them.
    """
    width = max(map(len, [corner, *rows]))
    lines = [f"{corner:<{width}}" + "".join(f"{column:>8}" for column in COLUMNS)]
    for name, row in rows.items():
        lines.append(f"{name:<{width}}" + "".join(f"{row[column]:8.1f}" for column in COLUMNS))
    return "\n".join(lines)
