import shutil
from pathlib import Path

import pytest
import torch
from cli.outcomes import CONFIG, PUBLISHED, best
from cli.running import Golden, refused, write_config
from shared import needs_reference


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_evaluation_needs_a_checkpoint(tmp_path: Path, verb: str) -> None:
    assert refused(verb, "--config", write_config(tmp_path)) == (
        f"{verb} needs trained weights: give --ckpt_path FILE"
    )


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("name", ["nothing.ckpt", "last", "best"])
def test_a_checkpoint_that_is_not_there(tmp_path: Path, verb: str, name: str) -> None:
    line = refused(verb, "--config", write_config(tmp_path), "--ckpt_path", name)
    assert line == f"checkpoint {name}: no such file"


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_checkpoint(trained: Path, share: float) -> None:
    content = best(trained).read_bytes()
    Path("half.ckpt").write_bytes(content[: int(share * len(content))])
    line = refused("test", *CONFIG, "--ckpt_path", "half.ckpt")
    assert line.startswith("checkpoint half.ckpt is damaged or not a checkpoint: ")


def test_a_text_file_is_no_checkpoint(trained: Path) -> None:
    line = refused("test", *CONFIG, "--ckpt_path", "tiny.yaml")
    assert line.startswith("checkpoint tiny.yaml ")


@needs_reference
@pytest.mark.parametrize("option", ["--ckpt_path", "--init_from"])
def test_a_published_file_must_be_imported_first(tmp_path: Path, option: str) -> None:
    shutil.copy(PUBLISHED, "published.ckpt")
    line = refused("fit", "--config", write_config(tmp_path), option, "published.ckpt")
    assert "published.ckpt" in line
    assert "`lightning import-checkpoint`" in line


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_data_of_other_feature_sizes(trained: Path, tmp_path: Path, verb: str) -> None:
    shutil.rmtree(tmp_path / "data")
    config = write_config(tmp_path, Golden)
    line = refused(verb, "--config", config, "--ckpt_path", best(trained))
    assert "the checkpoint belongs to another configuration" in line
    assert "data of the same feature sizes" in line


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("accelerator", "cpuu", "invalid accelerator name: `accelerator='cpuu'`"),
        ("strategy", "dpp", "invalid strategy name: `strategy='dpp'`"),
        ("max_epochs", "-2", "`max_epochs` must be a non-negative integer or -1"),
        ("val_check_interval", "1.5", "invalid value 1.5 for val_check_interval"),
    ],
)
def test_what_the_trainer_refuses(tmp_path: Path, option: str, value: str, said: str) -> None:
    line = refused("fit", "--config", write_config(tmp_path), f"--trainer.{option}", value)
    assert line.startswith("trainer: ")
    assert said in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu(tmp_path: Path) -> None:
    line = refused("fit", "--config", write_config(tmp_path), "--config", "multi_gpu.yaml")
    assert line == "trainer: No supported gpu backend found!"
