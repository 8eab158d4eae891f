from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli.running import run, write_config
from lightning.pytorch.callbacks import EarlyStopping

from dreamprvr.cli.callbacks import LOG_EVERY, all_callbacks, progress_bar


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
