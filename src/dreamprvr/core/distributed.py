"""Several processes: gather what every rank encoded, with gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dreamprvr.core.errors import UserError


def is_distributed() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _GatherRows(torch.autograd.Function):
    """Concatenate equally shaped tensors of all ranks; gradients flow back to each rank's own.

    Every rank computes the full loss, and the strategy averages gradients over ranks: the sum over
    ranks in `backward` makes that average the gradient of the full loss.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        gathered = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, x.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        start = ctx.rows * dist.get_rank()
        return gradient[start : start + ctx.rows]


def rows_of_ranks(x: Tensor) -> list[int]:
    """How many rows each rank's tensor has; the host waits for the answer."""
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in _ranks()]
    dist.all_gather(counts, torch.tensor([len(x)], device=x.device))
    return torch.cat(counts).tolist()


def gather_rows(x: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
    """Rows of all ranks in rank order; their numbers may differ, the other axes may not.

    Args:
        x: this rank's rows.
        sizes: the ranks' numbers of rows, if they are known already.
    """
    sizes = rows_of_ranks(x) if sizes is None else sizes
    longest = max(sizes)
    padded = torch.cat([x, x.new_zeros(longest - len(x), *x.shape[1:])])
    rows = _GatherRows.apply(padded) if x.requires_grad else _GatherRows.apply(padded.detach())
    return torch.cat([part[:size] for part, size in zip(rows.split(longest), sizes, strict=True)])


def gather_objects(value: Any) -> list[Any]:
    """A picklable value of every rank, in rank order."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None for _ in _ranks()]
    dist.all_gather_object(values, value)
    return values


def on_first_rank(work: Callable[[], None]) -> None:
    """Do something on rank 0 alone; every rank must call this.

    No rank is left waiting for one that failed: they all raise.

    Args:
        work: what is to be done; nothing in it may wait for other ranks.

    Raises:
        UserError: on the other ranks, whatever rank 0 raised.
    """
    failed: Exception | None = None
    if not is_distributed() or dist.get_rank() == 0:
        try:
            work()
        except Exception as error:
            failed = error
    said = gather_objects(None if failed is None else str(failed))[0]
    if failed is not None:
        raise failed
    if said is not None:
        raise UserError(said)


def largest_of_ranks(value: int, device: torch.device) -> int:
    """The largest of all processes' values; the host waits for the answer.

    Args:
        value: of this process.
        device: where the processes exchange tensors.
    """
    if not is_distributed():
        return value
    largest = torch.tensor([value], device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest.item())


def _ranks() -> Sequence[int]:
    return range(dist.get_world_size())
