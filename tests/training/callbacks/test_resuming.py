"""A training that is resumed at any moment ends as one that was never interrupted, bit for bit."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cli.outcomes import differences
from cli.running import Tiny
from lightning import Trainer
from lightning.pytorch.callbacks import Checkpoint
from recorder import QUIET, module, trainer

from data_modules.testing import write_tiny
from dreamprvr.training.callbacks import resuming
from dreamprvr.training.callbacks.checkpoints import AtomicCheckpointIO
from dreamprvr.training.callbacks.resuming import KEY, Resuming

pytestmark = QUIET
MODULE: Any = SimpleNamespace(device=torch.device("cpu"), named_parameters=lambda: [])
COUNTS = {"ready": 2, "started": 2, "processed": 2, "completed": 2}


class Everywhere(Checkpoint):
    """Saves at every moment at which a checkpoint can be saved; notes what was trained and found.

    Args:
        folder: for the checkpoints, which are numbered; None to save none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.seen: list[tuple[Any, ...]] = []

    def save(self, trainer: Trainer, moment: str) -> None:
        if self.folder is not None:
            number = sum(1 for _ in self.folder.glob("*.ckpt"))
            trainer.save_checkpoint(self.folder / f"{number:02}-{moment}.ckpt")

    def note(self, trainer: Trainer, kept: tuple[str, ...], rows: list[int]) -> None:
        metrics = {n: float(v) for n, v in trainer.callback_metrics.items() if n.startswith(kept)}
        self.seen.append((trainer.global_step, trainer.current_epoch, rows, metrics))

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self.save(trainer, "start")

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self.note(trainer, ("loss", "train"), arguments[2].videos.row.tolist())
        self.save(trainer, "batch")

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.save(trainer, "validating")

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self.note(trainer, ("val",), [])
        self.save(trainer, "validated")

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self.save(trainer, "end")


def fit(
    root: Path, folder: Path, data: dict[str, Any], options: dict[str, Any], resumed: Path | None
) -> list[tuple[Any, ...]]:
    """Train, save at every moment unless resumed, and `final.ckpt`; return what was noted."""
    if resumed is None:
        write_tiny(Tiny, root, train=7, val=3)
    model = module(seed=3 if resumed is None else 99)
    notes = Everywhere(folder if resumed is None else None)
    runner = trainer(Resuming(), notes, enable_checkpointing=True, **options)
    runner.strategy.checkpoint_io = AtomicCheckpointIO()
    loaded = Tiny(
        root, batch_size=2, eval_batch_size=3, max_frames=8, num_clips=4,
        **{"num_workers": 0, **data},
    )  # fmt: skip
    runner.fit(model, loaded, ckpt_path=resumed)
    runner.save_checkpoint(folder / "final.ckpt")
    return notes.seen


def check(
    tmp_path: Path, data: dict[str, Any], options: dict[str, Any], first: int, step: int
) -> None:
    """Resume from every `step`-th checkpoint, from number `first` on."""
    whole = tmp_path / "whole"
    seen = fit(tmp_path, whole, data, options, None)
    saved = sorted(path for path in whole.glob("[0-9]*.ckpt"))
    assert len(saved) > first + step
    for path in saved[first::step]:
        again = tmp_path / path.stem
        found = fit(tmp_path, again, data, options, path)
        assert found == seen[len(seen) - len(found) :], path.name
        different = differences(whole / "final.ckpt", again / "final.ckpt")
        # where nothing is left to train, Lightning does not count the end of the last epoch
        assert [one for one in different if found or "loops" not in one] == [], path.name
        final = int(path.name[:2]) >= int(saved[-1].name[:2]) - 1
        assert found or final, path.name


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "loading processes": ({"num_workers": 2}, {}),
    "packed, a thread ahead": ({"packed": "float32", "num_workers": 1}, {}),
    "packed": ({"packed": "float32"}, {}),
    "resident": ({"packed": "float16", "device_resident": True}, {}),
    "validation every second epoch": ({}, {"check_val_every_n_epoch": 2, "max_epochs": 3}),
    "validation within epochs": ({}, {"val_check_interval": 0.5}),
    "no validation": ({}, {"limit_val_batches": 0}),
    "accumulated": ({}, {"accumulate_grad_batches": 3}),
    "clipped": ({}, {"gradient_clip_val": 0.1}),
    "the first batches alone": ({}, {"overfit_batches": 3}),
    "counted in steps": ({}, {"max_steps": 7, "max_epochs": -1}),
}


