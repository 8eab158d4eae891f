import errno
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.running import DATA as TINY
from cli.running import refused, run, write_config
from shared import DATA, needs_data

from dreamprvr.cli.config_files import (
    OneLineParser,
    configs_first,
    find_config,
    given_keys,
    shipped_configs,
)
from dreamprvr.core.errors import UserError
from dreamprvr.models.ms_sl.network import MSSL as MSSLModel

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
    return settings(*(word for name in names for word in ("--config", name)))


def settings(*words: str | Path) -> dict[str, Any]:
    """The configuration that a command line of `fit` leads to."""
    result = run("fit", *words, "--print_config")
    assert result.code == 0, result
    return yaml.safe_load(result.out)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_values(name: str) -> None:
    config, expected = parsed(f"{name}.yaml"), PUBLISHED[name]
    network, objective = (config["model"]["init_args"][key] for key in ("network", "objective"))
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
        "lr": config["training"]["optimizer"]["init_args"]["lr"],
        "epochs": config["trainer"]["max_epochs"],
        "patience": stopping["init_args"]["patience"],
    } == expected
    assert network["input_dropout"] == network["dropout"]
    assert objective["hard_negatives_from"] == 20
    assert config["data"]["init_args"]["batch_size"] == 128


def test_qvhighlights_has_the_settings_of_activitynet() -> None:
    """None are published for it; docs/data.md, section 4, says so."""
    ours, theirs = parsed("qvhighlights.yaml"), parsed("activitynet.yaml")
    data, other = ours.pop("data"), theirs.pop("data")
    assert ours == theirs
    assert data["class_path"] == "data_modules.qvhighlights.QVHighlights"
    assert data["init_args"] == {**other["init_args"], "test_release": "val"}


# docs/models/*.md; by model and benchmark: settings of the network, of the objective, and the rate
OTHERS: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any], float]] = {
    ("ms_sl", "activitynet"): (
        {"dropout": 0.1, "clip_weight": 0.7, "frame_weight": 0.3}, {"margin": 0.2}, 2.5e-4,
    ),
    ("ms_sl", "charades"): (
        {"dropout": 0.1, "clip_weight": 0.5, "frame_weight": 0.5}, {"margin": 0.2}, 2.5e-4,
    ),
    ("ms_sl", "tvr"): (
        {"dropout": 0.1, "clip_weight": 0.7, "frame_weight": 0.3}, {"margin": 0.1}, 2.5e-4,
    ),
    ("gmmformer", "activitynet"): (
        {"dropout": 0.2, "clip_weight": 0.7, "frame_weight": 0.3},
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "diversity_weight": 0.015,
            "diversity_delta": 0.2, "diversity_alpha": 32.0,
        },
        2.5e-4,
    ),
    ("gmmformer", "charades"): (
        {"dropout": 0.15, "clip_weight": 0.7, "frame_weight": 0.3},
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "frame_nce_weight": 0.02,
            "diversity_weight": 0.005, "diversity_delta": 0.15, "hard_negatives_from": 100,
        },
        2.5e-4,
    ),
    ("gmmformer", "tvr"): (
        {"dropout": 0.2, "clip_weight": 0.7, "frame_weight": 0.3},
        {
            "margin": 0.1, "clip_nce_weight": 0.05, "diversity_weight": 0.001,
            "diversity_delta": 0.15, "hard_negatives_from": 30,
        },
        3e-4,
    ),
    ("gmmformer_v2", "activitynet"): (
        {"dropout": 0.31, "clip_weight": 0.7, "frame_weight": 0.3, "softmax_temperature": 0.6},
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "diversity_weight": 0.003,
            "matching_weight": 0.11, "diversity_delta": 0.2,
        },
        2.5e-4,
    ),
    ("gmmformer_v2", "charades"): (
        {"dropout": 0.25, "clip_weight": 0.7, "frame_weight": 0.3, "softmax_temperature": 0.6},
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "diversity_weight": 0.003,
            "matching_weight": 0.1, "diversity_delta": 0.2,
        },
        2e-4,
    ),
    ("gmmformer_v2", "tvr"): (
        {"dropout": 0.2, "clip_weight": 0.7, "frame_weight": 0.3, "softmax_temperature": 0.09},
        {
            "margin": 0.1, "clip_nce_weight": 0.05, "diversity_weight": 8e-5,
            "matching_weight": 0.09, "diversity_delta": 0.15,
        },
        3e-4,
    ),
    ("holmes", "activitynet"): (
        {"dropout": 0.31, "clip_weight": 0.6, "frame_weight": 0.4, "softmax_temperature": 0.6},
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "diversity_weight": 0.003,
            "diversity_delta": 0.2, "inter_weight": 0.06, "inter_temperature": 0.04,
            "intra_weight": 1e-4, "intra_temperature": 0.08, "evidence_from": 20,
        },
        2.5e-4,
    ),
    ("holmes", "charades"): (
        {"dropout": 0.25, "clip_weight": 0.6, "frame_weight": 0.4, "softmax_temperature": 0.6},
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "diversity_weight": 0.003,
            "diversity_delta": 0.2, "inter_weight": 0.06, "inter_temperature": 0.08,
            "intra_weight": 9e-4, "intra_temperature": 0.08, "evidence_from": 20,
        },
        2e-4,
    ),
    ("holmes", "tvr"): (
        {"dropout": 0.2, "clip_weight": 0.6, "frame_weight": 0.4, "softmax_temperature": 0.09},
        {
            "margin": 0.1, "clip_nce_weight": 0.05, "diversity_weight": 8e-5,
            "diversity_delta": 0.15, "inter_weight": 0.2, "inter_temperature": 0.05,
            "intra_weight": 0.8, "intra_temperature": 0.06, "evidence_from": 20,
        },
        3e-4,
    ),
}  # fmt: skip
PATIENCE = {("holmes", "charades"): 20, ("holmes", "tvr"): 20}  # 10 for the others


