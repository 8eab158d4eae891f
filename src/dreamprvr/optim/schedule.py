"""Linear warm-up and linear decay (docs/model.md, section 8)."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_linear(step: int, total_steps: int, warmup: float) -> float:
    """Factor of the learning rate at `step` (from 0): that of the progress x = step / total_steps.

    x / warmup before the warm-up ends, then (x - 1) / (warmup - 1): 1 falling to 0 at x = 1.
    """
    progress = step / max(total_steps, 1)
    if progress < warmup:
        return progress / warmup
    return max((progress - 1) / (warmup - 1), 0.0) if warmup < 1 else 1.0


def warmup_linear_schedule(optimizer: Optimizer, total_steps: int, warmup: float) -> LambdaLR:
    """The schedule of an optimiser; call its `step()` after every optimiser step.

    Args:
        optimizer: its learning rates are the peaks.
        total_steps: of the whole training.
        warmup: share of the steps spent warming up, in [0, 1].
    """
    return LambdaLR(optimizer, lambda step: warmup_linear(step, total_steps, warmup))
