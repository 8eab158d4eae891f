"""How configuration files, options and callbacks are joined."""

from pathlib import Path
from typing import Any

import yaml
from cli.running import run, settings, write_config

from dreamprvr.cli.config_files import configs_first, given_keys

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
    words = ["fit", "--a", "1", "-c", "x", "--model=json.M", "--b=2", "--config=y", "--config", "z"]
    default, first = configs_first(["fit"])[1:], ["-c", "x", "--config=y", "--config", "z"]
    model = ["--config", '{"model": {"class_path": "json.M"}}']
    rest = [*default, *first, *model, "--a", "1", "--b=2"]
    assert configs_first(words) == ["fit", *rest]
    assert configs_first(words[1:]) == rest
    assert configs_first(["fit", "--config"])[-1] == "--config"


def test_a_whole_section_as_an_option_is_one_more_file(tmp_path: Path) -> None:
    """Neither the callbacks of the files nor their other settings are lost."""
    config = ("--config", "tvr.yaml")
    more = "{max_epochs: 7, callbacks: [{class_path: lightning.pytorch.callbacks.Timer}]}"
    Path("more.yaml").write_text(more)
    for given in (more, "more.yaml"):
        found = settings("--trainer", given, *config)["trainer"]
        assert found["max_epochs"] == 7
        names = [one["class_path"].rpartition(".")[2] for one in found["callbacks"]]
        assert names == ["EarlyStopping", "Timer"]
    found = settings(*config, "--model={init_args: {network: {dropout: 0.5}}}")["model"]
    network = found["init_args"]["network"]
    assert (network["dropout"], network["num_registers"]) == (0.5, 8)
    assert settings(*config, "--training={warmup: 0.5}")["training"]["warmup"] == 0.5


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
        "--training.optimizer={init_args: {lr: 1}}", "--model.network", "network.yaml",
        "--model", "ms_sl",
    ]  # fmt: skip
    assert given_keys(words) == {
        "config", "model.network.dropout", "training.optimizer", "training.optimizer.init_args",
        "training.optimizer.lr", "model.network", "model.network.num_heads",
        "model.class_path",
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
