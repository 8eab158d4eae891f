import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli.forks import Command
from cli.outcomes import best, differences
from cli.running import launch, refused, run, start, write_config

from dreamprvr.cli import compare
from dreamprvr.cli.compare import Comparison, Job, time_left
from dreamprvr.cli.compare_plan import Plan
from dreamprvr.core.locks import open_lock, take
from dreamprvr.core.stopping import Stopped
from dreamprvr.evaluation.comparison import Cost
from dreamprvr.evaluation.metrics import COLUMNS

FOLDER = Path("runs/compare/lab")
MODELS = {
    name: {"data": {"class_path": "a.Lab", "size": 3}, "trainer": {"max_epochs": 5}, "name": name}
    for name in ("first", "second")
}
COST = Cost(7, 0.5, 0.25, 1000.0, 0.125)


class Calls:
    """Stands for the processes of a comparison: writes what they would write.

    Args:
        failing: for each of these runs, the verb that fails and why.
        before: called with the words of each call.
    """

    def __init__(
        self, failing: dict[str, tuple[str, str]] | None = None,
        before: Callable[[tuple[str, ...]], None] = lambda words: None,
    ) -> None:  # fmt: skip
        self.failing, self.before = failing or {}, before
        self.made: list[str] = []

    def __call__(self, comparison: Comparison, module: str, *words: str) -> str:
        self.before(words)
        if module == "dreamprvr.cli.cost":
            self.made.append("cost")
            if "cost" in self.failing:
                return self.failing["cost"][1]
            content = {name: COST._asdict() for name in words[1:]}
            text = json.dumps(
                {"models": content, "machine": {"threads": 2, "gpu": None, "load": 8}}
            )
            (Path(words[0]) / "cost.json").write_text(text)
            return ""
        verb, options = words[0], dict(zip(words[1::2], words[2::2], strict=True))
        folder = Path(options["--trainer.default_root_dir"])
        self.made.append(f"{verb} {folder.name}")
        failing, reason = self.failing.get(folder.name, ("", ""))
        if failing == verb:
            return reason
        version = folder / "version_0"
        if verb == "fit":
            (version / "checkpoints").mkdir(parents=True, exist_ok=True)
            best(version).touch()
            return ""
        assert options["--ckpt_path"] == str(best(version))
        seed = int(options["--seed_everything"])
        write_result(version, seed, Path(options["--ranks"]), folder.name.startswith("second"))
        return ""


def write_result(version: Path, seed: int, ranks: Path, better: bool) -> None:
    rank = [1 if better else 3] * 4
    values = dict.fromkeys(COLUMNS, 100.0 if better else 50.0 + seed)
    entry = {"split": "test", "checkpoint": "checkpoints/best.ckpt", "seed": seed, **values}
    (version / "metrics.json").write_text(json.dumps({"results": [{**entry, "seed": 99}, entry]}))
    queries = [f"q{i}" for i in range(4)]
    table = {"query_id": queries, "video_id": queries, "rank": rank}
    pd.DataFrame(table).to_csv(ranks, index=False)


def compared(
    monkeypatch: pytest.MonkeyPatch, calls: Calls, seeds: int = 2, **models: object
) -> Comparison:
    """Run a comparison of two models whose processes are stood for."""
    monkeypatch.setattr(
        Comparison, "_call", lambda self, module, *words: calls(self, module, *words)
    )
    plan = Plan(FOLDER, {**MODELS, **models}, 4)  # type: ignore[dict-item]
    comparison = Comparison(plan, seeds)
    with comparison.locked():
        comparison.run()
    return comparison


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_model_is_trained_and_tested_with_each_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = Calls()
    comparison = compared(monkeypatch, calls)
    expected = [
        f"{verb} {model}_seed{seed}"
        for seed in (4, 5)
        for model in MODELS
        for verb in ("fit", "test")
    ]
    assert calls.made == ["cost", *expected]
    assert not comparison.failed
    out = capsys.readouterr().out
    assert "runs/compare/lab: 4 runs, 0 of them finished" in out
    assert "\nrun 1 of 4: first, seed 4\n" in out
    assert "\nrun 4 of 4: second, seed 5; about 0 min left\n" in out
    text = (FOLDER / "comparison.md").read_text()
    assert text in out
    assert out.count("| first  |    1 |") == 2  # the table after each run
    table = pd.read_csv(FOLDER / "comparison.csv").set_index("model")
    assert table["runs"].tolist() == [2, 2]
    assert table.loc["first", "R@1"] == 54.5
    assert table.loc["second", "R@1 difference"] == 100
    assert table.loc["second", "step"] == 0.5
    assert "Means ± sample deviations over the seeds 4, 5. " in text
    assert "Data: Lab; epochs at most: 5." in text
    assert "turn on 2 threads of a processor, beside other work (load 8.0)." in text
    content = json.loads((FOLDER / "comparison.json").read_text())
    assert [(one["model"], one["seed"]) for one in content["runs"]] == [
        ("first", 4), ("first", 5), ("second", 4), ("second", 5),
    ]  # fmt: skip
    assert content["to_come"] == 0