@pytest.mark.parametrize(("model", "benchmark"), sorted(OTHERS))
def test_published_values_of_the_other_models(model: str, benchmark: str) -> None:
    network, objective, rate = OTHERS[model, benchmark]
    config = parsed(f"{benchmark}.yaml", f"models/{model}.yaml")
    assert config == settings("--config", f"{benchmark}.yaml", "--model", model)
    given = config["model"]["init_args"]
    shared = {"hidden_size": 384, "num_heads": 4, "input_dropout": network["dropout"]}
    assert given["network"].items() >= {**network, **shared}.items()
    shared = {"frame_nce_weight": 0.04, "hard_negatives_from": 20, "hard_pool": 20}
    assert given["objective"].items() >= {**shared, **objective}.items()
    assert config["training"]["optimizer"]["init_args"]["lr"] == rate
    assert config["training"]["warmup"] == 0.01
    assert config["data"]["init_args"]["batch_size"] == 128
    (stopping,) = config["trainer"]["callbacks"]
    expected = (100, PATIENCE.get((model, benchmark), 10))
    assert (config["trainer"]["max_epochs"], stopping["init_args"]["patience"]) == expected


def test_holmes_with_words_has_its_own_values_on_tvr() -> None:
    config = settings("-c", "tvr.yaml", "--model", "holmes", "-c", "addons/holmes_multi.yaml")
    given = config["model"]["init_args"]
    assert given["network"].items() >= {"clip_weight": 0.5, "frame_weight": 0.5}.items()
    assert given["network"]["frame_query_encoder"].endswith("WordQueries")
    expected = {
        "inter_weight": 0.01, "inter_temperature": 0.2, "intra_weight": 0.1,
        "intra_temperature": 0.04, "clip_nce_weight": 0.05,
    }  # fmt: skip
    assert given["objective"].items() >= expected.items()
    (stopping,) = config["trainer"]["callbacks"]
    assert (config["trainer"]["max_epochs"], stopping["init_args"]["patience"]) == (150, 20)


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_file_fits_the_generated_benchmark(name: str) -> None:
    config = parsed("synthetic.yaml", name)
    assert config["training"]["warmup"] <= 1
    if name.startswith("models/"):  # of a small size
        network = config["model"]["init_args"]["network"]
        assert (network["hidden_size"], network["max_frames"]) == (64, 64)
        assert config["trainer"]["max_epochs"] == 20


# Any model


MSSL = "dreamprvr.models.ms_sl.network.MSSL"


@pytest.mark.parametrize("name", ["ms_sl", "MSSL", MSSL, "dreamprvr.models.ms_sl.MSSL"])
def test_a_model_is_named_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    config = write_config(tmp_path)
    Path("mine.yaml").write_text(f"model: {{class_path: {name}}}")
    for words in (["--model", name], [f"--model.class_path={name}"], ["-c", "mine.yaml"]):
        found = settings("-c", config, *words, "--model.network.dropout", "0.3")["model"]
        assert found["class_path"] == MSSL
        assert found["init_args"]["network"]["dropout"] == 0.3
        assert found["init_args"]["network"]["hidden_size"] == 384  # nothing of DreamPRVR's
        assert "num_registers" not in found["init_args"]["network"]


