from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from cli.running import Tiny, refused, run, write_config
from labels import write_labels
from lightning.pytorch import callbacks as lightning
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from recorder import module

from data_modules.testing import write_tiny
from dreamprvr.cli.callbacks import (
    LOG_EVERY,
    REFUSED,
    all_callbacks,
    check_monitors,
    progress_bar,
)
from dreamprvr.core.errors import UserError
from dreamprvr.training.callbacks.results import Results


def settings(**changes: Any) -> SimpleNamespace:
    defaults = {"callbacks": None, "enable_progress_bar": None, "enable_checkpointing": None}
    return SimpleNamespace(**{**defaults, "logger": None, **changes})


def names(verb: str, has_logger: bool = False, **changes: Any) -> list[str]:
    bar = type(progress_bar()).__name__
    found = [type(one).__name__ for one in all_callbacks(verb, settings(**changes), has_logger)]
    return ["bar" if name == bar else name for name in found]


def test_of_a_training() -> None:
    ours = ["RunCheckpoint", "bar", "Results", "Finite", "Resuming", "LastCheckpoint"]
    assert names("fit", True) == [*ours, "LearningRateMonitor"]
    assert names("fit") == ours
    assert names("fit", enable_checkpointing=False) == ["bar", "Results", "Finite", "Resuming"]
    best, *_, last = all_callbacks("fit", settings(), False)
    assert (best.filename, best.monitor, best.mode) == ("best", "val/SumR", "max")  # type: ignore[attr-defined]
    assert (last.filename, last.monitor) == ("last", None)  # type: ignore[attr-defined]


def test_of_an_evaluation() -> None:
    assert names("test", True) == ["bar", "Results"]
    assert names("predict", enable_progress_bar=False) == ["Results"]


def test_the_users_own_come_first() -> None:
    own = EarlyStopping("val/SumR")
    for given in (own, [own]):
        assert names("test", callbacks=given) == ["EarlyStopping", "bar", "Results"]


def test_the_bar_is_redrawn_seldom() -> None:
    assert progress_bar().refresh_rate == LOG_EVERY  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec")
def test_a_progress_bar_of_the_users_own(tmp_path: Path) -> None:
    """The trainer refuses two; one callback may be given without a list."""
    bar = "lightning.pytorch.callbacks.TQDMProgressBar"
    config = write_config(tmp_path)
    found = run(
        "fit", "--config", config, "--trainer.fast_dev_run", "1",
        "--trainer.enable_progress_bar", "true", "--trainer.callbacks", bar,
    )  # fmt: skip
    assert found.code == 0, found
    assert "it/s" in found.err + found.out


# The user's own beside ours, in whole trainings

KEEPER = "lightning.pytorch.callbacks.ModelCheckpoint"


def keeper(**settings: Any) -> dict[str, Any]:
    return {"class_path": KEEPER, "init_args": settings}


def configured(folder: Path, *callbacks: dict[str, Any], epochs: int = 2) -> Path:
    config = write_config(folder, epochs=epochs)
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"] = list(callbacks)
    config.write_text(yaml.safe_dump(content))
    return config


def kept(folder: Path) -> dict[str, int]:
    files = folder.rglob("*.ckpt")
    return {path.name: torch.load(path, weights_only=True)["global_step"] for path in files}


def test_own_checkpoints_beside_ours(tmp_path: Path) -> None:
    """Three of the highest SumR, the settings of ours, and every second step."""
    top = keeper(monitor="val/SumR", mode="max", save_top_k=3)
    often = keeper(every_n_train_steps=2, save_top_k=-1, save_last=True)
    config = configured(tmp_path, top, often)
    assert run("fit", "--config", config).code == 0
    folder = tmp_path / "runs" / "version_0"
    last = {"last.ckpt": 6, "own-last.ckpt": 6}
    steps = {"epoch=0-step=2.ckpt": 2, "epoch=1-step=4.ckpt": 4, "epoch=1-step=6.ckpt": 6}
    epochs = {"epoch=0-step=3.ckpt": 3}
    found = kept(folder)
    best = found.pop("best.ckpt")
    assert best in (3, 6)
    assert found.pop("epoch=1-step=6-v1.ckpt", 6) == 6
    assert found == last | steps | epochs

    more = ("--trainer.max_epochs", "4")
    result = run("fit", "--config", config, "--ckpt_path", folder / "checkpoints/last.ckpt", *more)
    assert result.code == 0, result
    found = kept(folder)
    assert found["last.ckpt"] == found["own-last.ckpt"] == 12
    assert {3, 6, 9, 12} >= {found["best.ckpt"]}
    assert {"epoch=2-step=8.ckpt", "epoch=3-step=10.ckpt", "epoch=3-step=12.ckpt"} <= set(found)
    best_path = folder / "checkpoints" / "best.ckpt"
    assert f"best checkpoint: {best_path.relative_to(tmp_path)}" in result.out
    for verb in ("test", "validate"):
        saved = folder / "config.yaml"
        assert run(verb, "--config", saved, "--ckpt_path", best_path).code == 0
    assert kept(tmp_path) == found


