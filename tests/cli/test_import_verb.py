import shutil
from pathlib import Path

import pytest
import torch
from cli.running import GOLDEN, Golden, refused, run
from models.published_models import OTHER_MODELS
from shared import REFERENCE, needs_reference

from data_modules.testing import write_tiny

PUBLISHED = REFERENCE / "published_format.ckpt"
DATA_SET = ("--data", GOLDEN, "--data.root", "data")
IMPORT = ("import-checkpoint", "theirs.ckpt", "-o", "ours.ckpt")


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("theirs.ckpt",), "arguments are required: output"),
        (("-o", "ours.ckpt"), "required: checkpoint"),
        # what follows an option of `fit` is its value
        (("--config", "tvr.yaml", "-o", "ours.ckpt"), "required: checkpoint"),
    ],
)
def test_both_files_must_be_named(words: tuple[str, ...], missing: str) -> None:
    assert missing in refused("import-checkpoint", *words)


def test_two_checkpoints_at_once() -> None:
    line = refused(*IMPORT, "more.ckpt", "--config", "tvr.yaml")
    assert "nrecognized arguments: more.ckpt" in line


def test_it_needs_a_configuration() -> None:
    assert refused(*IMPORT).startswith("no data set is named: add --config FILE")


def test_a_file_that_is_not_there() -> None:
    assert refused(*IMPORT, "--config", "tvr.yaml") == "checkpoint theirs.ckpt is missing"


def test_a_file_of_another_kind() -> None:
    Path("theirs.ckpt").write_text("nothing of the kind")
    line = refused(*IMPORT, "--config", "tvr.yaml")
    assert line == "checkpoint theirs.ckpt is damaged or not a checkpoint: it is a text file"
    assert not Path("ours.ckpt").exists()


@needs_reference
def test_options_in_any_order_give_the_same(tmp_path: Path) -> None:
    write_tiny(Golden, tmp_path / "data")
    shutil.copy(PUBLISHED, "theirs.ckpt")
    shared = (*DATA_SET, "--model.network.text_perturbation=0")
    first = run(*IMPORT, *shared)
    assert first.code == 0, first
    assert "hidden_size is 32 in the file, 384 in the configuration" in first.out
    assert first.out.endswith("written to ours.ckpt\n")
    found = torch.load("ours.ckpt", weights_only=True)
    second = run("import-checkpoint", *shared, "--output=two.ckpt", "theirs.ckpt")
    assert second.out == first.out.replace("ours.ckpt", "two.ckpt")
    again = torch.load("two.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, again[key]) for key, value in found["state_dict"].items())
    assert found["hyper_parameters"]["network"]["text_perturbation"] == 0


@needs_reference
@pytest.mark.parametrize("model", OTHER_MODELS)
def test_a_released_checkpoint_of_another_model(tmp_path: Path, model: str) -> None:
    write_tiny(Golden, tmp_path / "data")
    shutil.copy(REFERENCE / model / PUBLISHED.name, "theirs.ckpt")
    result = run(*IMPORT, *DATA_SET, "--model", model)
    assert result.code == 0, result
    assert "hidden_size is " in result.out
    held = torch.load("ours.ckpt", weights_only=True)["hyper_parameters"]["model"]
    assert held.startswith(f"dreamprvr.models.{model}.")
    line = refused(*IMPORT, *DATA_SET)
    assert line.startswith("theirs.ckpt")
    if model == "ms_sl":  # its file names a class that stands in no file of the configured model
        assert line.endswith("not opened. If it is of another model, name that with --model")