def test_the_default_is_dreamprvr() -> None:
    found = settings("--data", "tvr", "--model.network.num_registers", "0")
    assert found["data"]["class_path"] == "data_modules.tvr.TVR"
    assert found["model"]["class_path"] == "dreamprvr.models.dreamprvr.network.DreamPRVR"
    assert found["model"]["init_args"]["network"]["num_registers"] == 0
    assert found["model"]["init_args"]["objective"]["kl_weight"] == 1e-4


class Untyped(MSSLModel):
    def __init__(self, video_dim, text_dim, network=None, objective=None):  # type: ignore[no-untyped-def]
        super().__init__(video_dim, text_dim, network, objective)


def test_a_model_whose_settings_have_no_type_is_refused(tmp_path: Path) -> None:
    line = refused("fit", "--config", write_config(tmp_path), "--model", f"{__name__}.Untyped")
    assert "gives no type for network: write network: MSSLConfig" in line


def test_naming_the_same_model_again_keeps_its_settings(tmp_path: Path) -> None:
    found = settings("-c", write_config(tmp_path), "--model", "dreamprvr")
    assert found["model"]["init_args"]["network"]["hidden_size"] == 8


def test_files_and_options_of_earlier_releases(tmp_path: Path) -> None:
    """Releases with one model kept its settings and those of the training under `model`."""
    Path("old.yaml").write_text(
        "model: {network: {num_registers: 2}, objective: {margin: 0.3}, warmup: 0.5, optimizer: "
        "{class_path: dreamprvr.optim.bert_adam.BertAdam, init_args: {lr: 0.1, eps: 0.2}}}"
    )
    config = write_config(tmp_path)
    found = settings("-c", config, "--model.optimizer.lr", "0.7", "-c", "old.yaml")
    given = found["model"]["init_args"]
    assert given["network"]["num_registers"] == 2
    assert given["network"]["hidden_size"] == 8
    assert given["objective"]["margin"] == 0.3
    assert found["training"]["warmup"] == 0.5
    optimizer = found["training"]["optimizer"]
    assert optimizer["class_path"] == "dreamprvr.training.optimizer.BertAdam"
    assert (optimizer["init_args"]["lr"], optimizer["init_args"]["eps"]) == (0.7, 0.2)
    assert "training.optimizer.lr" in given_keys(["--model.optimizer.lr=3"])


def test_a_fragment_changes_what_it_names_only() -> None:
    plain, more = parsed("tvr.yaml"), parsed("tvr.yaml", "wandb.yaml")
    assert (plain.pop("wandb"), more.pop("wandb")) == (False, True)
    assert plain == more


@pytest.mark.parametrize("model", ["dreamprvr", "gmmformer_v2"])
def test_an_addon_changes_whichever_model_is_named_before_or_after_it(model: str) -> None:
    name = "addons/word_queries.yaml"
    plain = settings("-c", "tvr.yaml", "--model", model)
    given = [["-c", name], [f"-c{name}"], ["--config", name], [f"--config={name}"]]
    for words in given:
        more = settings(*words, "-c", "tvr.yaml", "--model", model)
        network = more["model"]["init_args"]["network"]
        assert network["frame_query_encoder"] == "dreamprvr.models.layers.query.WordQueries"
        network["frame_query_encoder"] = None
        assert more == plain


def test_an_addon_of_the_gaussian_models_is_refused_for_others() -> None:
    line = refused("fit", "-c", "tvr.yaml", "-c", "addons/word_queries.yaml", "--model", "ms_sl")
    assert "frame_query_encoder" in line


def test_addons_of_loss_terms_are_added_to_each_other_with_the_values_of_the_benchmark() -> None:
    addons = ("-c", "addons/evidence_inter.yaml", "-c", "addons/evidence_intra.yaml")
    found = settings("-c", "tvr.yaml", *addons, "--model", "gmmformer_v2")
    objective = found["model"]["init_args"]["objective"]
    terms = {name: term["init_args"] for name, term in objective["extra"].items()}
    assert terms["inter"] == {
        "weight": 0.2, "temperature": 0.05, "from_epoch": 20, "beta": 0.3, "smoothing": 0.2,
    }  # fmt: skip
    assert (terms["intra"]["weight"], terms["intra"]["temperature"]) == (0.8, 0.06)
    assert objective["matching_weight"] == 0.09
    line = refused("fit", "-c", "tvr.yaml", *addons, "--model", "ms_sl")
    assert "extra" in line


