import errno
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.running import refused, run, write_config
from shared import DATA, needs_data

from dreamprvr.cli.config_files import configs_first, find_config, given_keys, shipped_configs
from dreamprvr.core.errors import UserError

# docs/model.md, section 7
WEIGHTS = ("clip_nce", "frame_nce", "diversity", "similarity", "kl", "diffusion")
PUBLISHED: dict[str, dict[str, Any]] = {
    "activitynet": {
        "weights": (0.02, 0.04, 0.003, 0.01, 1e-4, 1e-3), "diversity": (0.2, 32, 1), "tau": 0.08,
        "margin": 0.2, "registers": 4, "temperature": 0.6, "score": (0.6, 0.4), "dropout": 0.31,
        "lr": 2.5e-4, "epochs": 100, "patience": 10,
    },
    "charades": {
        "weights": (0.02, 0.04, 0.003, 0.002, 1e-4, 1e-3), "diversity": (0.2, 32, 1), "tau": 0.01,
        "margin": 0.2, "registers": 6, "temperature": 0.6, "score": (0.6, 0.4), "dropout": 0.25,
        "lr": 2e-4, "epochs": 100, "patience": 10,
    },
    "tvr": {
        "weights": (0.05, 0.04, 8e-5, 0.01, 1e-4, 1e-3), "diversity": (0.15, 32, 1), "tau": 0.09,
        "margin": 0.1, "registers": 8, "temperature": 0.09, "score": (0.5, 0.5), "dropout": 0.2,
        "lr": 3e-4, "epochs": 150, "patience": 20,
    },
}  # fmt: skip


def parsed(*names: str) -> dict[str, Any]:
    configs = [word for name in names for word in ("--config", name)]
    result = run("fit", *configs, "--print_config")
    assert result.code == 0, result
    return yaml.safe_load(result.out)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_values(name: str) -> None:
    config, expected = parsed(f"{name}.yaml"), PUBLISHED[name]
    network, objective = config["model"]["network"], config["model"]["objective"]
    (stopping,) = config["trainer"]["callbacks"]
    assert {
        "weights": tuple(objective[f"{term}_weight"] for term in WEIGHTS),
        "diversity": tuple(objective[f"diversity_{x}"] for x in ("delta", "alpha", "gamma")),
        "tau": objective["similarity_temperature"],
        "margin": objective["margin"],
        "registers": network["num_registers"],
        "temperature": network["softmax_temperature"],
        "score": (network["clip_weight"], network["frame_weight"]),
        "dropout": network["dropout"],
        "lr": config["model"]["optimizer"]["init_args"]["lr"],
        "epochs": config["trainer"]["max_epochs"],
        "patience": stopping["init_args"]["patience"],
    } == expected
    assert network["input_dropout"] == network["dropout"]
    assert objective["hard_negatives_from"] == 20
    assert config["data"]["init_args"]["batch_size"] == 128


@pytest.mark.parametrize("name", shipped_configs())
def test_all_shipped_files_parse(name: str) -> None:
    assert parsed("synthetic.yaml", name)["model"]["warmup"] <= 1


def test_a_fragment_changes_what_it_names_only() -> None:
    plain, more = parsed("tvr.yaml"), parsed("tvr.yaml", "wandb.yaml")
    assert (plain.pop("wandb"), more.pop("wandb")) == (False, True)
    assert plain == more


def test_ones_own_file_comes_first(tmp_path: Path) -> None:
    assert Path(find_config("tvr.yaml")).is_absolute()
    (tmp_path / "tvr.yaml").write_text("")
    assert find_config("tvr.yaml") == "tvr.yaml"


def test_a_file_that_is_not_there_names_the_shipped_ones() -> None:
    with pytest.raises(UserError, match=r"activitynet\.yaml, charades\.yaml"):
        find_config("tvt.yaml")
    line = refused("fit", "--config", "tvt.yaml")
    assert line.startswith("--config tvt.yaml: no such file here")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", " does not hold settings by name"),
        ("trainer", " does not hold settings by name"),
        ("# nothing", " does not hold settings by name"),
        ("trainer:\n  # max_epochs: 3", ": trainer is empty, not settings by name"),
        ("trainer: [3]", ": trainer is [3], not settings by name"),
        ("model: 3", ": model is 3, not settings by name"),
    ],
)
def test_what_is_no_configuration(content: str, said: str) -> None:
    Path("more.yaml").write_text(content)
    line = refused("fit", "--config", "tvr.yaml", "--config", "more.yaml")
    assert line == f"--config more.yaml{said}"


STOPPING = "{class_path: lightning.pytorch.callbacks.EarlyStopping, init_args: "


def callbacks(*words: str | Path) -> list[tuple[str, dict[str, Any]]]:
    """Class names and settings of the callbacks that a command line leads to."""
    result = run("fit", *words, "--print_config")
    assert result.code == 0, result
    found = yaml.safe_load(result.out)["trainer"]["callbacks"] or []
    return [(one["class_path"].rpartition(".")[2], one.get("init_args", {})) for one in found]


