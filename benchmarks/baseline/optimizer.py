"""BERT-style Adam, one parameter after the other, with its schedule (docs/model.md, section 8)."""

import re
from typing import Any

import torch
from torch import nn

# the LayerNorms of input projections and position embeddings
UNDECAYED_NORM = re.compile(r"(projection|position)\.norm\.weight$")


class BaselineAdam(torch.optim.Optimizer):
    """Adam without bias correction, with decoupled decay, clipping and warm-up.

    A step clips the gradients themselves, each tensor's to norm 1.

    Args:
        network: whose trainable parameters are updated.
        lr: largest learning rate.
        total_steps: of the whole training.
        warmup: share of the steps in which the rate rises from 0, above 0 and below 1; it falls
            to 0 in the others.
        weight_decay: of all but the biases and some LayerNorms.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        total_steps: int,
        warmup: float = 0.01,
        weight_decay: float = 0.01,
    ) -> None:
        decayed, undecayed = [], []
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad:
                continue
            is_bias = name.split(".")[-1].startswith("bias")
            if is_bias or UNDECAYED_NORM.search(name):
                undecayed.append(parameter)
            else:
                decayed.append(parameter)
        groups = [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": undecayed, "weight_decay": 0.0},
        ]
        super().__init__(groups, {"lr": lr})
        self.total_steps = total_steps
        self.warmup = warmup
        self.steps_taken = 0

    def factor(self) -> float:
        """Of the learning rate in the coming step."""
        progress = self.steps_taken / self.total_steps
        if progress < self.warmup:
            return progress / self.warmup
        return max((1 - progress) / (1 - self.warmup), 0.0)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; `closure` is not supported."""
        rate = self.factor()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                nn.utils.clip_grad_norm_(parameter, 1.0)
                gradient, state = parameter.grad, self.state[parameter]
                if not state:
                    state["m"] = torch.zeros_like(parameter)
                    state["v"] = torch.zeros_like(parameter)
                state["m"] = 0.9 * state["m"] + 0.1 * gradient
                state["v"] = 0.999 * state["v"] + 0.001 * gradient**2
                update = state["m"] / (state["v"].sqrt() + 1e-6)
                update = update + group["weight_decay"] * parameter
                parameter -= group["lr"] * rate * update
        self.steps_taken += 1
