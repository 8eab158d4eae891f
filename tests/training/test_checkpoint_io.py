import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.running import Tiny, refused, run, write_config
from limits import full_disk
from recorder import QUIET, module, trainer

from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError
from dreamprvr.training.checkpoint_io import AtomicCheckpointIO

pytestmark = QUIET
SMALL, LARGE = {"x": torch.ones(3)}, {"x": torch.ones(1 << 16)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.ckpt"
    for content in (LARGE, SMALL):
        AtomicCheckpointIO().save_checkpoint(content, str(path))  # Lightning gives strings
        found = AtomicCheckpointIO().load_checkpoint(path, weights_only=True)
        assert torch.equal(found["x"], content["x"])
        assert names(path.parent) == ["a.ckpt"]


def test_a_full_disk_keeps_the_earlier_file(tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    with full_disk(), pytest.raises(UserError) as caught:
        writer.save_checkpoint(LARGE, last)
    line = f"cannot write {last}: File too large; make room there, then "
    assert str(caught.value) == line + "start again"
    assert names(tmp_path) == []

    writer.save_checkpoint(SMALL, last)
    for name in ("best.ckpt", "last.ckpt"):
        with full_disk(), pytest.raises(UserError) as caught:
            writer.save_checkpoint(LARGE, tmp_path / name)
        assert str(caught.value).startswith(f"cannot write {tmp_path / name}: ")
        assert str(caught.value).endswith(f"then resume with --ckpt_path {last}")
    assert names(tmp_path) == ["last.ckpt"]
    assert torch.equal(writer.load_checkpoint(last, weights_only=True)["x"], SMALL["x"])


def test_nothing_is_written_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's temporary folder may be small, and on another disk."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr("tempfile.tempdir", None)
    AtomicCheckpointIO().save_checkpoint(SMALL, tmp_path / "a.ckpt")
    assert names(tmp_path) == ["a.ckpt"]


def test_lightning_takes_it_as_a_plugin(tmp_path: Path) -> None:
    write_tiny(Tiny, tmp_path / "data")
    data = Tiny(tmp_path / "data", batch_size=3, num_workers=0, max_frames=8, num_clips=4)
    runner = trainer(plugins=[AtomicCheckpointIO()], max_epochs=1)
    runner.fit(module(), data)
    with full_disk(100), pytest.raises(UserError, match=r"cannot write \S*a\.ckpt: File too large"):
        runner.save_checkpoint(tmp_path / "a.ckpt")
    runner.save_checkpoint(tmp_path / "a.ckpt")
    again = trainer(max_epochs=2)
    again.fit(module(seed=1), data, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert again.current_epoch == 2


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_a_training_that_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It ends in one line, after its first epoch, and goes on from there."""
    write, first = Path.write_bytes, {"best.ckpt", "last.ckpt"}

    def full(path: Path, data: Any) -> int:
        written = next(known for known in ("best.ckpt", "last.ckpt") if known in path.name)
        if written == name and written not in first:
            write(path, bytes(data)[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        first.discard(written)
        return write(path, data)

    # each epoch is better than the one before
    sums = iter(range(100))
    monkeypatch.setattr(
        "dreamprvr.evaluation.metrics.recalls",
        lambda _: dict.fromkeys(("R@1", "R@5", "R@10", "R@100", "SumR"), float(next(sums))),
    )
    config = write_config(tmp_path, epochs=2)
    folder = Path("runs/version_0/checkpoints")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        line = refused("fit", "--config", config)
    assert line == (
        f"cannot write {folder / name}: No space left on device; make room there, then resume with "
        f"--ckpt_path {folder / 'last.ckpt'}"
    )
    assert names(folder) == ["best.ckpt", "last.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 0
    assert run("fit", "--config", config, "--ckpt_path", folder / "last.ckpt").code == 0
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 1
