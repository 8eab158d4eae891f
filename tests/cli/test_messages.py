from pathlib import Path

import pytest
from cli.running import DATA, refused, write_config

from dreamprvr.cli.messages import NO_DATA, clear

CPU = ("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1")


def test_an_unknown_option_names_the_nearest(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    line = refused("fit", "--config", config, "--trainer.max_epocs", "3")
    assert "trainer.max_epocs " in line
    assert "did you mean trainer.max_epochs?" in line


@pytest.mark.parametrize(
    ("content", "key", "near"),
    [
        ("trainer: {max_epoch: 3}", "trainer.max_epoch", "trainer.max_epochs"),
        (
            "model: {network: {hiden_size: 3}}",
            "model.network.hiden_size", "model.network.hidden_size",
        ),
        (
            "data: {init_args: {batch_sise: 3}}",
            "data.init_args.batch_sise", "data.init_args.batch_size",
        ),
        ("data: {class_pth: x}", "data.class_pth", "data.class_path"),
        ("data: {inti_args: {root: x}}", "data.inti_args.root", "data.init_args"),
        ("batch_size: 3", "batch_size", "data.batch_size"),
        (
            "model: {optimizer: {init_args: {weigth_decay: 3}}}",
            "model.optimizer.init_args.weigth_decay", "model.optimizer.init_args.weight_decay",
        ),
        (
            "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.EarlyStopping, "
            "init_args: {monitr: val/SumR}}]}",
            "trainer.callbacks.init_args.monitr", "trainer.callbacks.init_args.monitor",
        ),
    ],
)  # fmt: skip
def test_an_unknown_key_of_a_file_names_the_nearest(
    tmp_path: Path, content: str, key: str, near: str
) -> None:
    Path("more.yaml").write_text(content + "\n")
    line = refused("fit", "--config", write_config(tmp_path), "--config", "more.yaml")
    assert line == f"unknown key {key} (did you mean {near}?)"


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--data.batch_size", "data.batch_size: x is no int"),
        ("--model.network.hidden_size", "model.network.hidden_size: x is no int"),
        ("--model.optimizer.lr", "model.optimizer.lr: x is no float"),
        ("--model.optimizer", "model.optimizer: there is no class x"),
        ("--wandb", "wandb: x is no bool"),
        ("--trainer.max_epochs", "trainer.max_epochs: x is not one of the types int, NoneType"),
    ],
)
def test_a_value_of_another_type(tmp_path: Path, option: str, line: str) -> None:
    assert refused("fit", "--config", write_config(tmp_path), option, "x") == line


def test_an_argument_that_a_class_needs(tmp_path: Path) -> None:
    option = ("--trainer.callbacks", "EarlyStopping")
    assert refused("fit", "--config", write_config(tmp_path), *option) == (
        "trainer.callbacks: lightning.pytorch.callbacks.EarlyStopping must be given monitor"
    )


def test_no_data_set() -> None:
    assert refused("fit") == NO_DATA


def test_an_unknown_data_set() -> None:
    line = refused("fit", "--data", "Sauna")
    assert line == (
        "data: there is no data set Sauna; `lightning datasets` lists those that are installed"
    )


def test_a_class_that_is_no_data_set() -> None:
    line = refused("fit", "--data", "torch.nn.Linear")
    assert line.startswith("data: torch.nn.Linear is not a data set")


def test_each_missing_file_is_named() -> None:
    line = refused("fit", "--data", DATA, "--data.root", "nowhere", *CPU)
    for name in ("tinytrain.caption.txt", "tinyval.caption.txt", "text.hdf5", "FeatureData/tiny"):
        assert name in line
    assert "tinytest" not in line


def test_bad_yaml() -> None:
    Path("bad.yaml").write_text("model: {network: [\n")
    assert "bad.yaml" in refused("fit", "--config", "bad.yaml")


def test_a_bad_value_of_ours(tmp_path: Path) -> None:
    line = refused("fit", "--config", write_config(tmp_path, num_heads=3))
    assert "hidden_size 8 is not a multiple of network.num_heads 3" in line


def test_a_message_without_a_rule_is_one_line() -> None:
    assert clear("something\n  else", []) == "something else"


def test_nothing_is_near() -> None:
    known = ["model.warmup", "data", "data.root"]
    assert clear("Key 'qqqq' is not expected", known) == "unknown key qqqq"
