from pathlib import Path
from typing import Any

import pytest
import yaml
from cli.running import refused, run

from dreamprvr.cli.config_files import find_config, shipped_configs
from dreamprvr.errors import UserError

# model.md, section 7
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
