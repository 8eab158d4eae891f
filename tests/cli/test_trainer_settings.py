from pathlib import Path
from typing import Optional, Union, get_args

import pytest
import yaml
from cli.running import refused, write_config

from dreamprvr.cli.trainer_settings import (
    check_seed,
    count_batches_in_whole_numbers,
    is_lightnings,
)

CHECKPOINT = "trainer.callbacks=ModelCheckpoint"


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("seed_everything=-1", "seed_everything is -1; from 0 to 4,294,967,295"),
        ("seed_everything=4294967296", "seed_everything is 4294967296; from 0 to 4,294,967,295"),
        ("training.warmup=-0.5", "training.warmup is -0.5; it is a share of all steps, from 0"),
        ("training.score_memory=0", "training.score_memory is 0.0; it is GB, above 0"),
        ("training.optimizer.lr=-1", "training.optimizer: lr -1.0, eps 1e-06 and weight_decay"),
        ("training.optimizer=SGD --training.optimizer.lr=-1", "training.optimizer: Invalid"),
        ("model.objective.kl_weight=-1", "objective.kl_weight is -1.0; at least 0"),
        ("model.objective.hard_negatives_from=-1", "objective.hard_negatives_from is -1; at least"),
        ("trainer.devices=-5", "trainer: `devices` selected with `CPUAccelerator` should be an"),
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches is 0; at least 1"),
        ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch is 0; at least 1"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val is -1; at least 0"),
        ("trainer.val_check_interval=0", "trainer.val_check_interval is 0; a share of an epoch"),
        ("trainer.val_check_interval=100", "trainer: `val_check_interval` (100) must be less"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches is 0: fit has nothing to"),
        ("trainer.max_epochs=0", "trainer.max_epochs is 0: fit has nothing to"),
        ("trainer.max_steps=0", "trainer.max_steps is 0: fit has nothing to"),
        ("trainer.max_epochs=-1", "the training has no end at which the learning rate is to be 0"),
        ("trainer.max_epochs=null --trainer.max_time=00:00:01:00", "the training has no end at"),
        (
            f"{CHECKPOINT} --trainer.callbacks.save_top_k=3",
            "configuration: ModelCheckpoint(save_top_k=3, monitor=None) is not a valid",
        ),
        (
            "trainer.logger=false --trainer.callbacks=LearningRateMonitor",
            "trainer: Cannot use `LearningRateMonitor` callback with `Trainer` that has no logger",
        ),
    ],
)  # fmt: skip
def test_values_that_make_no_training(tmp_path: Path, option: str, line: str) -> None:
    config = write_config(tmp_path)
    assert " ".join(refused("fit", "--config", config, *f"--{option}".split()).split()).startswith(
        line
    )
    assert not (tmp_path / "runs").exists()


def test_values_of_a_file_are_checked_too(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    content = yaml.safe_load(config.read_text()) | {"seed_everything": -3}
    config.write_text(yaml.safe_dump(content))
    assert refused("fit", "--config", config).startswith("seed_everything is -3")


def test_seeds() -> None:
    for seed in (0, 2**32 - 1, True, False):
        check_seed(seed)


def test_whose_error_it_is() -> None:
    from lightning.pytorch.callbacks.timer import Timer

    with pytest.raises(Exception, match="duration") as caught:
        Timer(duration="x")
    assert is_lightnings(caught.value)
    with pytest.raises(ValueError, match="x") as ours:
        int("x")
    assert not is_lightnings(ours.value)


def test_one_is_one_batch_and_not_all() -> None:
    first, second = Optional[Union[float, int]], Union[float, int]  # noqa: UP007, UP045

    class Settings:
        def __init__(self, limit: first, share: second, other: str) -> None: ...

    count_batches_in_whole_numbers(Settings)
    kinds = Settings.__init__.__annotations__
    assert get_args(kinds["limit"])[:2] == (int, float)
    assert get_args(kinds["share"]) == (int, float)
    assert kinds["other"] is str