def test_what_is_finished_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    compared(monkeypatch, Calls())
    whole = (FOLDER / "comparison.csv").read_text()
    (FOLDER / "comparison.csv").unlink()
    calls = Calls()
    compared(monkeypatch, calls)
    assert calls.made == []
    assert (FOLDER / "comparison.csv").read_text() == whole


def test_models_and_seeds_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    compared(monkeypatch, Calls(), seeds=1)
    calls = Calls()
    third = {**MODELS["first"], "name": "third"}
    compared(monkeypatch, calls, third=third)
    runs = ["third_seed4", "first_seed5", "second_seed5", "third_seed5"]
    # the costs of all are measured again, since they are compared with each other
    assert calls.made == ["cost", *(f"{verb} {one}" for one in runs for verb in ("fit", "test"))]


@pytest.mark.parametrize("name", ["metrics.json", "test_ranks.csv"])
def test_a_run_whose_result_is_damaged_is_tested_again(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    compared(monkeypatch, Calls(), seeds=1)
    (FOLDER / "first_seed4" / "version_0" / name).write_text("{")
    calls = Calls()
    comparison = compared(monkeypatch, calls, seeds=1)
    assert calls.made == ["fit first_seed4", "test first_seed4"]
    assert len(comparison.results["first"]) == 1


@pytest.mark.parametrize("verb", ["fit", "test"])
def test_a_failed_run_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    calls = Calls({"second_seed4": (verb, "no memory")})
    comparison = compared(monkeypatch, calls)
    assert [str(job) for job in comparison.failed] == ["second, seed 4"]
    assert calls.made[-1] == "test second_seed5"
    assert "Failed: second, seed 4: no memory." in (FOLDER / "comparison.md").read_text()
    assert "failed: second, seed 4: no memory" in capsys.readouterr().err
    again = Calls()
    assert not compared(monkeypatch, again).failed
    assert again.made == ["fit second_seed4", "test second_seed4"]
    assert "Failed" not in (FOLDER / "comparison.md").read_text()


def test_without_costs_there_is_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(monkeypatch, Calls({"cost": ("cost", "no library can keep it")}), seeds=1)
    assert "the cost was not measured: no library can keep it" in capsys.readouterr().err
    text = (FOLDER / "comparison.md").read_text()
    assert "training step" not in text
    assert "| second |    1 | 100.0 |" in text
    compared(monkeypatch, Calls(), seeds=1)
    assert "| second |    1 | 100.0 |" in (FOLDER / "comparison.md").read_text()
    assert "training step" in (FOLDER / "comparison.md").read_text()


def test_an_interruption_keeps_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(words: tuple[str, ...]) -> None:
        if words[0] == "fit" and "second_seed4" in str(words):
            raise Stopped(signal.SIGINT)

    with pytest.raises(Stopped):
        compared(monkeypatch, Calls(before=stop), seeds=1)
    assert "Runs to come: 1." in (FOLDER / "comparison.md").read_text()
    calls = Calls()
    compared(monkeypatch, calls, seeds=1)
    assert calls.made == ["fit second_seed4", "test second_seed4"]


def test_models_with_other_data_are_remarked(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**MODELS["first"], "data": {"class_path": "a.Lab", "size": 9}}
    compared(monkeypatch, Calls(), seeds=1, second=other)
    text = (FOLDER / "comparison.md").read_text()
    assert "second was trained with data.size 9, not 3 as for first." in text


def test_results_by_other_labels_are_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They lie in the same record where a run of the comparison was tested once more."""
    calls = Calls()
    compared(monkeypatch, calls, seeds=1)
    run = FOLDER / "first_seed4" / "version_0"
    record = json.loads((run / "metrics.json").read_text())
    dense = {**record["results"][-1], "SumR": 7.0, "labels_file": str(Path("d.jsonl").absolute())}
    record["results"].append(dense)
    (run / "metrics.json").write_text(json.dumps(record))
    job = Job("first", 4, FOLDER / "first_seed4")
    official, labelled = job.result(), job._replace(labels=dense["labels_file"]).result()
    assert official is not None
    assert labelled is not None
    assert (official.metrics["SumR"], labelled.metrics["SumR"]) == (54.0, 7.0)
    assert job._replace(labels="/other.jsonl").result() is None


def test_the_labels_of_a_comparison_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"class_path": "a.Lab", "init_args": {"labels": "d.jsonl"}}
    models = {name: {**model, "data": data} for name, model in MODELS.items()}
    result = write_result

    def labelled(version: Path, *options: Any) -> None:
        result(version, *options)
        record = json.loads((version / "metrics.json").read_text())
        record["results"][-1]["labels_file"] = str(Path("d.jsonl").absolute())
        (version / "metrics.json").write_text(json.dumps(record))

    monkeypatch.setitem(globals(), "write_result", labelled)
    assert not compared(monkeypatch, Calls(), seeds=1, **models).failed
    assert (
        "Data: Lab; labels: d.jsonl; epochs at most: 5." in (FOLDER / "comparison.md").read_text()
    )


def test_a_folder_that_is_in_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    FOLDER.mkdir(parents=True)
    descriptor = open_lock(FOLDER, ".lock")
    assert take(descriptor, exclusive=True)
    with pytest.raises(compare.UserError, match="another `lightning compare` is at work there"):
        compared(monkeypatch, Calls())
    os.close(descriptor)
    compared(monkeypatch, Calls())


def test_the_run_goes_on_from_its_newest_whole_checkpoint(trained: Path) -> None:
    folder = Path("job")
    shutil.copytree(trained, folder / "version_0")
    job = Job("a", 0, folder)
    last = folder / "version_0" / "checkpoints" / "last.ckpt"
    assert (job.resumable(), job.trained()) == (last, best(folder / "version_0"))
    (folder / "version_1" / "checkpoints").mkdir(parents=True)  # it saved nothing
    (folder / "version_x").mkdir()
    assert [path.name for path in job.runs] == ["version_1", "version_0"]
    assert job.resumable() == last
    last.write_bytes(last.read_bytes()[:1000])
    assert job.resumable() == best(folder / "version_0")
    best(folder / "version_0").unlink()
    assert job.resumable() is None
    assert job.trained() == last
    assert Job("a", 1, Path("nowhere")).resumable() is None


def test_the_time_left() -> None:
    assert time_left(["a"], {}) == ""
    known = {"a": [60.0, 120.0], "b": [600.0]}
    assert time_left(["a", "b", "c"], known) == "; about 16 min left"  # c: the mean of all
    assert time_left(["b"] * 13, known) == "; about 2 h 10 min left"


@pytest.fixture
def called() -> Comparison:
    comparison = Comparison(Plan(FOLDER, {"a": {}}, 0), 1)
    comparison._lock = os.open(os.devnull, os.O_RDONLY)
    return comparison


def test_a_process_that_fails_says_why(
    called: Comparison, capfd: pytest.CaptureFixture[str]
) -> None:
    assert called._call("dreamprvr", "--help") == ""
    assert (
        called._call("dreamprvr", "nonsense") == "no verb 'nonsense'; `lightning --help` lists them"
    )
    assert "error: no verb 'nonsense'" in capfd.readouterr().err
    Path("broken.py").write_text("import os; os.kill(os.getpid(), 9)")
    sys.path.append(os.getcwd())
    assert called._call("broken") == "it was ended by SIGKILL"
    sys.path.remove(os.getcwd())


def test_mistakes_of_the_command_line() -> None:
    assert refused("compare", "--models", "a,b").startswith(
        "no data set is named: add --config FILE"
    )
    assert refused("compare", "--models", "a", "--seeds", "0") == (
        "--seeds is 0; it must be a whole number from 1 to 1,000"
    )
    line = refused("compare", "--models", "a", "--model", "b")
    assert line == "lightning compare: unknown option --model (did you mean --models?)"
    assert "models" in refused("compare", "--config", "tvr.yaml")


TWO = ("--models", "dreamprvr,ms_sl", "--seeds", "1", "--config", "tiny.yaml")
SMALL = ("--model.network.hidden_size", "8", "--model.network.num_heads", "2")
SHORT = ("--model.network.max_frames", "8", "--model.network.num_clips", "4")


def start_until(saved: Path) -> Command:
    """Start a comparison, and wait until a run has saved a checkpoint."""
    command = start("compare", *TWO, *SMALL, *SHORT)
    until = time.monotonic() + 300
    while not saved.exists():
        assert not command.has_ended(), command.wait()
        assert time.monotonic() < until
        time.sleep(0.01)
    return command


@pytest.mark.slow
def test_a_comparison_goes_on_after_interruption_and_death(tmp_path: Path) -> None:
    """Two models; Ctrl-C in the first run, `kill -9` in the second."""
    write_config(tmp_path, epochs=25)
    folder = Path("runs/compare/tiny")
    first, second = folder / "dreamprvr_seed0", folder / "ms_sl_seed0"
    command = start_until(first / "version_0" / "checkpoints" / "last.ckpt")
    os.kill(command.pid, signal.SIGINT)
    code, _, errors, _ = command.wait()
    lines = errors.splitlines()
    assert code == 130
    assert lines[-1] == "interrupted: give the same command again to go on"
    assert "Traceback" not in "".join(lines)
    assert not (first / "version_0" / "metrics.json").exists()

    command = start_until(second / "version_0" / "checkpoints" / "last.ckpt")
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    descriptor = open_lock(folder, ".lock")
    until = time.monotonic() + 60
    while not take(descriptor, exclusive=True):  # the run is ending, and holds the folder
        assert time.monotonic() < until
        time.sleep(0.1)
    os.close(descriptor)
    assert not (second / "version_0" / "metrics.json").exists()
    kept = (first / "version_0" / "metrics.json").stat().st_mtime_ns

    result = launch("compare", *TWO, *SMALL, *SHORT)
    assert result.code == 0, result
    assert "2 runs, 1 of them finished" in result.out
    assert (first / "version_0" / "metrics.json").stat().st_mtime_ns == kept
    table = pd.read_csv(folder / "comparison.csv").set_index("model")
    assert table["runs"].to_dict() == {"dreamprvr": 1, "ms_sl": 1}
    assert (table[["parameters", "step", "encode", "stored", "query"]] > 0).all(axis=None)
    assert table["SumR low"]["ms_sl"] <= table["SumR high"]["ms_sl"]
    for job in (first, second):
        assert [path.name for path in job.iterdir()] == ["version_0"]
        whole = ("--config", folder / f"{job.name.partition('_seed')[0]}.yaml")
        assert run("fit", *whole, "--trainer.default_root_dir", f"whole/{job.name}").code == 0
        paths = [at / "version_0/checkpoints/last.ckpt" for at in (job, Path("whole") / job.name)]
        assert differences(*paths) == []


def test_missing_data_ends_it_before_anything_else(tmp_path: Path) -> None:
    words = ("--config", write_config(tmp_path), "--data.root", "nowhere")
    line = refused("compare", "--models", "dreamprvr", "--seeds", "1", *words)
    assert line.startswith("tiny: missing captions: nowhere/tiny/TextData/tinytrain.caption.txt")
    assert not Path("runs").exists()
    (tmp_path / "data/tiny/TextData/tinytest.caption.txt").unlink()
    line = refused("compare", "--models", "dreamprvr", "--config", tmp_path / "tiny.yaml")
    assert "tinytest.caption.txt" in line
    assert not Path("runs").exists()
