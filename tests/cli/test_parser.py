from pathlib import Path

import pytest
from cli.running import refused, run, write_config
from lightning.pytorch.cli import LightningArgumentParser

from dreamprvr.cli.parser import OneLineParser, namespace_items
from dreamprvr.core.errors import UserError

VERBS = ["fit", "validate", "test", "predict"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("--trainer.max_epoch", "trainer.max_epochs"), ("--trainer.max_epoch=", "trainer.max_epo"),
        ("--model.network.hidden", "model.network.hidden_size"), ("--data.roo", "data.root"),
        ("--dat", "data"), ("--seed", "seed_everything"), ("--ckpt", "ckpt_path"),
        ("--tensor", "tensorboard"),
    ],
)  # fmt: skip
def test_an_abbreviated_option_names_the_whole_one(
    tmp_path: Path, verb: str, option: str, near: str
) -> None:
    words = [option + "3"] if option.endswith("=") else [option, "3"]
    line = refused(verb, "--config", write_config(tmp_path), *words)
    assert line.startswith(f"unknown key {option.strip('-=')} (did you mean {near}")


def test_the_configuration_option_is_not_abbreviated_either(tmp_path: Path) -> None:
    line = refused("fit", "--conf", write_config(tmp_path))
    assert line == "unknown key conf (did you mean config?)"
    line = refused("data", "check", "--conf", write_config(tmp_path))
    assert line == "unknown key conf (did you mean config?)"


def test_whole_options_and_short_ones_work(tmp_path: Path) -> None:
    write_config(tmp_path)
    words = ("--trainer.max_epochs", "7", "--data.batch_size=5", "--model.optimizer.lr", "0.5")
    result = run("fit", "-c", "tiny.yaml", *words, "--print_config")
    assert result.code == 0, result
    for line in ("max_epochs: 7", "batch_size: 5", "lr: 0.5"):
        assert f" {line}\n" in result.out


def test_errors_are_user_errors_in_one_line() -> None:
    parser = OneLineParser()
    parser.add_argument("--number", type=int)
    with pytest.raises(UserError) as caught:
        parser.parse_args(["--number", "x"])
    assert str(caught.value) == "number: x is no int"
    with pytest.raises(UserError, match=r"^unknown key numbr \(did you mean number\?\)$"):
        parser.parse_object({"numbr": 3})


def test_namespaces_become_dictionaries() -> None:
    parser = LightningArgumentParser()
    parser.add_argument("--a.b", type=int, default=3)
    assert namespace_items(parser.parse_args([]).a) == {"b": 3}
    assert namespace_items({"b": 3}) == {"b": 3}
