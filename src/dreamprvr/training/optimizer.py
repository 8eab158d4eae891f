"""BERT-style Adam with linear warm-up and decay (docs/model.md, section 8)."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Decay = Literal["linear", "cosine"]


class BertAdam(Optimizer):
    """Adam without bias correction, decoupled weight decay, and clipping per parameter tensor.

    One step, for each tensor: its gradient is clipped to norm `max_grad_norm`; then
    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, and
    p = p - lr (m / (sqrt(v) + eps) + weight_decay p).

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: b1 and b2.
        eps: added to sqrt(v).
        weight_decay: added to the update before the learning rate.
        max_grad_norm: largest norm of a tensor's gradient; 0 or less clips nothing.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2.5e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        max_grad_norm: float = 1.0,
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= b < 1 for b in betas):
            raise ValueError(
                f"lr {lr}, eps {eps} and weight_decay {weight_decay} must not be negative, "
                f"betas {betas} must lie in [0, 1)"
            )
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
            "max_grad_norm": max_grad_norm,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all tensors at once, and return the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(group, parameters)
        return loss

    def _update(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for p in parameters:
            if not self.state[p]:
                self.state[p] = {"m": torch.zeros_like(p), "v": torch.zeros_like(p)}
        m = [self.state[p]["m"] for p in parameters]
        v = [self.state[p]["v"] for p in parameters]
        gradients = _clipped([p.grad for p in parameters], group["max_grad_norm"])
        b1, b2 = group["betas"]
        torch._foreach_lerp_(m, gradients, 1 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, gradients, gradients, 1 - b2)
        denominators = torch._foreach_sqrt(v)
        torch._foreach_add_(denominators, group["eps"])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(parameters, m, denominators, -group["lr"])


def _clipped(gradients: list[Any], max_norm: float) -> list[Tensor]:
    """Scale each gradient to norm at most `max_norm`, without reading a norm on the host."""
    if max_norm <= 0:
        return gradients
    norms = torch._foreach_norm(gradients)
    factors = torch._foreach_reciprocal(torch._foreach_add(norms, 1e-6))
    torch._foreach_mul_(factors, max_norm)
    torch._foreach_clamp_max_(factors, 1.0)
    return list(torch._foreach_mul(gradients, factors))


def warmup_factor(step: int, total_steps: int, warmup: float, decay: Decay = "linear") -> float:
    """Compute the factor of the learning rate at a step, from the progress x = step / total_steps.

    It is x / warmup before the warm-up ends. Then it falls from 1 at x = warmup: with `linear` to 0
    at x = 1, as (x - 1) / (warmup - 1); with `cosine` to 0.1, along half a cosine.

    Args:
        step: number of the step, counted from 0.
        total_steps: steps of the whole training.
        warmup: share of the steps spent warming up, in [0, 1].
        decay: shape of the fall.
    """
    progress = step / max(total_steps, 1)
    if progress < warmup:
        return progress / warmup
    left = max((progress - 1) / (warmup - 1), 0.0) if warmup < 1 else 1.0
    return left if decay == "linear" else 0.1 + 0.45 * (1 - math.cos(math.pi * left))


def warmup_schedule(
    optimizer: Optimizer, total_steps: int, warmup: float, decay: Decay = "linear"
) -> LambdaLR:
    """Make the schedule of an optimiser; call its `step()` after every step of the optimiser.

    Args:
        optimizer: the optimiser, whose learning rates are the peaks.
        total_steps: steps of the whole training.
        warmup: share of the steps spent warming up, in [0, 1].
        decay: as for `warmup_factor`.
    """
    return LambdaLR(optimizer, lambda step: warmup_factor(step, total_steps, warmup, decay))


def set_again(ours: Optimizer, checkpoint: Mapping[str, Any], names: Collection[str]) -> None:
    """Put settings of the optimiser in place of the checkpoint's, in the checkpoint.

    Args:
        ours: the optimiser of the configuration.
        checkpoint: a checkpoint of a training by the same kind of optimiser; changed in place.
        names: names of the settings; others are passed over.
    """
    theirs = checkpoint["optimizer_states"][0]["param_groups"]
    for group, saved in zip(ours.param_groups, theirs, strict=True):
        for name in (set(group) - {"params"}).intersection(names):
            if name == "lr":  # as far into the schedule as it was
                peak = saved.get("initial_lr", saved["lr"])
                saved["lr"] = group["lr"] * (saved["lr"] / peak if peak else 1.0)
                saved["initial_lr"] = group["lr"]
            else:
                saved[name] = group[name]
    if "lr" in names:
        for schedule in checkpoint.get("lr_schedulers", []):
            schedule["base_lrs"] = [group["lr"] for group in ours.param_groups]