@pytest.mark.parametrize("name", ["best", "last"])
def test_own_checkpoints_do_not_take_our_names(tmp_path: Path, name: str) -> None:
    own = keeper(filename=name, monitor="loss", save_top_k=1)
    assert run("fit", "--config", configured(tmp_path, own)).code == 0
    assert set(kept(tmp_path)) == {"best.ckpt", "last.ckpt", f"own-{name}.ckpt"}


def test_own_checkpoints_in_a_folder_of_their_own(tmp_path: Path) -> None:
    own = keeper(dirpath=str(tmp_path / "mine"), filename="best", save_last=True)
    assert run("fit", "--config", configured(tmp_path, own, epochs=1)).code == 0
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "own-best.ckpt",
        "own-last.ckpt",
    }
    ours = tmp_path / "runs" / "version_0" / "checkpoints"
    assert {path.name for path in ours.iterdir()} == {"best.ckpt", "last.ckpt"}


def test_own_stopping_rate_and_bar(tmp_path: Path) -> None:
    prefix = "lightning.pytorch.callbacks."
    stopping = {"monitor": "val/SumR", "mode": "max", "stopping_threshold": 0.0}
    own = [
        {"class_path": prefix + "EarlyStopping", "init_args": stopping},
        {"class_path": prefix + "EarlyStopping", "init_args": {"monitor": "loss"}},
        {"class_path": prefix + "LearningRateMonitor", "init_args": {"logging_interval": "epoch"}},
        {"class_path": prefix + "TQDMProgressBar"},
    ]
    config = configured(tmp_path, *own, epochs=5)
    bar = ("--trainer.enable_progress_bar", "true")
    assert run("fit", "--config", config, *bar).code == 0
    folder = tmp_path / "runs" / "version_0"
    table = pd.read_csv(folder / "metrics.csv")
    assert table["val/SumR"].notna().sum() == 1  # stopped after the first epoch
    (rate,) = (name for name in table if name.endswith("pg1"))
    assert table[rate].notna().sum() == 1
    best = ("--ckpt_path", folder / "checkpoints" / "best.ckpt")
    assert run("test", "--config", config, *best, *bar).code == 0


def test_a_callback_whose_default_is_of_an_enumeration(tmp_path: Path) -> None:
    """It is written to config.yaml, which makes the same callback again."""
    timer = "lightning.pytorch.callbacks.Timer"
    own = {"class_path": timer, "init_args": {"duration": "00:01:00:00"}}
    assert run("fit", "--config", configured(tmp_path, own, epochs=1)).code == 0
    saved = tmp_path / "runs" / "version_0" / "config.yaml"
    (found,) = yaml.safe_load(saved.read_text())["trainer"]["callbacks"]
    assert (found["class_path"], found["init_args"]["interval"]) == (timer, "step")
    assert run("fit", "--config", saved).code == 0


def test_stopping_by_an_unknown_value_is_refused(tmp_path: Path) -> None:
    stopping = {"monitor": "val/R@2", "mode": "max"}
    own = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": stopping}
    line = refused("fit", "--config", configured(tmp_path, own))
    assert line == (
        "trainer.callbacks: EarlyStopping monitors val/R@2, which is not logged; there are loss, "
        "val_SumR, val/R@1, val/R@5, val/R@10, val/R@100, val/SumR, train/clip_nce, "
        "train/frame_nce, train/clip_triplet, train/frame_triplet, train/diversity, "
        "train/similarity, train/kl, train/diffusion"
    )
    assert not (tmp_path / "runs").exists()


