"""When `best.ckpt` and `last.ckpt` are written, in trainings by the command line."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from cli.running import run, write_config
from lightning.pytorch.callbacks import ModelCheckpoint

from dreamprvr.training.callbacks.checkpoints import RunCheckpoint

STOPPING = {
    "class_path": "lightning.pytorch.callbacks.EarlyStopping",
    "init_args": {"monitor": "val/SumR", "mode": "max", "patience": 10},
}


def train(folder: Path, *options: str, epochs: int = 2, callbacks: Any = None) -> Path:
    """Train on 7 videos (3 steps an epoch); returns the folder of the checkpoints."""
    config = write_config(folder, epochs=epochs)
    content = yaml.safe_load(config.read_text())
    content["trainer"]["callbacks"] = callbacks or [STOPPING]
    config.write_text(yaml.safe_dump(content))
    result = run("fit", "--config", config, *options)
    assert result.code == 0, result
    (found,) = (folder / "runs").rglob("checkpoints")
    return found


def steps(folder: Path) -> dict[str, int]:
    return {path.stem: load(path)["global_step"] for path in folder.glob("*.ckpt")}


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("options", "last", "best"),
    [
        (("--trainer.max_steps", "2"), 2, None),
        (("--trainer.max_steps", "4"), 4, 3),
        (("--trainer.check_val_every_n_epoch", "2"), 9, 6),
        (("--trainer.limit_val_batches", "0"), 9, None),
    ],
)
def test_the_last_checkpoint_is_of_the_last_step(
    tmp_path: Path, options: tuple[str, ...], last: int, best: int | None
) -> None:
    found = steps(train(tmp_path, *options, epochs=3))
    assert found == {"last": last} | ({"best": best} if best else {})


def test_validations_inside_an_epoch_are_saved_too(tmp_path: Path) -> None:
    folder = train(tmp_path, "--trainer.val_check_interval", "1", epochs=1)
    sums = pd.read_csv(folder.parent / "metrics.csv").dropna(subset=["val/SumR"])
    best = sums.loc[sums["val/SumR"].idxmax(), "step"]
    assert steps(folder) == {"last": 3, "best": best + 1}


def test_the_best_score_is_kept_where_the_folder_was_moved(tmp_path: Path) -> None:
    state = RunCheckpoint("best", "val/SumR").state_dict() | {
        "dirpath": "elsewhere", "best_model_path": "elsewhere/best.ckpt",
        "best_model_score": torch.tensor(7.0), "kth_value": torch.tensor(7.0),
        "kth_best_model_path": "elsewhere/best.ckpt",
        "best_k_models": {"elsewhere/best.ckpt": torch.tensor(7.0)},
    }  # fmt: skip
    callback = RunCheckpoint("best", "val/SumR")
    callback.dirpath = str(tmp_path)
    best = tmp_path / "best.ckpt"
    best.write_text("")
    callback.load_state_dict(state)
    assert callback.best_k_models == {str(best): torch.tensor(7.0)}
    assert callback.kth_best_model_path == callback.best_model_path == str(best)


def test_a_checkpoint_of_an_earlier_version_is_understood() -> None:
    for ours, theirs in (
        (RunCheckpoint("best", "val/SumR"), ModelCheckpoint(monitor="val/SumR", mode="max")),
        (RunCheckpoint("last"), ModelCheckpoint()),
    ):
        assert ours._legacy_state_key == theirs.state_key != ours.state_key