def test_options_win_in_any_order(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    for words in (
        ("--trainer.max_epochs=7", "-c", config, "--data.batch_size", "5"),
        ("--trainer.max_epochs", "7", "--data.batch_size=5", f"--config={config}"),
    ):
        result = run("fit", *words, "--print_config")
        found = yaml.safe_load(result.out)
        assert found["trainer"]["max_epochs"] == 7
        assert found["data"]["init_args"]["batch_size"] == 5


def test_files_come_first_in_their_order() -> None:
    words = ["fit", "--a", "1", "-c", "x", "--b=2", "--config=y", "--config", "z"]
    first = ["-c", "x", "--config=y", "--config", "z"]
    assert configs_first(words) == ["fit", *first, "--a", "1", "--b=2"]
    assert configs_first(words[1:]) == [*first, "--a", "1", "--b=2"]
    assert configs_first(["fit", "--config"]) == ["fit", "--config"]


def test_a_callback_that_is_given_by_its_class_is_added(tmp_path: Path) -> None:
    Path("stop.yaml").write_text(f"trainer: {{callbacks: [{STOPPING}{{monitor: loss}}}}]}}")
    words = ("-c", write_config(tmp_path), "-c", "stop.yaml")
    given = "--trainer.callbacks.class_path=lightning.pytorch.callbacks.Timer"
    for option in (given, "--trainer.callbacks=lightning.pytorch.callbacks.Timer"):
        found = callbacks(*words, option, "--trainer.callbacks.duration=00:01:00:00")
        assert [name for name, _ in found] == ["EarlyStopping", "Timer"]


def test_the_keys_that_options_give(tmp_path: Path) -> None:
    Path("network.yaml").write_text("num_heads: 2")
    words = [
        "fit", "--config", "network.yaml", "--model.network.dropout", "0.1",
        "--model.optimizer={init_args: {lr: 1}}", "--model.network", "network.yaml",
    ]  # fmt: skip
    assert given_keys(words) == {
        "config", "model.network.dropout", "model.optimizer", "model.optimizer.init_args",
        "model.optimizer.lr", "model.network", "model.network.num_heads",
    }  # fmt: skip


def test_callbacks_of_a_fragment_are_added(tmp_path: Path) -> None:
    bar = "{class_path: lightning.pytorch.callbacks.TQDMProgressBar}"
    Path("bar.yaml").write_text(f"trainer: {{callbacks: [{bar}]}}")
    Path("one.yaml").write_text(f"trainer: {{callbacks: {bar}}}")
    Path("stop.yaml").write_text(
        f"trainer: {{callbacks: [{STOPPING}{{monitor: val/SumR, mode: max, patience: 3}}}}]}}"
    )
    Path("loss.yaml").write_text(f"trainer: {{callbacks: [{STOPPING}{{monitor: loss}}}}]}}")
    Path("none.yaml").write_text("trainer: {callbacks: null}")
    Path("other.yaml").write_text("trainer: {max_epochs: 3}")

    def names(*fragments: str) -> list[str]:
        words = [word for name in fragments for word in ("--config", name)]
        return [name for name, _ in callbacks("--config", "tvr.yaml", *words)]

    both = ["EarlyStopping", "TQDMProgressBar"]
    assert names("bar.yaml") == names("one.yaml") == names("bar.yaml", "bar.yaml") == both
    assert names("bar.yaml", "other.yaml") == both
    assert names("loss.yaml") == ["EarlyStopping", "EarlyStopping"]
    assert names("none.yaml") == []
    assert names("bar.yaml", "none.yaml") == []
    ((name, settings),) = callbacks("--config", "tvr.yaml", "--config", "stop.yaml")
    assert (name, settings["patience"]) == ("EarlyStopping", 3)


def test_a_callback_given_as_an_option_is_added(tmp_path: Path) -> None:
    config = ("--config", "tvr.yaml")
    given = ("--trainer.callbacks", "LearningRateMonitor")
    setting = ("--trainer.callbacks.logging_interval", "epoch")
    for words in ((*config, *given, *setting), (*given, *setting, *config)):
        found = callbacks(*words)
        assert [name for name, _ in found] == ["EarlyStopping", "LearningRateMonitor"]
        assert found[1][1]["logging_interval"] == "epoch"
    assert callbacks(*config, "--trainer.callbacks=null") == []
    more = callbacks(*config, *given, "--trainer.callbacks=RichProgressBar")
    assert [name for name, _ in more] == ["EarlyStopping", "LearningRateMonitor", "RichProgressBar"]


@needs_data
def test_a_section_that_stands_twice() -> None:
    line = refused("fit", "--config", DATA / "hard_inputs" / "dupkey.yaml")
    assert line.endswith(
        "line 40: data stands twice (first in line 4), and only one could count: join the two"
    )


def test_a_key_that_stands_twice_is_refused_at_any_depth(tmp_path: Path) -> None:
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
