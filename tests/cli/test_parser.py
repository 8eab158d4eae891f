"""Bad files, options and values of a configuration: one line each."""

import errno
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cli.running import DATA as TINY
from cli.running import refused, settings, write_config
from shared import DATA, needs_data

from dreamprvr.cli.parser import OneLineParser
from dreamprvr.core.errors import UserError

# Files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", " does not hold settings by name"),
        ("trainer", " does not hold settings by name"),
        ("# nothing", " does not hold settings by name"),
        ("trainer:\n  # max_epochs: 3", ": trainer is empty, not settings by name"),
        ("trainer: [3]", ": trainer is [3], not settings by name"),
        ("model: 3", ": model is 3, not settings by name"),
        ("training: 3", ": training is 3, not settings by name"),
        ("benchmarks: 3", ": benchmarks is 3, not settings by name"),
        ("benchmarks: {Tiny: 3}", " does not hold settings by name"),
    ],
)
def test_a_file_without_settings_by_name_is_refused(
    tmp_path: Path, content: str, said: str
) -> None:
    Path("more.yaml").write_text(content)
    line = refused("fit", "--config", write_config(tmp_path), "--config", "more.yaml")
    assert line == f"--config more.yaml{said}"


@needs_data
def test_a_repeated_section_is_refused() -> None:
    line = refused("fit", "--config", DATA / "hard_inputs" / "dupkey.yaml")
    assert line.endswith(
        "line 40: data stands twice (first in line 4), and only one could count: join the two"
    )


def test_a_repeated_key_is_refused_at_any_depth(tmp_path: Path) -> None:
    Path("more.yaml").write_text("trainer:\n  max_epochs: 3\n  max_epochs: 4\n")
    line = refused("fit", "--config", write_config(tmp_path), "--config", "more.yaml")
    assert line.startswith("--config more.yaml, line 3: max_epochs stands twice")


@pytest.mark.parametrize("option", ["--config", "--trainer.callbacks", "--model.network"])
def test_yaml_that_explodes_is_refused_quickly(tmp_path: Path, option: str) -> None:
    lines = ["a: &a [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"{b}: &{b} [{','.join(['*' + a] * 10)}]" for a, b in pairwise("abcdefghi")]
    Path("bomb.yaml").write_text("\n".join(lines))
    line = refused("fit", "--config", write_config(tmp_path), option, "bomb.yaml")
    assert "its aliases stand for more than 100,000 values" in line


def test_a_configuration_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, opening = write_config(tmp_path), os.open

    def refusing(path: Any, *rest: Any, **options: Any) -> int:
        if str(path).endswith("tiny.yaml"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opening(path, *rest, **options)

    monkeypatch.setattr(os, "open", refusing)
    line = refused("fit", "--config", config)
    assert line == f"{config} may not be read: check its permissions"
    assert "is a folder" in refused("fit", "--config", tmp_path)


# Options and values


def refused_with(folder: Path, *words: str) -> str:
    return refused("fit", "--config", write_config(folder), *words)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("trainer: {max_epoch: 3}", "unknown key trainer.max_epoch (did you mean trainer.max_e"),
        ("training: {warmpu: 3}", "unknown key training.warmpu (did you mean training.warmup?)"),
        ("batch_size: 3", "unknown key batch_size (did you mean data.batch_size?)"),
        ("qqqq: 3", "unknown key qqqq"),
    ],
)  # fmt: skip
def test_an_unknown_key_of_a_file_names_the_nearest(
    tmp_path: Path, content: str, line: str
) -> None:
    Path("more.yaml").write_text(content + "\n")
    assert refused_with(tmp_path, "--config", "more.yaml").startswith(f"--config more.yaml: {line}")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("model: {network: {hiden_size: 3}}", ("DreamPRVR", "hiden_size")),
        (
            "model: {network: {hidden_size: 8}, objektive: {margin: 0.1}}",
            ("--config more.yaml: DreamPRVR has no setting objektive",),
        ),
        ("model: {init_args: {}, margin: 0.1}", ("DreamPRVR has no setting margin",)),
        (
            "data: {init_args: {batch_sise: 3}}",
            ("Tiny has no setting batch_sise (did you mean batch_size?)",),
        ),
        ("data: {class_pth: x}", ("Tiny has no setting class_pth",)),
        (
            "training: {optimizer: {init_args: {weigth_decay: 3}}}",
            ("BertAdam has no setting weigth_decay (did you mean weight_decay?)",),
        ),
        (
            "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.EarlyStopping, "
            "init_args: {monitr: val/SumR}}]}",
            ("EarlyStopping", "monitr"),
        ),
        ("model: {class_path: lab.Net}", ("lab.Net: there is no module lab: install",)),
        ("model: {class_path: torch.nn.Linear}", ("Linear", "subclass of RetrievalModel")),
        ("model: {network: 3}", ("model.init_args.network is 3, not settings by name",)),
    ],
)
def test_an_unknown_setting_of_a_class_is_named(
    tmp_path: Path, content: str, parts: tuple[str, ...]
) -> None:
    Path("more.yaml").write_text(content + "\n")
    line = refused_with(tmp_path, "--config", "more.yaml")
    assert all(part in line for part in parts)


