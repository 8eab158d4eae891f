import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from cli.outcomes import CONFIG, losses
from cli.running import Golden, launch, refused, run, write_config
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from dreamprvr.cli.runs import MetricsFile, RunFolder, resumed_run
from dreamprvr.cli.runs import write_config as save_config
from dreamprvr.core.errors import UserError


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (None, None),
        ("", None),
        ("runs/version_3/checkpoints/last.ckpt", "version_3"),
        ("runs/version_12/checkpoints/best.ckpt", "version_12"),
        ("other/version_3/checkpoints/last.ckpt", None),
        ("runs/version_x/checkpoints/last.ckpt", None),
        ("runs/version_\u00b2/checkpoints/last.ckpt", None),
        ("runs/mine/checkpoints/last.ckpt", None),
        ("last.ckpt", None),
    ],
)
def test_the_run_of_a_checkpoint(path: str | None, name: str | None) -> None:
    assert resumed_run(path, Path("runs")) == (Path("runs") / name if name else None)


# Folders


def test_a_new_run_takes_the_next_number(tmp_path: Path) -> None:
    (tmp_path / "version_4").mkdir()
    (tmp_path / "version_6").write_text("a file takes a number too")
    (tmp_path / "version_x").mkdir()
    folder = RunFolder(tmp_path, None)
    folder.open()
    assert folder.path == tmp_path / "version_7"
    assert folder.path.is_dir()


def test_runs_that_start_together_take_different_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version_0").mkdir()
    mkdir = Path.mkdir

    def slowly(path: Path, *arguments: Any, **options: Any) -> None:
        """Another run takes the number between looking and making."""
        if path.name in ("version_1", "version_2"):
            mkdir(path)
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", slowly)
    folder = RunFolder(tmp_path, None)
    folder.open()
    assert folder.path == tmp_path / "version_3"


def test_runs_go_to_the_folder_of_their_data_set(tmp_path: Path) -> None:
    config = write_config(tmp_path, epochs=1)
    content = yaml.safe_load(config.read_text())
    del content["trainer"]["default_root_dir"]
    config.write_text(yaml.safe_dump(content))
    assert run("fit", "--config", config).code == 0
    saved = yaml.safe_load(Path("runs/tiny/version_0/config.yaml").read_text())
    assert saved["trainer"]["default_root_dir"] == "runs/tiny"


def test_without_a_logger_a_run_still_has_its_folder(tmp_path: Path) -> None:
    config = write_config(tmp_path, epochs=1)
    for _ in range(2):
        assert run("fit", "--config", config, "--trainer.logger", "false").code == 0
    for name in ("version_0", "version_1"):
        found = {path.name for path in (tmp_path / "runs" / name).rglob("*")}
        assert found == {"config.yaml", "checkpoints", "best.ckpt", "last.ckpt"}


class FailsAtTheStart(Callback):
    """Raises before the first step is done."""

    def on_train_batch_start(self, *_: Any) -> None:
        raise UserError("no good")


