from pathlib import Path

import pytest
import yaml
from cli.running import write_config

from dreamprvr.cli.compare_plan import (
    Entrant,
    Plan,
    difference,
    make_plan,
    read_models,
    record_configurations,
)
from dreamprvr.core.errors import UserError

SMALL = ["--model.network.hidden_size", "8", "--model.network.num_heads", "2"]


def planned(models: str, *options: str, config: str = "tiny.yaml") -> Plan:
    return make_plan(read_models(models), None, ["--config", config, *options])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with tiny.yaml, which describes a small DreamPRVR, and its data."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    return tmp_path


def test_models_are_read() -> None:
    text = "dreamprvr, words=dreamprvr+addons/words.yaml,models/plus.yaml,my_lab.Model,ms_sl+a.yml"
    assert read_models(text) == [
        Entrant("dreamprvr", ("dreamprvr",)),
        Entrant("words", ("dreamprvr", "addons/words.yaml")),
        Entrant("plus", ("models/plus.yaml",)),
        Entrant("Model", ("my_lab.Model",)),
        Entrant("ms_sl+a", ("ms_sl", "a.yml")),
    ]


@pytest.mark.parametrize("text", ["", "a,", "a,,b", "=a", "a=", "a+", "-a"])
def test_what_names_no_model_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no model: give names or files between commas"):
        read_models(text)


@pytest.mark.parametrize("label", ["../a", "x/y", "cost", "-a"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(UserError, match=f"--models: '{label}' is no label: it begins with a let"):
        read_models(f"{label}=dreamprvr")


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(UserError, match="--models names a twice: give each a label of its own"):
        read_models("a=dreamprvr,a=ms_sl")
    with pytest.raises(UserError, match=r"--models names b twice: write LABEL=x/b\.yaml for one"):
        read_models("a,b,x/b.yaml")


def test_configurations_are_whole_and_have_one_budget(here: Path) -> None:
    plan = planned("dreamprvr,ms_sl", "--trainer.max_epochs", "7", "--seed_everything", "4", *SMALL)
    assert plan.folder == Path("runs/compare/tiny")
    assert plan.first_seed == 4
    ours, theirs = plan.configurations.values()
    assert ours["model"]["class_path"] == "dreamprvr.models.dreamprvr.network.DreamPRVR"
    assert ours["model"]["init_args"]["network"]["max_frames"] == 8  # of tiny.yaml
    assert theirs["model"]["class_path"] == "dreamprvr.models.ms_sl.network.MSSL"
    assert theirs["model"]["init_args"]["network"]["hidden_size"] == 8  # an option wins
    assert theirs["model"]["init_args"]["objective"]["hard_pool"] == 20  # of models/ms_sl.yaml
    assert ours["trainer"] == theirs["trainer"]
    assert ours["trainer"]["max_epochs"] == 7
    assert {"seed_everything", "ckpt_path", "init_from"}.isdisjoint(ours)


def test_a_models_file_changes_no_budget(here: Path) -> None:
    longer = {"trainer": {"max_epochs": 50}, "model": {"init_args": {"network": {"dropout": 0.5}}}}
    Path("longer.yaml").write_text(yaml.safe_dump(longer))
    ours = planned("dreamprvr+longer.yaml").configurations["dreamprvr+longer"]
    assert ours["trainer"]["max_epochs"] == 2
    assert ours["model"]["init_args"]["network"]["dropout"] == 0.5
    assert ours["model"]["init_args"]["network"]["hidden_size"] == 8


def test_a_file_adds_to_the_model_before_it() -> None:
    """The option --model would remove settings of the file, and the data set is known."""
    plan = planned("ms_sl+models/ms_sl.yaml", *SMALL, config="synthetic.yaml")
    (ours,) = plan.configurations.values()
    assert ours["model"]["init_args"]["objective"]["hard_negatives_from"] == 10  # of Synthetic


def test_an_add_on_is_added_to_its_model_alone(here: Path) -> None:
    models = ("dreamprvr", "gmmformer_v2")
    words = ",".join(f"{model}+addons/word_queries.yaml" for model in models)
    plan = planned(f"{','.join(models)},{words}")
    networks = [one["model"]["init_args"]["network"] for one in plan.configurations.values()]
    added = "dreamprvr.models.layers.query.WordQueries"
    assert [one["frame_query_encoder"] == added for one in networks] == [False, False, True, True]
    assert list(plan.configurations)[2:] == [f"{model}+word_queries" for model in models]


def test_the_data_set_may_be_an_option() -> None:
    plan = make_plan(read_models("ms_sl"), "mine", ["--data", "synthetic"])
    assert plan.configurations["ms_sl"]["model"]["init_args"]["network"]["max_frames"] == 64
    assert plan.folder == Path("runs/compare/mine")


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ("nothing", [], "there is no model 'nothing'"),
        ("dreamprvr+no.yaml", [], "--config no.yaml: no such file here"),
        ("dreamprv", [], r"there is no model 'dreamprv' \(did you mean dreamprvr\?\)"),
        ("ms_sl", ["--ckpt_path", "a.ckpt"], "--ckpt_path is of one model"),
        ("ms_sl", ["--init_from", "a.ckpt"], "--init_from is of one model"),
        ("ms_sl", ["--seed_everything", "true"], "seed_everything is True; compare needs"),
        ("ms_sl", ["--trainer.max_epoch", "2"], "unknown key trainer.max_epoch"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(
    here: Path, models: str, options: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        planned(models, *options)
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_a_name_that_leads_elsewhere_is_refused(here: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"--name .*: give a name without / and"):
        make_plan(read_models("ms_sl"), name, ["--config", "tiny.yaml"])


A = {"model": {"lr": 1e-6, "dropout": 0.1}, "trainer": {"max_epochs": 100, "callbacks": None}}
B = {"model": {"size": 3}, "trainer": {"max_epochs": 100, "callbacks": None}}


def test_configurations_are_recorded_once_and_models_are_added(tmp_path: Path) -> None:
    record_configurations(tmp_path, {"a": A})
    before = (tmp_path / "a.yaml").stat()
    record_configurations(tmp_path, {"a": A, "b": B})
    record_configurations(tmp_path, {"b": B})
    assert (tmp_path / "a.yaml").stat().st_mtime_ns == before.st_mtime_ns
    assert yaml.safe_load((tmp_path / "b.yaml").read_text()) == B


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"a": A | {"model": {"lr": 1e-6}}}, "runs of a with model.dropout 0.1, not None"),
        ({"a": A | {"model": {"lr": 2.0, "dropout": 0.1}}}, "with model.lr 1e-06, not 2.0"),
        ({"a": A | {"seeds": 3}}, "with seeds None, not 3"),
        ({"b": B | {"trainer": {"max_epochs": 20}}}, "runs of a with trainer.max_epochs 100, not"),
    ],
)  # fmt: skip
def test_another_configuration_is_refused(
    tmp_path: Path, asked: dict[str, dict[str, object]], message: str
) -> None:
    record_configurations(tmp_path, {"a": A})
    with pytest.raises(UserError, match=message) as caught:
        record_configurations(tmp_path, asked)
    assert "give another --name" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"a\.yaml"):
        record_configurations(tmp_path, {"a": A})
    (tmp_path / "a.yaml").write_text("just text")
    with pytest.raises(UserError, match="give another --name"):
        record_configurations(tmp_path, {"b": B})


def test_a_difference_is_named_by_its_whole_key() -> None:
    assert difference(A, A) == ""
    assert difference({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}, "x") == "x.a.b [1], not [1, 2]"
