"""A few of the kills that the benchmark makes; in a process of its own, as it forks."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.kills import CASES, newest, same


@pytest.mark.slow
def test_killed_trainings_end_as_undisturbed_ones(tmp_path: Path) -> None:
    case = "saved every second step"  # with two loading processes
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", "--folder", tmp_path / "kills", "--kills", "2",
         "--cases", case],
        cwd=root, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert f"{case}: as undisturbed" in done.stdout


def test_the_newest_checkpoint_is_resumed(tmp_path: Path) -> None:
    assert newest(tmp_path) == []
    folder = tmp_path / "runs" / "version_0" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("last.ckpt", "own.ckpt", "best.ckpt"):
        (folder / name).touch()
    assert newest(tmp_path) == ["--ckpt_path", str(folder / "own.ckpt")]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"a": torch.ones(2)}, {"a": torch.ones(2)}, True),
        ({"a": torch.ones(2)}, {"a": torch.ones(2) + 1e-7}, False),
        ({"a": 1}, {"b": 1}, False),
        ([1, (2, "x")], [1, (2, "x")], True),
        ([1, 2], [1], False),
    ],
)
def test_sameness_is_exact(first: Any, second: Any, expected: bool) -> None:
    assert same(first, second) == expected


def test_all_ways_to_train_are_tried() -> None:
    assert len(CASES) == 12