def test_a_failed_start_leaves_no_folder(trained: Path, tmp_path: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    shutil.copy(last, "elsewhere.ckpt")
    shutil.rmtree(tmp_path / "runs")
    fails = "cli.test_runs.FailsAtTheStart"
    assert refused("fit", *CONFIG, "--trainer.callbacks", fails) == "no good"
    checkpoint = torch.load("elsewhere.ckpt", weights_only=True)
    checkpoint["optimizer_states"][0]["param_groups"].pop()
    torch.save(checkpoint, "other.ckpt")
    assert "cannot be resumed" in refused("fit", *CONFIG, "--ckpt_path", "other.ckpt")
    shutil.rmtree(tmp_path / "data")
    refused("fit", *CONFIG)
    refused("fit", "--config", write_config(tmp_path, Golden), "--ckpt_path", "elsewhere.ckpt")
    assert not list((tmp_path).glob("runs/**/*"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_failed_resume_touches_nothing(trained: Path, tmp_path: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["optimizer_states"][0]["param_groups"].pop()
    torch.save(checkpoint, trained / "checkpoints" / "unfit.ckpt")
    before = snapshot(trained.parent)
    refused("fit", *CONFIG, "--ckpt_path", trained / "checkpoints" / "unfit.ckpt")
    refused("fit", *CONFIG, "--ckpt_path", last, "--trainer.callbacks", "cli.test_runs.No")
    refused("fit", *CONFIG, "--ckpt_path", last, "--training.optimizer", "torch.optim.Adam")
    write_config(tmp_path, Golden)
    refused("fit", *CONFIG, "--ckpt_path", last)
    assert snapshot(trained.parent) == before


def test_a_finished_run_that_is_resumed_keeps_its_record(trained: Path) -> None:
    before = snapshot(trained)
    last = ("--ckpt_path", trained / "checkpoints" / "last.ckpt")
    assert run("fit", *CONFIG, *last).code == 0  # there is nothing to do
    assert snapshot(trained) == before
    assert run("fit", *CONFIG, *last, "--trainer.max_epochs", "3").code == 0
    assert (trained / "config-1.yaml").read_bytes() == before[str(trained / "config.yaml")]
    assert yaml.safe_load((trained / "config.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert (trained / "metrics.csv").read_bytes().startswith(before[str(trained / "metrics.csv")])
    assert pd.read_csv(trained / "metrics.csv")["val/SumR"].notna().sum() == 3
    assert not list(trained.glob("metrics-*.csv"))


def test_each_earlier_configuration_is_kept(tmp_path: Path) -> None:
    for text in ("a: 1", "a: 2", "a: 2\nckpt_path: last.ckpt", "a: 3"):
        save_config(tmp_path, text)
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"config-1.yaml": "a: 1", "config-2.yaml": "a: 2", "config.yaml": "a: 3"}


# Folders that cannot be written to


def forbid(monkeypatch: pytest.MonkeyPatch, code: int, wrong: Callable[[str], bool]) -> None:
    """Let writing, linking and making folders fail for the paths that `wrong` accepts."""

    def check(path: Any) -> None:
        if isinstance(path, str | bytes | os.PathLike) and wrong(os.fsdecode(path)):
            raise OSError(code, os.strerror(code), os.fsdecode(path))

    for name in ("open", "mkdir", "link", "replace", "rename"):
        real = getattr(os, name)

        def guarded(path: Any, *rest: Any, _real: Any = real, **options: Any) -> Any:
            flags = rest[0] if rest and _real.__name__ == "open" else os.O_WRONLY
            if flags & (os.O_WRONLY | os.O_RDWR):
                check(path)
                if _real.__name__ != "open" and rest:
                    check(rest[0])
            return _real(path, *rest, **options)

        monkeypatch.setattr(os, name, guarded)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_a_run_cannot_be_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    config = write_config(tmp_path)
    forbid(monkeypatch, code, lambda path: "runs" in path)
    line = refused("fit", "--config", config)
    assert line.startswith(f"cannot write to runs: {os.strerror(code)}; ")
    assert line.endswith("or give another --trainer.default_root_dir")


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "runs").write_text("")
    assert "cannot write to runs" in refused("fit", "--config", config)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folders_without_permission(trained: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    trained.chmod(0o555)
    try:
        assert "cannot write to runs" in refused("fit", *CONFIG, "--ckpt_path", last)
    finally:
        trained.chmod(0o755)


@pytest.mark.parametrize("part", ["version_0", "checkpoints"])
def test_a_run_that_may_only_be_read_is_not_resumed(
    trained: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    before = snapshot(trained)
    with monkeypatch.context() as patch:
        forbid(patch, errno.EROFS, lambda path: f"/{part}" in path)
        line = refused("fit", *CONFIG, "--ckpt_path", last)
    assert line.startswith("cannot write to runs/version_0: Read-only file system; name")
    assert snapshot(trained) == before


class LosesTheDisk(Callback):
    """The run's folder becomes read-only in the second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            patch = pytest.MonkeyPatch()
            LosesTheDisk.patch = patch  # type: ignore[attr-defined]
            forbid(patch, errno.EROFS, lambda path: "version_0" in path)


def test_a_folder_that_becomes_read_only(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    try:
        loses = ("--trainer.callbacks", "cli.test_runs.LosesTheDisk")
        line = refused("fit", "--config", config, *loses)
    finally:
        from cli import test_runs  # the one that the command line imported

        test_runs.LosesTheDisk.patch.undo()  # type: ignore[attr-defined]
    assert re.match(r"cannot write .*version_0/.*: Read-only file system; ", line)
    last = torch.load("runs/version_0/checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 0
    assert len(losses(Path("runs/version_0"))["loss"].dropna()) == 3


# The metrics


def test_metrics_are_appended_and_columns_added(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    file.log_metrics({"loss": torch.tensor(0.5), "a,b": 1}, 0)
    file.save()
    file.save()
    file.log_metrics({"loss": 0.25}, 1)
    file.save()
    file.log_metrics({"val/SumR": 3}, 1)
    file.save()
    assert path.read_text().splitlines() == [
        '"a,b",loss,step,val/SumR', "1,0.5,0,", ",0.25,1,", ",,1,3",
    ]  # fmt: skip


def test_metrics_of_an_earlier_process_stay(tmp_path: Path) -> None:
    """A last line without an end was being written when the process died."""
    path = tmp_path / "metrics.csv"
    path.write_text("loss,step\r\n0.5,0\r\n0.25,1\r\n0.12")
    file = MetricsFile(path)
    file.log_metrics({"loss": 0.125, "lr": 1}, 2)
    file.save()
    assert path.read_text() == "loss,step,lr\n0.5,0,\n0.25,1,\n0.125,2,1\n"


def test_metrics_are_not_written_through_a_link(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("mine")
    (tmp_path / "metrics.csv").symlink_to(other)
    file = MetricsFile(tmp_path / "metrics.csv")
    file.log_metrics({"loss": 1.0}, 0)
    with pytest.raises(UserError, match=r"metrics.csv is a link"):
        file.save()
    assert other.read_text() == "mine"


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
    result = launch(
        "fit", "--config", write_config(tmp_path, epochs=1), "--wandb", "true", anew=True
    )
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
def test_wandb_is_offline_without_a_key_and_without_a_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, mode: str | None
) -> None:
    monkeypatch.setenv(variable, value)
    _, logger = RunFolder(tmp_path / "runs", None).loggers(wandb=True, tensorboard=False)
    assert isinstance(logger, WandbLogger)
    assert logger._wandb_init.get("mode") == mode
