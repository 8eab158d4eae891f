"""The state of a checkpoint's optimiser, before a resumed training takes it up."""

from collections.abc import Collection, Mapping
from typing import Any

from torch.optim import Optimizer


def set_again(ours: Optimizer, checkpoint: Mapping[str, Any], names: Collection[str]) -> None:
    """Put settings of the optimiser in place of the checkpoint's, in the checkpoint.

    Args:
        ours: the optimiser of the configuration.
        checkpoint: of a training by the same kind of optimiser; changed in place.
        names: of the settings; others are left out.
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
