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


def ranks(scores: Tensor, positives: Tensor) -> Tensor:
    """Rank each query's best true video among all videos, from 1 (docs/protocol.md, Measures).

    The rank is one plus the number of other videos that score at least as much as the true video,
    so that a tie never helps. The query's other true videos do not count.

    Args:
        scores: scores of every video of the gallery, (Q, V).
        positives: positions of the true videos in the gallery, (Q, P) int64, padded with -1; at
            least one for each query.

    Returns:
        (Q,) int64.
    """
    count = scores.shape[1]
    column = positives.where(positives >= 0, count)  # padding goes to a further column
    true = torch.zeros(len(scores), count + 1, dtype=torch.bool, device=scores.device)
    true = true.scatter(1, column, True)[:, :count]  # (Q, V); a video named twice is one video
    best = scores.masked_fill(~true, -torch.inf).amax(dim=1, keepdim=True)
    return 1 + ((scores >= best) & ~true).sum(dim=1)


def recalls(rank: Tensor) -> dict[str, float]:
    """Compute R@1, R@5, R@10, R@100 and their sum SumR, in %, from ranks (Q,)."""
    result = {f"R@{k}": 100 * (rank <= k).double().mean().item() for k in CUTOFFS}
    return result | {"SumR": sum(result.values())}


class RetrievalRecall(Metric):
    """The metric R@1, R@5, R@10, R@100 and SumR, in %.

    It is updated with blocks of queries and keeps one rank for each query, not the scores. A query
    that comes twice, because distributed samplers pad with duplicates, counts once.

    Attributes:
        counted: number of queries that the last `compute` covered, of all processes together.
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
            scores: scores of every video of the gallery, (Q, V).
            positives: positions of the true videos in the gallery, (Q, P) int64, padded with -1.
            query: row of each query in its table, (Q,) int64.

        Raises:
            UserError: a score is NaN.
        """
        refuse_nan(scores, query)
        assert isinstance(self.rank, list)
        assert isinstance(self.query, list)
        self.rank.append(ranks(scores, positives))
        self.query.append(query)

    def compute(self) -> dict[str, float]:
        """Compute `R@1`, `R@5`, `R@10`, `R@100` and `SumR`, in %."""
        rank, query = dim_zero_cat(self.rank), dim_zero_cat(self.query)
        order = query.argsort(stable=True)
        query, rank = query[order], rank[order]
        first = torch.ones_like(query, dtype=torch.bool)
        first[1:] = query[1:] != query[:-1]
        self.counted = int(first.sum())
        return recalls(rank[first])


COLUMNS = ("R@1", "R@5", "R@10", "R@100", "SumR")


def results_table(rows: Mapping[str, Mapping[str, float]], corner: str = "") -> str:
    """Make a table of recalls in %, with one decimal.

    Args:
        rows: `R@1`, `R@5`, `R@10`, `R@100` and `SumR` by the name of the row.
        corner: text before the header, such as data set and split.
    """
    width = max(map(len, [corner, *rows]))
    lines = [f"{corner:<{width}}" + "".join(f"{column:>8}" for column in COLUMNS)]
    for name, row in rows.items():
        lines.append(f"{name:<{width}}" + "".join(f"{row[column]:8.1f}" for column in COLUMNS))
    return "\n".join(lines)
