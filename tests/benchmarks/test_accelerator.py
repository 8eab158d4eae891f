import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import accelerator
from benchmarks.accelerator import ResidentSplit, Training, endless, matmul_ceiling, step_flops
from benchmarks.inputs import settings
from dreamprvr.core.batch import TrainBatch

CHOSEN = settings("synthetic")
SMALL = [
    "--device", "cpu", "--config", "synthetic", "--videos", "3", "--captions", "2", "--batch", "2",
    "--steps", "1", "--rounds", "1", "--epochs", "1", "--matmul", "16", "--evaluations", "8x6",
]  # fmt: skip


@pytest.fixture
def split() -> ResidentSplit:
    return ResidentSplit(CHOSEN, videos=5, captions=3, device="cpu")


def test_a_batch_holds_videos_with_all_their_captions(split: ResidentSplit) -> None:
    batch = split.batch(np.array([4, 1]))
    assert batch.videos.row.tolist() == [4, 1]
    assert batch.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.queries.row.tolist() == [12, 13, 14, 3, 4, 5]
    assert batch.queries.positives[:, 0].tolist() == [4, 4, 4, 1, 1, 1]
    assert batch.videos.frames.shape == (2, 64, 128)
    assert batch.videos.frames.dtype == torch.float32
    norms = batch.videos.frames.norm(dim=-1)
    assert not norms[batch.videos.frame_mask == 0].any()
    assert 0.5 < norms[batch.videos.frame_mask == 1].min() < norms.max() < 1.5
    assert torch.equal(split.batch(np.array([1])).videos.clips[0], batch.videos.clips[1])


def test_an_epoch_is_every_video_once(split: ResidentSplit) -> None:
    epochs = [[b.videos.row.tolist() for b in split.epoch(2, seed)] for seed in (0, 1)]
    assert [len(rows) for rows in epochs[0]] == [2, 2, 1]
    assert sorted(itertools.chain(*epochs[0])) == list(range(5))
    assert epochs[0] != epochs[1]


def test_endless_batches_are_full(split: ResidentSplit) -> None:
    batches = endless(split, 2)
    assert [len(next(batches).videos.row) for _ in range(6)] == [2] * 6


def test_bytes_are_those_of_the_rows(split: ResidentSplit) -> None:
    rows = sum(split.field(name).rows.numel() for name in ("clips", "frames", "words"))
    assert split.bytes == 2 * rows


@pytest.fixture
def three() -> ResidentSplit:
    return ResidentSplit(CHOSEN, videos=3, captions=2, device="cpu")


def test_operations_grow_with_the_batch(three: ResidentSplit) -> None:
    one, two = (step_flops(CHOSEN, three, batch, "cpu") for batch in (1, 2))
    # all of a step but the pooling's GRU is done for each video
    assert 1.8 * one < two < 2.2 * one
    # each video passes forwards once and backwards twice through the input projections, at least
    network, rows = CHOSEN.network, CHOSEN.network.num_clips + CHOSEN.network.max_frames
    assert one > 3 * 2 * rows * CHOSEN.video_dim * network.hidden_size * 0.6


def test_ceiling() -> None:
    assert matmul_ceiling("cpu", 16, repeats=2) > 0


def test_steps_that_are_timed(three: ResidentSplit) -> None:
    training = Training(CHOSEN, three, 2, "cpu")
    seen: list[int] = []
    step = training.step

    def counted(batch: TrainBatch) -> Tensor:
        seen.append(len(batch.videos.row))
        return step(batch)

    training.step = counted
    assert training.warmup_seconds > 0
    assert training.seconds_a_step(2) > 0
    assert seen == [2, 2]
    assert training.epoch_seconds() > 0
    assert seen == [2, 2, 2, 1]
    assert training.synchronisation() is None  # the CPU cannot tell


def test_table_and_json(tmp_path: Path) -> None:
    path = tmp_path / "accelerator.json"
    accelerator.main([*SMALL, "--variants", "plain", "--output", str(path)])
    found = json.loads(path.read_text())
    (row,) = found["results"]
    assert row["training"] == "plain"
    assert row["error"] == ""
    for name in ("step s", "epoch s", "TFLOP/s", "% of matmul"):
        assert row[name] > 0
        assert math.isfinite(row[name])
    assert row["GB beyond features"] is None  # the CPU cannot tell
    assert found["step_flops"] > 1e6
    assert len(found["evaluations"]["8x6"]["rounds"]) == 1


def test_a_variant_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(chosen: Any, split: Any, asked: Any, name: str) -> dict[str, Any]:
        if name == "compile":
            raise RuntimeError("no compiler\nmore")
        return {"step s": 2.0}

    def out_of_memory(*arguments: Any) -> dict[str, Any]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(accelerator, "evaluation", out_of_memory)
    monkeypatch.setattr(accelerator, "measure_training", failing)
    path = tmp_path / "accelerator.json"
    accelerator.main([*SMALL, "--variants", "compile", "fused", "--output", str(path)])
    written = json.loads(path.read_text())
    assert "no compiler\nmore" in written["variants"]["compile"]["traceback"]
    assert written["evaluations"]["8x6"]["error"] == "RuntimeError: out of memory"
    failed, other = written["results"]
    assert (failed["error"], failed["step s"]) == ("RuntimeError: no compiler", None)
    assert (other["error"], other["step s"]) == ("", 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--device", "cuda"], "no CUDA GPU here"), (["--batch", "9"], "more than --videos 3")],
)
def test_options_that_cannot_be(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        accelerator.main([*SMALL, *options])
    assert message in capsys.readouterr().err
