"""Training states that a run cannot go on from: each is named in one line."""

import copy
import math
import re
import warnings
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.running import Tiny
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from recorder import QUIET, module, trainer

from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError
from dreamprvr.training.callbacks.results import Results
from dreamprvr.training.callbacks.resuming import Resuming
from dreamprvr.training.checkpoint import read_checkpoint
from dreamprvr.training.training_state import check_training_state

pytestmark = QUIET
Content = dict[str, Any]


def callbacks(folder: Path) -> list[Callback]:
    return [
        EarlyStopping("val_SumR", mode="max", patience=9, check_on_train_epoch_end=False),
        ModelCheckpoint(folder, "best", "val_SumR", mode="max"),
        Results(), Resuming(),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    """A checkpoint after one epoch of three steps, and what it holds."""
    folder = tmp_path_factory.mktemp("saved")
    write_tiny(Tiny, folder / "data", train=7, val=4)
    data = Tiny(folder / "data", batch_size=3, num_workers=0, max_frames=8, num_clips=4)
    path = folder / "last.ckpt"
    with warnings.catch_warnings(action="ignore"):  # the filters below are of the tests alone
        runner = trainer(*callbacks(folder), max_epochs=1, enable_checkpointing=True)
        runner.fit(module(), data)
        runner.save_checkpoint(path)
    return path, copy.deepcopy(read_checkpoint(path))


def check(saved: tuple[Path, Content], content: Content, **options: Any) -> None:
    path = saved[0]
    runner = trainer(*callbacks(path.parent), enable_checkpointing=True)
    check_training_state(content, path, runner, module(seed=1, **options))


def test_a_whole_state_is_taken(saved: tuple[Path, Content]) -> None:
    check(saved, saved[1])


def test_parts_that_earlier_releases_did_not_save_may_be_missing(
    saved: tuple[Path, Content],
) -> None:
    content = copy.deepcopy(saved[1])
    del content["random_state"]
    del content["should_stop"]
    del content["callbacks"]["Results"]
    content["callbacks"]["Gone"] = {"x": 1}
    check(saved, content)


def test_another_release_of_lightning_may_have_saved_less(saved: tuple[Path, Content]) -> None:
    content = copy.deepcopy(saved[1])
    content["pytorch-lightning_version"] = "2.6.0"
    content["callbacks"][STOPPING.partition("/")[2]].pop("patience")
    content["callbacks"][STOPPING.partition("/")[2]]["best_score"] = torch.tensor(3.0).double()
    content["loops"]["fit_loop"].pop("epoch_loop.scheduler_progress")
    check(saved, content)
    content["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"] = "x"
    with pytest.raises(UserError, match=r"epoch_progress\.current\.ready is 'x'"):
        check(saved, content)


DELETE = object()
PROGRESS = "loops/fit_loop/epoch_progress"
STOPPING = "callbacks/EarlyStopping{'monitor': 'val_SumR', 'mode': 'max'}"
KEEPING = (
    "callbacks/ModelCheckpoint{'monitor': 'val_SumR', 'mode': 'max', 'every_n_train_steps': 0, "
    "'every_n_epochs': 1, 'train_time_interval': None}"
)
GROUP = "optimizer_states/0/param_groups/0"
MOMENT = "optimizer_states/0/state/3/m"
CASES: list[tuple[str, Any, str]] = [
    ("epoch", DELETE, "epoch is missing"),
    ("epoch", "1", "epoch is '1'"),
    ("epoch", -1, "epoch is -1"),
    ("global_step", 3.0, "global_step is 3.0"),
    ("global_step", True, "global_step is True"),
    ("global_step", 10**400, "global_step is 10+"),
    ("pytorch-lightning_version", DELETE, "written by Lightning None, not by 2.6"),
    (
        "pytorch-lightning_version",
        "1.9.0",
        "written by Lightning '1.9.0', not by 2.6",
    ),
    ("pytorch-lightning_version", "newest", "written by Lightning 'newest'"),
    ("pytorch-lightning_version", 2, "written by Lightning 2,"),
    ("loops", DELETE, "loops is missing"),
    ("loops", [1], "loops is not a dictionary"),
    ("loops/fit_loop", DELETE, "loops.fit_loop is missing"),
    ("loops/fit_loop", 3, "loops.fit_loop is not a dictionary"),
    (PROGRESS, DELETE, "epoch_progress is missing"),
    (f"{PROGRESS}/current", 3, "epoch_progress.current is not a dictionary"),
    (f"{PROGRESS}/current/completed", "1", "epoch_progress.current.completed is '1'"),
    (f"{PROGRESS}/total/ready", -5, "epoch_progress.total.ready is -5"),
    ("loops/fit_loop/epoch_loop.batch_progress/is_last_batch", 1, "is_last_batch is 1"),
    ("callbacks", DELETE, "callbacks is missing"),
    ("callbacks", [], "callbacks is not a dictionary"),
    (STOPPING, 3, "callbacks.EarlyStopping is not a dictionary"),
    (f"{STOPPING}/wait_count", "x", "callbacks.EarlyStopping.wait_count is 'x'"),
    (f"{STOPPING}/best_score", 3, "callbacks.EarlyStopping.best_score is not a tensor"),
    (f"{STOPPING}/patience", DELETE, "callbacks.EarlyStopping.patience is missing"),
    (
        f"{KEEPING}/best_k_models",
        [3],
        "ModelCheckpoint.best_k_models is not a dictionary",
    ),
    (f"{KEEPING}/best_k_models", {"a": 3}, "callbacks.ModelCheckpoint.best_k_models holds 3"),
    (f"{KEEPING}/best_model_path", 3, "callbacks.ModelCheckpoint.best_model_path is 3"),
    ("callbacks/Results/best", {"SumR": "x"}, "callbacks.Results.best holds 'x'"),
    ("callbacks/Results/best_epoch", "x", "callbacks.Results.best_epoch is 'x'"),
    ("should_stop", 1, "should_stop is 1"),
    ("loops/fit_loop/state_dict/combined_loader", 3, "combined_loader is not a list"),
    ("loops/fit_loop/state_dict/combined_loader/0/epoch", "x", "combined_loader.epoch is 'x'"),
    ("random_state/0/gradients", 3, "gradients is not a dictionary"),
    (
        "random_state/0/gradients",
        {"network.clip_projection.linear.weight": torch.ones(1)},
        "gradients.network.clip_projection.linear.weight is not a tensor of",
    ),
    ("random_state", 3, "random_state is not a list"),
    ("random_state/0", {}, "random_state.cpu is missing"),
    ("random_state/0/cpu", torch.zeros(3), "random_state.cpu is not a tensor of"),
    (
        "random_state/0/cpu",
        torch.zeros_like(torch.get_rng_state()),
        "random_state.cpu is no state of a random generator",
    ),
    ("optimizer_states", [], "optimizer_states is not a list of 1"),
    ("optimizer_states", "x", "optimizer_states is not a list of 1"),
    ("optimizer_states/0", 3, "optimizer_states.0 is not a dictionary"),
    ("optimizer_states/0/state", DELETE, "optimizer_states.0.state is missing"),
    ("optimizer_states/0/state", {}, "optimizer_states holds no state"),
    ("optimizer_states/0/state/3", {}, "optimizer_states.state.3 has no m: another opt"),
    ("optimizer_states/0/state/999", {"m": 1}, "optimizer_states.state.999 belongs to no param"),
    (MOMENT, torch.ones(3), "optimizer_states.state.3.m is not a tensor of"),
    (MOMENT, "x", "optimizer_states.state.3.m is not a tensor of"),
    ("optimizer_states/0/param_groups", DELETE, "param_groups is missing"),
    (f"{GROUP}/params", [0], "param_groups.0.params is not a list of"),
    (f"{GROUP}/lr", "0.1", "param_groups.0.lr is '0.1'"),
    (f"{GROUP}/lr", math.nan, "param_groups.0.lr is nan"),
    (f"{GROUP}/betas", 3, "param_groups.0.betas is not a list of 2"),
    (f"{GROUP}/weight_decay", DELETE, "param_groups.0.weight_decay is missing"),
    ("lr_schedulers", DELETE, "lr_schedulers is not a list of 1"),
    ("lr_schedulers/0", [], "lr_schedulers.0 is not a dictionary"),
    ("lr_schedulers/0/last_epoch", -3, "lr_schedulers.0.last_epoch is -3"),
    ("lr_schedulers/0/base_lrs", [1.0], "lr_schedulers.0.base_lrs is not a list of 2"),
    ("lr_schedulers/0/lr_lambdas", DELETE, "lr_schedulers.0.lr_lambdas is missing"),
]


def step_into(content: Any, key: str) -> Any:
    return content[int(key) if key.isdigit() else key]


def change(content: Content, place: str, value: Any) -> Content:
    *parents, last = place.split("/")
    owner = reduce(step_into, parents, content)
    key = int(last) if last.isdigit() else last
    if value is DELETE:
        del owner[key]
    else:
        owner[key] = value
    return content


@pytest.mark.parametrize(("place", "value", "message"), CASES, ids=[c[2][:60] for c in CASES])
def test_the_part_that_cannot_be_resumed_is_named(
    saved: tuple[Path, Content], place: str, value: Any, message: str
) -> None:
    content = change(copy.deepcopy(saved[1]), place, value)
    with pytest.raises(UserError) as caught:
        check(saved, content)
    line = str(caught.value)
    assert line.startswith(f"checkpoint {saved[0]}: its training cannot be resumed (")
    assert line.endswith("); --init_from uses its weights alone")
    assert re.search(message, line), line
    assert len(line) < 500


def test_moments_that_are_not_finite(saved: tuple[Path, Content]) -> None:
    content = copy.deepcopy(saved[1])
    content["optimizer_states"][0]["state"][3]["v"].flatten()[0] = math.inf
    with pytest.raises(UserError, match=r"optimizer_states\.state\.3\.v is not finite"):
        check(saved, content)


def test_the_state_of_another_optimiser(saved: tuple[Path, Content]) -> None:
    with pytest.raises(UserError, match="BertAdam has trained it, but AdamW is configured"):
        check(saved, saved[1], optimizer=torch.optim.AdamW)


def test_the_state_of_another_network(saved: tuple[Path, Content]) -> None:
    with pytest.raises(UserError, match=r"param_groups\.0\.params is not a list of"):
        check(saved, saved[1], network={"denoiser_blocks": 1})
    with pytest.raises(UserError, match=r"optimizer_states\.state\.\d+\.\w is not a tensor of"):
        check(saved, saved[1], network={"hidden_size": 16})
