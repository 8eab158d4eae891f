"""Every shipped model through fit, test and predict, chosen by the configuration."""

from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from cli.outcomes import CONFIG, best, read_lines
from cli.running import refused, run, write_config
from models.published_models import OTHER_MODELS

from dreamprvr.models.registry import class_path, find_model
from dreamprvr.training.module import PRVRModule

SMALL = ("--model.network.hidden_size", "8", "--model.network.num_heads", "2")
SHORT = ("--model.network.max_frames", "8", "--model.network.num_clips", "4")


@pytest.fixture(scope="module", params=OTHER_MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a model, in a folder with tiny.yaml, which describes DreamPRVR, and the data."""
    folder = tmp_path_factory.mktemp(f"{request.param}-")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_config(folder, epochs=1)
        result = run("fit", *CONFIG, "--model", request.param, *SMALL, *SHORT)
    assert result.code == 0, result
    return folder / "runs" / "version_0"


def name_of(model: Path) -> str:
    return model.parents[1].name.partition("-")[0]


def test_the_record_of_a_trained_model_names_it(model: Path) -> None:
    saved = yaml.safe_load((model / "config.yaml").read_text())["model"]
    held = torch.load(best(model), weights_only=True)["hyper_parameters"]["model"]
    assert saved["class_path"] == held == class_path(find_model(name_of(model)))
    assert saved["init_args"]["network"]["hidden_size"] == 8
    header = (model / "metrics.csv").read_text().splitlines()[0]
    assert "train/kl" not in header
    assert "val/SumR" in header


def test_the_checkpoints_model_is_evaluated_whatever_the_file_describes(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parents[1])
    given = ("--ckpt_path", best(model))
    result = run("test", *CONFIG, *given)
    assert result.code == 0, result
    name = type(PRVRModule.load_from_checkpoint(best(model)).network).__name__
    assert f"{name}, as in the checkpoint (dreamprvr.models.dreamprvr." in result.out
    again = run("test", "--config", model / "config.yaml", *given)
    assert again.code == 0, again
    rows = [
        [line for line in one.out.splitlines() if line.startswith("tiny test")]
        for one in (result, again)
    ]
    assert rows[0] == rows[1] != []
    assert run("predict", *CONFIG, *given, "--output", "hits.jsonl").code == 0
    assert all(len(line["hits"]) == 4 for line in read_lines(Path("hits.jsonl")))


def test_another_model_than_the_checkpoints_is_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parents[1])
    for verb, option in (("test", "--ckpt_path"), ("fit", "--ckpt_path"), ("fit", "--init_from")):
        line = refused(verb, *CONFIG, "--model", "dreamprvr", option, best(model))
        assert line.startswith("--model dreamprvr.models.dreamprvr.network.DreamPRVR: the checkp")


def test_a_model_is_tuned_further(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parents[1])
    given = ("--model", name_of(model), *SMALL, *SHORT)
    words = (*given, "--init_from", best(model), "--model.network.dropout", "0")
    result = run("fit", *CONFIG, *words, "--trainer.default_root_dir", "more")
    assert result.code == 0, result
    assert "network.dropout is 0.0, as you say" in result.out


# Add-ons: each trains DreamPRVR past the epochs in which it changes, and its checkpoint is tested
ADDONS = {
    "evidence_inter": ("inter_combined", "--model.objective.extra.inter.init_args.from_epoch"),
    "evidence_intra": ("intra", "--model.objective.extra.intra.init_args.from_epoch"),
    "distillation": ("relations_angle", None),
}


@pytest.mark.parametrize("name", ADDONS)
def test_a_model_trains_with_an_addon_and_is_tested_without_it(tmp_path: Path, name: str) -> None:
    write_config(tmp_path, epochs=2)
    term, start = ADDONS[name]
    words = ("--config", f"addons/{name}.yaml", *((start, "1") if start else ()))
    result = run("fit", *CONFIG, *words)
    assert result.code == 0, result
    metrics = pd.read_csv("runs/version_0/metrics.csv")[f"train/{term}"].dropna()
    assert metrics.max() > 0  # a video alone has no loss
    if name == "evidence_intra":
        assert metrics.iloc[0] == 0
    assert run("test", *CONFIG, "--ckpt_path", best(Path("runs/version_0"))).code == 0