def test_the_settings_of_an_addon_are_changed_by_ones_own_and_by_options(tmp_path: Path) -> None:
    addon = ("-c", "synthetic.yaml", "-c", "addons/evidence_inter.yaml")
    (tmp_path / "addons").mkdir()
    section = "{model: {init_args: {objective: {extra: {inter: {init_args: {beta: 0.4}}}}}}}"
    Path("addons/mine.yaml").write_text(section)
    found = settings(*addon, "-c", "addons/mine.yaml", "--model", "gmmformer_v2")
    given = found["model"]["init_args"]["objective"]["extra"]["inter"]["init_args"]
    assert (given["beta"], given["weight"], given["from_epoch"]) == (0.4, 0.06, 10)
    term = "dreamprvr.models.losses.evidence.IntraVideoEvidence"
    found = settings(*addon, "--model.objective.extra.intra", term)
    assert found["model"]["init_args"]["objective"]["extra"].keys() == {"inter", "intra"}


def test_a_file_of_the_user_comes_before_a_shipped_one(tmp_path: Path) -> None:
    assert Path(find_config("tvr.yaml")).is_absolute()
    (tmp_path / "tvr.yaml").write_text("")
    assert find_config("tvr.yaml") == "tvr.yaml"


def test_a_file_that_is_not_there_names_the_shipped_ones() -> None:
    with pytest.raises(UserError, match=r"activitynet\.yaml, .*models/ms_sl\.yaml"):
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
    words = ["fit", "--a", "1", "-c", "x", "--model=m.M", "--b=2", "--config=y", "--config", "z"]
    default, first = configs_first(["fit"])[1:], ["-c", "x", "--config=y", "--config", "z"]
    model = ["--config", '{"model": {"class_path": "m.M"}}']
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


# Bad options and values: one line each


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
            ("DreamPRVR", "'objektive.margin' is not accepted"),
        ),
        ("model: {init_args: {}, margin: 0.1}", ("DreamPRVR", "'margin' is not accepted")),
        ("data: {init_args: {batch_sise: 3}}", ("cli.running.Tiny", "batch_sise")),
        ("data: {class_pth: x}", ("cli.running.Tiny", "class_pth")),
        (
            "training: {optimizer: {init_args: {weigth_decay: 3}}}",
            ("training.optimizer", "weigth_decay"),
        ),
        (
            "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.EarlyStopping, "
            "init_args: {monitr: val/SumR}}]}",
            ("EarlyStopping", "monitr"),
        ),
        ("model: {class_path: lab.Net}", ("model", "lab.Net", "No module named 'lab'")),
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
        ("--model.network.hidden 3", ("model", "unrecognized arguments: --network.hidden=3")),
        ("--training.optimizer.lr x", ("training.optimizer", "lr", "Got value: x")),
        ("--training.optimizer x", ("training.optimizer", "import path string: x")),
        ("--wandb x", ("wandb", "Got value: x")),
        ("--trainer.max_epochs x", ("trainer.max_epochs", "int", "Given value: x")),
        ("--trainer.callbacks EarlyStopping", ("EarlyStopping", "required: monitor")),
        ("--model", ("argument --model: expected one argument",)),
        ("--model sauna", ("there is no model 'sauna'; installed are dreamprvr, gmmformer,",)),
        ("--model ms_sl --model.network.num_registers 3", ("MSSL", "--network.num_registers=3")),
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
    assert refused("fit").startswith("no data set: give --config FILE")
    assert "required: fit.data" in refused("fit", "--trainer.max_epochs", "3")


def test_each_missing_file_is_named() -> None:
    cpu = ("--trainer", "{accelerator: cpu, max_epochs: 1}")
    line = refused("fit", "--data", TINY, "--data.root", "nowhere", *cpu)
    for name in ("tinytrain.caption.txt", "tinyval.caption.txt", "text.hdf5", "FeatureData/tiny"):
        assert name in line
    assert "tinytest" not in line


def test_bad_yaml() -> None:
    Path("bad.yaml").write_text("model: {network: [\n")
    assert "bad.yaml" in refused("fit", "--config", "bad.yaml")


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
