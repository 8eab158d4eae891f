"""Exchange between the processes of a run: gather tensors with gradients, values and errors."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dreamprvr.core.errors import UserError


def is_distributed() -> bool:
    """Check that this process is one of several."""
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


def sizes_of_ranks(sizes: Sequence[int], device: torch.device) -> list[list[int]]:
    """Exchange sizes between all ranks; the host waits for the answer.

    Args:
        sizes: sizes of this rank, as many as every other rank has.
        device: device on which the processes exchange tensors.

    Returns:
        For each size a list with its value on every rank.
    """
    of_ranks = [torch.zeros(len(sizes), dtype=torch.int64, device=device) for _ in _ranks()]
    dist.all_gather(of_ranks, torch.tensor(sizes, device=device))
    return torch.stack(of_ranks, dim=1).tolist()


def gather_rows(x: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
    """Gather the rows of all ranks, in rank order, with gradients.

    Args:
        x: rows of this rank. Their number may differ between ranks, the other axes may not.
        sizes: number of rows of each rank, if it is known already.

    Returns:
        The rows of all ranks, on every rank.
    """
    sizes = sizes_of_ranks([len(x)], x.device)[0] if sizes is None else sizes
    longest = max(sizes)
    padded = torch.cat([x, x.new_zeros(longest - len(x), *x.shape[1:])])
    rows = _GatherRows.apply(padded) if x.requires_grad else _GatherRows.apply(padded.detach())
    return torch.cat([part[:size] for part, size in zip(rows.split(longest), sizes, strict=True)])


def gather_objects(value: Any) -> list[Any]:
    """Gather a value that can be pickled from every rank, in rank order."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None for _ in _ranks()]
    dist.all_gather_object(values, value)
    return values


def on_first_rank(work: Callable[[], None]) -> None:
    """Call a function on rank 0 alone; every rank must call this.

    If the function fails, all ranks raise, so that none waits for ever.

    Args:
        work: function to call; it must not wait for other ranks.

    Raises:
        UserError: on the other ranks, with the message of rank 0's error.
    """
    failed: Exception | None = None
    if not is_distributed() or dist.get_rank() == 0:
        try:
            work()
        except Exception as error:
            failed = error
    message = gather_objects(None if failed is None else str(failed))[0]
    if failed is not None:
        raise failed
    if message is not None:
        raise UserError(message)


def largest_of_ranks(value: int, device: torch.device) -> int:
    """Return the largest value of all processes; the host waits for the answer.

    Args:
        value: value of this process.
        device: device on which the processes exchange tensors.
    """
    if not is_distributed():
        return value
    largest = torch.tensor([value], device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest.item())


def _ranks() -> Sequence[int]:
    return range(dist.get_world_size())