def test_a_training_is_resumed_identically_at_any_moment(tmp_path: Path) -> None:
    check(tmp_path, {}, {}, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_all_ways_to_train_are_resumed_identically(tmp_path: Path, case: str) -> None:
    """At moments that differ from case to case: each resumes a training several times."""
    check(tmp_path, *CASES[case], [*CASES].index(case) % 4, 4)


def test_the_number_of_loading_processes_may_change(tmp_path: Path) -> None:
    seen = fit(tmp_path, tmp_path / "whole", {}, {"max_epochs": 1}, None)
    middle = tmp_path / "whole" / "02-batch.ckpt"
    found = fit(tmp_path, tmp_path / "again", {"num_workers": 2}, {"max_epochs": 1}, middle)
    assert found == seen[2:]
    finals = (tmp_path / name / "final.ckpt" for name in ("whole", "again"))
    assert differences(*finals) == []


# The generators by themselves


def fake(fn: str = "fit", rank: int = 0) -> Any:
    loop = SimpleNamespace(_should_accumulate=lambda: False, _data_fetcher=None)
    state = SimpleNamespace(fn=fn)
    return SimpleNamespace(state=state, global_rank=rank, fit_loop=loop, should_stop=False)


def saved() -> dict[str, Any]:
    progress = {"total": dict(COUNTS), "current": dict(COUNTS), "is_last_batch": False}
    loop = {
        "epoch_progress": {"total": dict(COUNTS), "current": dict(COUNTS)}, "state_dict": {},
        "epoch_loop.batch_progress": progress, "epoch_loop.val_loop.batch_progress": progress,
    }  # fmt: skip
    checkpoint: dict[str, Any] = {"epoch": 1, "loops": {"fit_loop": loop}}
    Resuming().on_save_checkpoint(fake(), MODULE, checkpoint)
    return checkpoint


def test_resuming_continues_the_draws() -> None:
    torch.manual_seed(3)
    torch.rand(5)
    checkpoint = saved()
    assert checkpoint["epoch"] == 1
    expected = torch.rand(4)
    torch.manual_seed(99)
    Resuming().on_load_checkpoint(fake(), MODULE, checkpoint)
    assert torch.equal(torch.rand(4), expected)


def test_saving_draws_nothing() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    saved()
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("fn", ["test", "validate", "predict"])
def test_only_training_is_restored(fn: str) -> None:
    torch.manual_seed(3)
    checkpoint = saved()
    torch.manual_seed(99)
    expected = torch.get_rng_state()
    Resuming().on_load_checkpoint(fake(fn), MODULE, checkpoint)
    assert torch.equal(torch.get_rng_state(), expected)


def test_each_process_has_its_own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(saved()[KEY][0])
    monkeypatch.setattr(resuming, "gather_objects", lambda own: states)
    checkpoint = saved()
    for rank, seed in enumerate((1, 2)):
        Resuming().on_load_checkpoint(fake(rank=rank), MODULE, checkpoint)
        expected = torch.rand(3, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("rank", [1, 7])
def test_a_process_without_a_saved_state_keeps_its_own(rank: int) -> None:
    torch.manual_seed(3)
    checkpoint = saved()
    torch.manual_seed(99)
    expected = torch.get_rng_state()
    Resuming().on_load_checkpoint(fake(rank=rank), MODULE, checkpoint)
    assert torch.equal(torch.get_rng_state(), expected)


def test_an_early_stop_that_was_decided_is_kept() -> None:
    checkpoint, resumed = saved(), fake()
    checkpoint["should_stop"] = True
    Resuming().on_load_checkpoint(resumed, MODULE, checkpoint)
    assert resumed.should_stop


def test_a_checkpoint_of_an_earlier_version_or_without_states() -> None:
    expected = torch.get_rng_state()
    Resuming().on_load_checkpoint(fake(), MODULE, {"loops": {"fit_loop": {"state_dict": {}}}})
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_state_of_a_gpu_run_resumes_on_the_cpu() -> None:
    torch.manual_seed(3)
    checkpoint = saved()
    checkpoint[KEY][0]["cuda"] = torch.zeros(16, dtype=torch.uint8)
    expected = torch.rand(4)
    Resuming().on_load_checkpoint(fake(), MODULE, checkpoint)
    assert torch.equal(torch.rand(4), expected)
