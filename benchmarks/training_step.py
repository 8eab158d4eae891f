"""Compare a whole training step of product and baseline on the CPU, at published sizes.

    python -m benchmarks.training_step [--configs tvr charades] [--videos N] [--rounds N]

A step is the forward pass, the loss with hard negatives, the backward pass and the optimiser, with
the published dropout. Both start from the same weights and take turns with the same batch.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.baseline import objective as baseline_objective
from benchmarks.baseline.network import Baseline
from benchmarks.baseline.objective import BaselineAdam
from benchmarks.inputs import FEATURES, Settings, pair, settings, train_batch
from benchmarks.measuring import begin, comparison, interleave, parser, publish
from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.training.compilation import compile_step
from dreamprvr.training.optimizer import BertAdam, warmup_schedule

MATRIX_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
Step = Callable[[TrainBatch], Tensor]  # takes a batch and returns its loss before the update
TOTAL_STEPS = 1000  # steps of the schedule, of which a benchmark takes a few


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
    """Return a function that trains the product on a batch, as the trainer does.

    Args:
        network: network to train, on its device.
        chosen: settings of the network and the optimiser.
        total_steps: number of steps of the learning rate's schedule.
        hard_negatives: use hard negatives, not random ones.
        half: bfloat16 mixed precision.
        compiled: compile the step; `fused` and `cuda_graphs` as in `compile_step`.
    """
    device = next(network.train().parameters()).device.type
    optimizer = BertAdam(network.parameter_groups(), lr=chosen.lr, weight_decay=chosen.weight_decay)
    schedule = warmup_schedule(optimizer, total_steps, chosen.warmup)
    epoch = network.objective_config.hard_negatives_from - (not hard_negatives)
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
    """Return a function that trains the baseline on a batch; arguments as for `product_step`."""
    network.train()
    optimizer = BaselineAdam(network, chosen.lr, total_steps, chosen.warmup, chosen.weight_decay)

    def step(batch: TrainBatch) -> Tensor:
        terms = baseline_objective.loss_terms(network, batch, chosen.objective, hard_negatives)
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
        return terms["total"].detach()

    return step


def matrix_share(work: Callable[[], object]) -> float:
    """Return the share of a call's CPU time that matrix products take, from 0 to 1."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    products = sum(e.self_cpu_time_total for e in events if e.key in MATRIX_PRODUCTS)
    return float(products / total)


def measure(chosen: Settings, videos: int, captions: int, rounds: int) -> dict[str, Any]:
    """Measure the seconds of every round, and the shares of matrix products."""
    product, baseline = pair(chosen)
    batch = train_batch(chosen, videos, captions)
    steps = {"baseline": baseline_step(baseline, chosen), "product": product_step(product, chosen)}
    ways = {name: partial(step, batch) for name, step in steps.items()}
    taken = interleave(ways, rounds)
    shares = {name: matrix_share(work) for name, work in ways.items()}
    return {"seconds": taken, "matrix_products": shares}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "training_step", rounds=7, videos=32, captions=5)
    options.add_argument("--configs", nargs="+", choices=FEATURES, default=["tvr", "charades"])
    args = begin(options, arguments)
    rows, details = [], {}
    for name in args.configs:
        torch.manual_seed(0)
        details[name] = measure(settings(name), args.videos, args.captions, args.rounds)
        for way, cells in comparison(details[name]["seconds"]).items():
            share = 100 * details[name]["matrix_products"][way]
            rows.append({"sizes of": name, "step": way, **cells, "matrix products %": share})
    publish(args, rows, details=details)


if __name__ == "__main__":
    main()