def test_values_that_are_monitored(tmp_path: Path) -> None:
    write_tiny(Tiny, tmp_path)
    model, data = module().network, Tiny(tmp_path)
    before = torch.get_rng_state()
    for name in ("loss", "val_SumR", "val/R@1", "val_partial/R@5", "train/kl", "lr-BertAdam/pg1"):
        check_monitors([EarlyStopping(name), ModelCheckpoint(monitor=name)], model, data)
    check_monitors([EarlyStopping("mine", strict=False), ModelCheckpoint(), Results()], model, data)
    check_monitors([EarlyStopping("mine"), Logs()], model, data)
    for wrong in ("val/loss", "train/KL", "val_partial/loss", "val/mAP"):
        for callback in (EarlyStopping(wrong), ModelCheckpoint(monitor=wrong)):
            with pytest.raises(UserError, match=f"monitors {wrong}, which is not logged; there "):
                check_monitors([callback], model, data)
    assert torch.equal(torch.get_rng_state(), before)


def test_further_measures_are_monitored_where_captions_have_several_true_videos(
    tmp_path: Path,
) -> None:
    model, callbacks = (
        module().network,
        [EarlyStopping("val/mAP"), EarlyStopping("val/R-precision")],
    )
    check_monitors(callbacks, model, Tiny(tmp_path))  # generated later, so nobody knows
    write_tiny(Tiny, tmp_path)
    write_labels(tmp_path / "l.jsonl", Tiny(tmp_path).annotations("val"))
    check_monitors(callbacks, model, Tiny(tmp_path, labels=tmp_path / "l.jsonl"))


class Logs(Callback):
    """Stands for a callback of the user's, which may log anything."""


# Every callback that Lightning ships; those of the last two groups need more than a line here.
WORKING: dict[str, dict[str, Any]] = {
    "BasePredictionWriter": {"write_interval": "batch"}, "BatchSizeFinder": {"max_trials": 1},
    "Callback": {}, "Checkpoint": {}, "DeviceStatsMonitor": {"cpu_stats": False},
    "EMAWeightAveraging": {}, "EarlyStopping": {"monitor": "val/SumR"},
    "GradientAccumulationScheduler": {"scheduling": {0: 1, 1: 2}}, "LambdaCallback": {},
    "LearningRateMonitor": {}, "ModelCheckpoint": {"monitor": "val/R@1"},
    "ModelSummary": {"max_depth": 2}, "OnExceptionCheckpoint": {"dirpath": "failed"},
    "RichModelSummary": {}, "TQDMProgressBar": {}, "Timer": {"duration": "00:01:00:00"},
}  # fmt: skip
OTHERS = {"ProgressBar", "RichProgressBar", "ThroughputMonitor", "WeightAveraging"}


@pytest.mark.filterwarnings("ignore")  # the callbacks have much to say about each other
def test_every_callback_of_lightning_works_or_is_refused(tmp_path: Path) -> None:
    assert {*WORKING, *OTHERS, *(kind.__name__ for kind in REFUSED)} == set(lightning.__all__)
    for kind in REFUSED:
        callback = kind.__new__(kind)
        with pytest.raises(UserError, match=rf"{kind.__name__} cannot be used: \w+"):
            all_callbacks("fit", settings(callbacks=[callback]), False)

    own = [
        {"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": arguments}
        for name, arguments in WORKING.items()
    ]
    config = ("--config", configured(tmp_path, *own), "--trainer.enable_progress_bar", "true")
    assert run("fit", *config).code == 0
    last = ("--ckpt_path", tmp_path / "runs" / "version_0" / "checkpoints" / "last.ckpt")
    assert run("fit", *config, *last, "--trainer.max_epochs", "3").code == 0
    assert run("test", *config, *last).code == 0


def test_two_that_exclude_each_other(tmp_path: Path) -> None:
    one, other = keeper(filename="a"), keeper(filename="b")
    line = refused("fit", "--config", configured(tmp_path, one, other))
    assert line.startswith("trainer: Found more than one stateful callback of type")
    assert not (tmp_path / "runs").exists()
