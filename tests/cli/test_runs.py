from pathlib import Path

import pytest

from dreamprvr.cli.runs import keep_earlier_metrics, make_loggers, resumed_version


@pytest.mark.parametrize(
    ("path", "version"),
    [
        (None, None),
        ("", None),
        ("runs/version_3/checkpoints/last.ckpt", 3),
        ("runs/version_12/checkpoints/best.ckpt", 12),
        ("other/version_3/checkpoints/last.ckpt", None),
        ("runs/version_x/checkpoints/last.ckpt", None),
        ("runs/mine/checkpoints/last.ckpt", None),
        ("last.ckpt", None),
    ],
)
def test_the_run_of_a_checkpoint(path: str | None, version: int | None) -> None:
    assert resumed_version(path, Path("runs")) == version


def test_earlier_metrics_are_all_kept(tmp_path: Path) -> None:
    keep_earlier_metrics(tmp_path)
    for text in ("first", "second"):
        (tmp_path / "metrics.csv").write_text(text)
        keep_earlier_metrics(tmp_path)
    assert not (tmp_path / "metrics.csv").exists()
    assert [(tmp_path / f"metrics-{i}.csv").read_text() for i in (1, 2)] == ["first", "second"]


def test_a_new_run_takes_the_next_number(tmp_path: Path) -> None:
    (tmp_path / "version_4").mkdir()
    (logger,) = make_loggers(tmp_path, None, wandb=False, tensorboard=False)
    assert logger.log_dir == str(tmp_path / "version_5")