@pytest.mark.parametrize("verb", ["fit", "test"])
@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("--trainer.max_epoch", "trainer.max_epochs"), ("--trainer.max_epoch=", "trainer.max_epo"),
        ("--trainer.max_epocs", "trainer.max_epochs"), ("--dat", "data"),
        ("--seed", "seed_everything"), ("--ckpt", "ckpt_path"), ("--tensor", "tensorboard"),
        ("--conf", "config"),
    ],
)  # fmt: skip
def test_an_abbreviated_option_names_the_whole_one(
    tmp_path: Path, verb: str, option: str, near: str
) -> None:
    words = [option + "3"] if option.endswith("=") else [option, "3"]
    line = refused(verb, "--config", write_config(tmp_path), *words)
    assert line.startswith(f"unknown key {option.strip('-=')} (did you mean {near}")


def test_whole_options_and_short_ones_work(tmp_path: Path) -> None:
    words = ("--trainer.max_epochs", "7", "--data.batch_size=5", "--training.optimizer.lr", "0.5")
    found = settings("-c", write_config(tmp_path), *words)
    assert found["trainer"]["max_epochs"] == 7
    assert found["data"]["init_args"]["batch_size"] == 5
    assert found["training"]["optimizer"]["init_args"]["lr"] == 0.5


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--data.batch_size x", ("data", "batch_size", "Got value: x")),
        ("--model.network.hidden_size x", ("model", "network.hidden_size", "Got value: x")),
        (
            "--model.network.hidden 3",
            ("no setting network.hidden (did you mean network.hidden_size?)",),
        ),
        ("--training.optimizer.lr x", ("training.optimizer", "lr", "Got value: x")),
        ("--training.optimizer x", ("training.optimizer", "import path string: x")),
        ("--wandb x", ("wandb", "Got value: x")),
        ("--trainer.max_epochs x", ("trainer.max_epochs", "int", "Given value: x")),
        ("--trainer.callbacks EarlyStopping", ("EarlyStopping", "required: monitor")),
        ("--model", ("argument --model: expected one argument",)),
        ("--model sauna", ("there is no model 'sauna'; installed are dreamprvr, gmmformer,",)),
        ("--model ms_sl --model.network.num_registers 3", ("MSSL has no setting network.num_r",)),
        ("--data.label x", ("Tiny has no setting label (did you mean labels?)",)),
        ("--data.labels=", ("data.labels is empty: give the path of a file",)),
        ("--data.features.text_grup x", ("FeatureSet has no setting text_grup (did you mean tex",)),
        ("--data.features.video x", ("data.features.text is empty: give a path for each",)),
        ("--data no_lab.Own", ("no_lab.Own: there is no module no_lab: install the package that",)),
        (
            "--model ms_sl --config addons/trace.yaml",
            ("trace.yaml: MSSL has no setting network.re",),
        ),
        (
            "--config addons/evidence_inter.yaml --model.objective.extra.inter.weigth 1",
            ("InterVideoEvidence has no setting weigth (did you mean weight?)",),
        ),
        (
            "--config addons/holmes_multi.yaml",
            ("--config addons/holmes_multi.yaml changes Holmes alone: add --model holmes, or lea",),
        ),
        ("--data Sauna", ("there is no data set 'Sauna'; `lightning datasets` lists",)),
        ("--data torch.nn.Linear", ("data", "torch.nn.Linear", "subclass of PRVRDataModule")),
        ("--data.max_frames 3", ("data.max_frames follows the model: give --model.network.max",)),
        ('--trainer={"max_epocs":3}', ("--trainer: unknown key trainer.max_epocs",)),
        ("--training 3", ("training", "Unable to load config")),
    ],
)
def test_a_bad_option_is_refused_in_one_line(
    tmp_path: Path, words: str, parts: tuple[str, ...]
) -> None:
    line = refused_with(tmp_path, *words.split())
    assert all(part in line for part in parts), line


def test_no_data_set() -> None:
    for words in ((), ("--trainer.max_epochs", "3"), ("--config", "addons/trace.yaml")):
        assert refused("fit", *words).startswith("no data set is named: add --config FILE")


def test_each_missing_file_is_named() -> None:
    cpu = ("--trainer", "{accelerator: cpu, max_epochs: 1}")
    line = refused("fit", "--data", TINY, "--data.root", "nowhere", *cpu)
    for name in ("tinytrain.caption.txt", "tinyval.caption.txt", "text.hdf5", "FeatureData/tiny"):
        assert name in line
    assert "tinytest" not in line


def test_bad_yaml() -> None:
    Path("bad.yaml").write_text("model: {network: [\n")
    line = refused("fit", "--config", "bad.yaml")
    assert line.startswith("--config bad.yaml is not YAML: ")
    assert line.endswith(", line 2, column 1")


@pytest.mark.parametrize(
    ("verb", "option"), [("test", "--ranks"), ("validate", "--ranks"), ("predict", "--output")]
)
def test_a_place_to_write_is_checked_before_the_checkpoint_is_read(
    tmp_path: Path, verb: str, option: str
) -> None:
    Path("folder.jsonl").mkdir()
    words = ("--config", write_config(tmp_path), "--ckpt_path", "nowhere.ckpt")
    line = refused(verb, *words, option, "folder.jsonl")
    assert line == f"{option} folder.jsonl is a folder: name a file in it"


def test_a_bad_value_of_ours(tmp_path: Path) -> None:
    line = refused("fit", "--config", write_config(tmp_path, num_heads=3))
    assert line == "network.hidden_size 8 is not a multiple of network.num_heads 3"


def test_errors_of_the_parser_are_cut_to_one_line() -> None:
    parser = OneLineParser()
    parser.add_argument("--number", type=int)
    with pytest.raises(UserError) as caught:
        parser.parse_args(["--number", "x" * 10_000])
    assert str(caught.value).startswith("Parser key \"number\": Expected a <class 'int'>")
    assert len(str(caught.value)) < 700
