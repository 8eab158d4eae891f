"""Kill trainings at random moments, resume them, and compare them with uninterrupted ones.

    python -m benchmarks.kills --kills 20 --folder kills

Each case of `CASES` is trained once without interruption. A second training is killed (`kill -9`)
at a random moment, often while a checkpoint is being written, and resumed from the newest
checkpoint, again and again until the kills are used up. The checkpoints of both must hold the same
state, bit for bit. One training runs at a time, in a fork of a process that has imported all
modules.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.measuring import positive
from data_modules.testing import write_tiny
from data_modules.tvr import TVR

EVERY = {
    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
    "init_args": {"every_n_train_steps": 2, "filename": "own", "enable_version_counter": False},
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no loading process": ({}, {}),
    "one loading process": ({"num_workers": 1}, {}),
    "two loading processes": ({"num_workers": 2}, {}),
    "packed": ({"packed": "float32"}, {}),
    "packed, a thread ahead": ({"packed": "float16", "num_workers": 1}, {}),
    "resident": ({"packed": "float32", "device_resident": True}, {}),
    "validation every second epoch": ({}, {"check_val_every_n_epoch": 2}),
    "validation within epochs": ({}, {"val_check_interval": 0.5}),
    "accumulated": ({}, {"accumulate_grad_batches": 2}),
    "clipped": ({}, {"gradient_clip_val": 0.1}),
    "saved every second step": ({"num_workers": 2}, {"callbacks": [EVERY]}),
    "counted in steps": ({}, {"max_steps": 25, "max_epochs": -1}),
}
STATE = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "random_state")


def write_config(folder: Path, case: str) -> Path:
    """Write the configuration of a case, a training of seconds on a tiny benchmark.

    Args:
        folder: folder with the benchmark in `data/`.
        case: one of `CASES`.
    """
    data, trainer = CASES[case]
    config = {
        "data": {
            "class_path": "data_modules.tvr.TVR",
            "init_args": {
                "root": str(folder / "data"), "batch_size": 3, "eval_batch_size": 3,
                "num_workers": 0, **data,
            },
        },
        "model": {
            "network": {
                "hidden_size": 16, "num_heads": 2, "max_frames": 8, "num_clips": 4,
                "diffusion_steps": 2, "gaussian_widths": [1.0],
            },
        },
        "trainer": {
            "accelerator": "cpu", "max_epochs": 6, "enable_progress_bar": False,
            "enable_model_summary": False, "log_every_n_steps": 1, "default_root_dir": "runs",
            **trainer,
        },
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def start(folder: Path, arguments: list[str]) -> int:
    """Start `lightning ARGUMENTS` in a folder, in a fork, and return its process number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.setsid()  # so that its loading processes can be killed with it
        os.chdir(folder)
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["lightning", *arguments]
        from dreamprvr.cli.main import main

        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os._exit(code)


def newest(folder: Path) -> list[str]:
    """Return the option to resume the newest checkpoint other than `best.ckpt`, if there is one."""
    paths = [p for p in folder.glob("runs/version_*/checkpoints/*.ckpt") if p.name != "best.ckpt"]
    if not paths:
        shutil.rmtree(folder / "runs", ignore_errors=True)
        return []
    return ["--ckpt_path", str(max(paths, key=lambda path: path.stat().st_mtime_ns))]


def kill_once(folder: Path, seconds: float, draw: random.Random) -> bool:
    """Resume a training and kill it; return whether it was still running.

    Args:
        folder: folder of the training.
        seconds: duration of a whole training.
        draw: random generator that chooses the moment.
    """
    process = start(folder, ["fit", "--config", "config.yaml", *newest(folder)])
    until = time.monotonic() + draw.uniform(0.1, 0.8) * seconds
    while_writing = draw.random() < 0.5  # then wait until a file is being written
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            if status:
                raise SystemExit(f"a resumed training failed: {folder}/log.txt")
            return False
        if time.monotonic() >= until:
            writing = any(folder.glob("runs/version_*/checkpoints/.*.partial"))
            if writing or not while_writing:
                break
        time.sleep(0.0005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return True


def finish(folder: Path) -> float:
    """Train or resume a training to its end, and return the seconds."""
    begin = time.monotonic()
    process = start(folder, ["fit", "--config", "config.yaml", *newest(folder)])
    if os.waitpid(process, 0)[1]:
        raise SystemExit(f"a training failed: {folder}/log.txt")
    return time.monotonic() - begin


def same(first: Any, second: Any) -> bool:
    """Return whether two values of a checkpoint are equal, bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def ends_alike(first: Path, second: Path) -> bool:
    """Return whether two trainings have ended with the same best and last states."""
    for name in ("best.ckpt", "last.ckpt"):
        (a,), (b,) = (list(f.glob(f"runs/version_*/checkpoints/{name}")) for f in (first, second))
        ours, theirs = (torch.load(path, weights_only=True) for path in (a, b))
        if not all(same(ours[key], theirs[key]) for key in STATE):
            return False
    return not list(second.glob("runs/version_*/checkpoints/.*.partial"))


def chain(folder: Path, case: str, kills: int, seed: int) -> int:
    """Train once without and once with kills, and return the number of kills.

    Args:
        folder: folder to make and work in.
        case: one of `CASES`.
        kills: largest number of kills.
        seed: seed of the random moments.

    Raises:
        SystemExit: a training failed, or the two did not end alike.
    """
    whole, killed = folder / "whole", folder / "killed"
    for place in (whole, killed):
        place.mkdir(parents=True)
        write_tiny(TVR, place / "data", train=13, val=5)
        write_config(place, case)
    seconds, draw, count = finish(whole), random.Random(f"{case} {seed}"), 0
    while count < kills and kill_once(killed, seconds, draw):
        count += 1
    finish(killed)
    if not ends_alike(whole, killed):
        raise SystemExit(f"{case}: the resumed training differs, see {folder}")
    return count


def main() -> None:
    """Run all cases a number of times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder to work in")
    parser.add_argument("--kills", type=positive, default=10, help="at most, in each training")
    parser.add_argument("--rounds", type=positive, default=1, help="trainings of each case")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    import dreamprvr.cli.trainer_cli  # noqa: F401 - before the forks

    kills = chains = 0
    for round_ in range(options.rounds):
        for case in options.cases:
            folder = options.folder / f"{round_}-{case.replace(' ', '-')}"
            kills += chain(folder, case, options.kills, round_)
            chains += 1
            print(f"{case}: as undisturbed; {kills} kills in {chains} chains so far", flush=True)


if __name__ == "__main__":
    main()
