from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dreamprvr.callbacks import random_state
from dreamprvr.callbacks.random_state import KEY, RandomState

CALLBACK = RandomState()
MODULE: Any = SimpleNamespace(device=torch.device("cpu"))


def trainer(fn: str = "fit", rank: int = 0) -> Any:
    return SimpleNamespace(state=SimpleNamespace(fn=fn), global_rank=rank)


def saved() -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"epoch": 1}
    CALLBACK.on_save_checkpoint(trainer(), MODULE, checkpoint)
    return checkpoint


def test_resuming_continues_the_draws() -> None:
    torch.manual_seed(3)
    torch.rand(5)
    checkpoint = saved()
    assert checkpoint["epoch"] == 1
    expected = torch.rand(4)
    torch.manual_seed(99)
    CALLBACK.on_load_checkpoint(trainer(), MODULE, checkpoint)
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
    CALLBACK.on_load_checkpoint(trainer(fn), MODULE, checkpoint)
    assert torch.equal(torch.get_rng_state(), expected)


def test_each_rank_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(saved()[KEY][0])
    monkeypatch.setattr(random_state, "gather_objects", lambda own: states)
    checkpoint = saved()
    for rank, seed in enumerate((1, 2)):
        CALLBACK.on_load_checkpoint(trainer(rank=rank), MODULE, checkpoint)
        expected = torch.rand(3, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("rank", [1, 7])
def test_a_rank_that_was_not_saved_is_left_alone(rank: int) -> None:
    torch.manual_seed(3)
    checkpoint = saved()
    torch.manual_seed(99)
    expected = torch.get_rng_state()
    CALLBACK.on_load_checkpoint(trainer(rank=rank), MODULE, checkpoint)
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_checkpoint_without_states() -> None:
    expected = torch.get_rng_state()
    CALLBACK.on_load_checkpoint(trainer(), MODULE, {})
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_state_of_a_gpu_run_resumes_on_the_cpu() -> None:
    torch.manual_seed(3)
    checkpoint = saved()
    checkpoint[KEY][0]["cuda"] = torch.zeros(16, dtype=torch.uint8)
    expected = torch.rand(4)
    CALLBACK.on_load_checkpoint(trainer(), MODULE, checkpoint)
    assert torch.equal(torch.rand(4), expected)
