from pathlib import Path
from typing import Any

import pytest
from cli.running import refused, settings, write_config

from dreamprvr.cli.config_files import (
    data_path,
    find_config,
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
    """Nothing is published for it (docs/data.md, section 4)."""
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
    ("hlformer", "activitynet"): (
        {
            "dropout": 0.31, "clip_weight": 0.7, "frame_weight": 0.3, "softmax_temperature": 0.6,
            "gaussian_widths": [2.0, 4.0, 8.0], "lorentz_size": 127,
        },
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "diversity_weight": 0.003,
            "order_weight": 0.001, "diversity_delta": 0.2,
        },
        2.5e-4,
    ),
    ("hlformer", "charades"): (
        {"dropout": 0.25, "clip_weight": 0.7, "frame_weight": 0.3, "softmax_temperature": 0.6},
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "diversity_weight": 0.003,
            "order_weight": 0.001, "diversity_delta": 0.2,
        },
        2e-4,
    ),
    ("hlformer", "tvr"): (
        {"dropout": 0.2, "clip_weight": 0.7, "frame_weight": 0.3, "softmax_temperature": 0.09},
        {
            "margin": 0.1, "clip_nce_weight": 0.05, "diversity_weight": 8e-5,
            "order_weight": 0.001, "diversity_delta": 0.15,
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
    ("ral", "activitynet"): (
        {"dropout": 0.31, "clip_weight": 0.6, "frame_weight": 0.4, "softmax_temperature": 0.6},
        {
            "margin": 0.2, "clip_nce_weight": 0.02, "diversity_weight": 0.003,
            "matching_weight": 0.11, "diversity_delta": 0.2, "proxy_weight": 0.004,
            "distribution_weight": 0.00025,
        },
        2.5e-4,
    ),
    ("ral", "tvr"): (
        {"dropout": 0.2, "clip_weight": 0.5, "frame_weight": 0.5, "softmax_temperature": 0.09},
        {
            "margin": 0.1, "clip_nce_weight": 0.05, "diversity_weight": 8e-5,
            "matching_weight": 0.09, "diversity_delta": 0.15, "proxy_weight": 0.004,
            "distribution_weight": 0.00025,
        },
        3e-4,
    ),
}  # fmt: skip
EPOCHS = {  # and patience; 100 and 10 for the others
    ("holmes", "charades"): (100, 20), ("holmes", "tvr"): (100, 20), ("ral", "tvr"): (150, 15),
}  # fmt: skip


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
    epochs = (config["trainer"]["max_epochs"], stopping["init_args"]["patience"])
    assert epochs == EPOCHS.get((model, benchmark), (100, 10))


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
    others = ("models/holmes.yaml",) if "holmes" in name else ()
    config = parsed("synthetic.yaml", *others, name)
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


def test_settings_beside_the_class_are_its_settings(tmp_path: Path) -> None:
    Path("short.yaml").write_text("model: {network: {num_registers: 2}, objective: {margin: 0.3}}")
    found = settings("-c", write_config(tmp_path), "-c", "short.yaml")
    given = found["model"]["init_args"]
    assert given["network"]["num_registers"] == 2
    assert given["network"]["hidden_size"] == 8
    assert given["objective"]["margin"] == 0.3


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
    extra = "--model.objective.extra"
    words = (f"{extra}.inter.init_args.beta", "0.5", f"{extra}.inter.weight=1e-3")
    found = settings(*words, *addon, f"{extra}.intra", term)
    terms = found["model"]["init_args"]["objective"]["extra"]
    assert terms.keys() == {"inter", "intra"}
    given = terms["inter"]["init_args"]
    assert (given["beta"], given["weight"], given["from_epoch"]) == (0.5, 0.001, 10)
    line = refused("fit", *addon, f"{extra}.inter.init_args.colour", "3")
    assert "InterVideoEvidence has no setting colour" in line
    assert "colour" in line
    assert "needs a class_path" in refused("fit", "-c", "synthetic.yaml", f"{extra}.x.beta", "3")


@pytest.mark.parametrize("word", ["-c", "--config="])
def test_a_file_that_follows_an_addon_changes_its_settings(tmp_path: Path, word: str) -> None:
    """An add-on that was merged later would take the user's values away without a word."""
    term = "{init_args: {from_epoch: 2}}"
    sections = ["training: {warmup: 0.2}", "trainer: {max_epochs: 5}"]
    sections.append(f"model: {{init_args: {{objective: {{extra: {{inter: {term}}}}}}}}}")
    (tmp_path / "mine.yaml").write_text("\n".join(sections))
    mine = ["-c", "mine.yaml"] if word == "-c" else ["--config=mine.yaml"]
    words = ["-c", "charades.yaml", "-c", "addons/evidence_inter.yaml", *mine]
    for more in ([], ["--model", "gmmformer_v2"], ["-c", "models/gmmformer_v2.yaml"]):
        found = settings(*words, *more)
        given = found["model"]["init_args"]["objective"]["extra"]["inter"]["init_args"]
        assert (given["from_epoch"], given["temperature"]) == (2, 0.08)
        assert (found["training"]["warmup"], found["trainer"]["max_epochs"]) == (0.2, 5)
        assert found["model"]["class_path"].endswith("GMMFormerV2" if more else "DreamPRVR")
    given = ["--trainer", "{max_epochs: 7}", "--training={warmup: 0.3}"]
    found = settings(*given, *words)
    assert (found["training"]["warmup"], found["trainer"]["max_epochs"]) == (0.3, 7)
    line = refused(
        "fit", "-c", "charades.yaml", "-c", "addons/evidence_inter.yaml", "-c", "gone.yaml"
    )
    assert line.startswith("--config gone.yaml: no such file here")


def test_a_file_of_the_user_comes_before_a_shipped_one(tmp_path: Path) -> None:
    assert Path(find_config("tvr.yaml")).is_absolute()
    (tmp_path / "tvr.yaml").write_text("")
    assert find_config("tvr.yaml") == "tvr.yaml"


def test_a_file_that_is_not_there_names_the_shipped_ones() -> None:
    with pytest.raises(UserError, match=r"activitynet\.yaml, .*models/ms_sl\.yaml"):
        find_config("tvt.yaml")
    line = refused("fit", "--config", "tvt.yaml")
    assert line.startswith("--config tvt.yaml: no such file here")


def test_null_as_an_option_switches_a_part_off() -> None:
    words = ("--data", "synthetic", "--config", "addons/word_queries.yaml")
    found = settings(*words, "--model.network.frame_query_encoder", "null")
    assert found["model"]["init_args"]["network"]["frame_query_encoder"] is None


def test_a_class_of_the_program_itself_is_no_missing_package() -> None:
    assert data_path("__main__.Own") == "__main__.Own"
