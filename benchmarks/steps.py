"""One whole training step, of the product and of the baseline: the same work on the same batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.baseline import objective as baseline_objective
from benchmarks.baseline.network import Baseline
from benchmarks.baseline.optimizer import BaselineAdam
from benchmarks.inputs import Settings
from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.training.compilation import compile_step
from dreamprvr.training.optimizer import BertAdam, warmup_linear_schedule

Step = Callable[[TrainBatch], Tensor]  # a batch -> its loss, before the update; on its device
TOTAL_STEPS = 1000  # of the schedule, where no more than a few of them are taken


def product_step(
    network: DreamPRVR,
    chosen: Settings,
    total_steps: int = TOTAL_STEPS,
    *,
    hard_negatives: bool = True,
    half: bool = False,
    compiled: bool = False,
    fused: bool = False,
    cuda_graphs: bool = False,
) -> Step:
    """What the LightningModule and its trainer do with a batch, without Lightning.

    Args:
        network: is trained, where it is.
        chosen: its settings.
        total_steps: of the schedule.
        hard_negatives: as in all but the first epochs; False draws negatives at random.
        half: bfloat16 mixed precision.
        compiled: as `model.compile`.
        fused: as `model.fused_attention`.
        cuda_graphs: of `compile_step`.
    """
    network.train()
    optimizer = BertAdam(network.parameter_groups(), lr=chosen.lr, weight_decay=chosen.weight_decay)
    first_hard = network.objective_config.hard_negatives_from
    epoch = first_hard if hard_negatives else first_hard - 1
    schedule = warmup_linear_schedule(optimizer, total_steps, chosen.warmup)
    device = next(network.parameters()).device.type
    if compiled:
        compile_step(network, half=half, fused=fused, cuda_graphs=cuda_graphs)

    def step(batch: TrainBatch) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            total = network.losses(network.encode_batch(batch), epoch)["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        return total.detach()

    return step


def baseline_step(
    network: Baseline,
    chosen: Settings,
    total_steps: int = TOTAL_STEPS,
    *,
    hard_negatives: bool = True,
) -> Step:
    """The same of the baseline; arguments as of `product_step`."""
    network.train()
    optimizer = BaselineAdam(network, chosen.lr, total_steps, chosen.warmup, chosen.weight_decay)

    def step(batch: TrainBatch) -> Tensor:
        terms = baseline_objective.loss_terms(network, batch, chosen.objective, hard_negatives)
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
        return terms["total"].detach()

    return step
