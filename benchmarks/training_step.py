"""Seconds of a whole training step on the CPU, product and baseline, at published sizes.

    python -m benchmarks.training_step [--configs tvr charades] [--videos N] [--rounds N]

Forward pass, loss with hard negatives, backward pass and optimiser, with the published dropout.
Both start from the same weights, see the same batch and take turns.
"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.baseline import objective as baseline_objective
from benchmarks.baseline.network import Baseline
from benchmarks.baseline.objective import BaselineAdam
from benchmarks.inputs import FEATURES, Settings, pair, settings, train_batch
from benchmarks.measuring import (
    interleave,
    machine,
    parser,
    positive,
    publish,
    ratio,
    use_threads,
)
from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.training.compilation import compile_step
from dreamprvr.training.optimizer import BertAdam, warmup_linear_schedule

MATRIX_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
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
    """Return a function that trains the product on a batch, as the trainer does, without Lightning.

    Args:
        network: network to train, on the device where it lies.
        chosen: settings of the network and the optimiser.
        total_steps: steps of the learning rate's schedule.
        hard_negatives: use hard negatives, as after the first epochs; False draws them at random.
        half: bfloat16 mixed precision.
        compiled: compile the step, as `training.compile` does.
        fused: attend through FlexAttention, as `training.fused_attention` does.
        cuda_graphs: record CUDA graphs.
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
    """Measure the seconds of every round, their ratio, and the shares of matrix products."""
    product, baseline = pair(chosen)
    batch = train_batch(chosen, videos, captions)
    steps = {"baseline": baseline_step(baseline, chosen), "product": product_step(product, chosen)}
    ways = {name: lambda step=step: step(batch) for name, step in steps.items()}
    taken = interleave(ways, rounds)
    shares = {name: matrix_share(work) for name, work in ways.items()}
    return {"seconds": taken, "ratio": ratio(**taken)._asdict(), "matrix_products": shares}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "training_step", rounds=7)
    options.add_argument("--configs", nargs="+", choices=FEATURES, default=["tvr", "charades"])
    options.add_argument("--videos", type=positive, default=32)
    options.add_argument("--captions", type=positive, default=5, help="of each video")
    chosen = options.parse_args(arguments)
    use_threads(chosen.threads)
    described, rows, details = machine(), [], {}
    for name in chosen.configs:
        torch.manual_seed(0)
        found = measure(settings(name), chosen.videos, chosen.captions, chosen.rounds)
        shares, times = found["matrix_products"], found["ratio"]
        rows.append(
            {
                "sizes of": name,
                "baseline s": statistics.median(found["seconds"]["baseline"]),
                "product s": statistics.median(found["seconds"]["product"]),
                "x baseline": times["median"],
                "smallest": times["low"],
                "largest": times["high"],
                "products, baseline %": 100 * shares["baseline"],
                "products, product %": 100 * shares["product"],
            }
        )
        details[name] = found
    sizes = {"videos": chosen.videos, "captions": chosen.captions, "rounds": chosen.rounds}
    publish(chosen.output, described, rows, sizes=sizes, details=details)


if __name__ == "__main__":
    main()
