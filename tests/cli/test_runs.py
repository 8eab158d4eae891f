import os
from pathlib import Path

import pytest
from cli.outcomes import losses
from cli.running import launch, run, write_config
from lightning.pytorch.loggers import WandbLogger

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


def test_tensorboard_by_its_flag(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = write_config(tmp_path, epochs=1)
    assert run("fit", "--config", config, "--tensorboard", "true").code == 0
    folder = tmp_path / "runs" / "version_0"
    assert {"config.yaml", "metrics.csv"} <= {path.name for path in folder.iterdir()}
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    for name in ("loss", "val/SumR"):
        logged = [scalar.value for scalar in events.Scalars(name)]
        assert logged == pytest.approx(losses(folder)[name].dropna().tolist(), rel=1e-6)


@pytest.fixture
def no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that never heard of wandb."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name, folder in {
        "HOME": home, "NETRC": home / ".netrc", "WANDB_CONFIG_DIR": home, "WANDB_CACHE_DIR": home,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(folder))


@pytest.mark.slow
@pytest.mark.usefixtures("no_account")
def test_wandb_by_its_flag_is_offline_without_an_account(tmp_path: Path) -> None:
    # wandb's service outlives a run, and writes where the first run of a process was
    result = launch("fit", "--config", write_config(tmp_path, epochs=1), "--wandb", "true")
    assert result.code == 0, result
    folder = tmp_path / "runs" / "version_0"
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert b"val/SumR" in log.read_bytes()
    assert {"config.yaml", "metrics.csv"} <= {path.name for path in folder.iterdir()}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["version_0"]


@pytest.mark.usefixtures("no_account")
@pytest.mark.parametrize(
    ("variable", "value", "mode"),
    [("UNRELATED", "1", "offline"), ("WANDB_API_KEY", "0" * 40, None),
     ("WANDB_MODE", "disabled", None)],
)  # fmt: skip
def test_offline_only_where_there_is_no_key_and_no_wish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, mode: str | None
) -> None:
    monkeypatch.setenv(variable, value)
    _, logger = make_loggers(tmp_path / "runs", None, wandb=True, tensorboard=False)
    assert isinstance(logger, WandbLogger)
    assert logger._wandb_init.get("mode") == mode
