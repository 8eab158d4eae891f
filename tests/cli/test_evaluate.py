import json
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from cli.outcomes import CONFIG, answers, best, tiny
from cli.running import refused, run

from dreamprvr.evaluation.metrics import COLUMNS
from dreamprvr.training.module import PRVRModule


def recorded(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "metrics.json").read_text())["results"])


def test_evaluation_prints_the_tables_and_records_both(trained: Path) -> None:
    """Validation does not replace the test, and testing again replaces its own entry."""
    checkpoint = ("--ckpt_path", best(trained))
    for verb, split in (("test", "test"), ("validate", "val"), ("test", "test")):
        result = run(verb, *CONFIG, *checkpoint)
        assert result.code == 0, result
        lines = result.out.strip().splitlines()
        row = next(line for line in lines if line.startswith(f"tiny {split} "))
        found = next(one for one in recorded(trained) if one["split"] == split)
        assert [float(v) for v in row.split()[2:]] == [round(found[c], 1) for c in COLUMNS]
        assert lines[lines.index(row) - 1].split() == list(COLUMNS)
    val, test = recorded(trained)
    assert (val["split"], test["split"]) == ("val", "test")
    assert [val[c] for c in COLUMNS] == [test[c] for c in COLUMNS]  # they are the same files
    assert sorted(path.name for path in (trained.parent).iterdir()) == ["version_0"]
    logged = pd.read_csv(trained / "metrics.csv")["val/SumR"].max()
    assert test["SumR"] == pytest.approx(logged, abs=1e-3)


@pytest.mark.parametrize("verb", ["test", "validate"])
def test_the_rank_of_each_query_is_written(trained: Path, verb: str) -> None:
    result = run(verb, *CONFIG, "--ckpt_path", best(trained), "--ranks", "new/ranks.csv")
    assert result.code == 0, result
    found = pd.read_csv("new/ranks.csv")
    queries = tiny().annotations("test").queries  # val has the same files
    scores, names, videos = answers(tiny(), PRVRModule.load_from_checkpoint(best(trained)).network)
    assert found["query_id"].tolist() == names
    assert found["video_id"].tolist() == queries["video_ids"].str[0].tolist()
    true = scores[range(len(names)), [videos.index(video) for video in found["video_id"]]]
    assert found["rank"].tolist() == (scores >= true[:, None]).sum(dim=1).tolist()
    (entry,) = recorded(trained)
    assert entry["R@1"] == pytest.approx(100 * (found["rank"] <= 1).mean())


def test_ranks_of_a_part_are_not_written(trained: Path) -> None:
    few = ("--trainer.limit_test_batches", "1", "--ranks", "ranks.csv")
    line = refused("test", *CONFIG, "--ckpt_path", best(trained), *few)
    assert line.startswith("--ranks ranks.csv: not written, since only 3 of 4 videos, ")
    assert not Path("ranks.csv").exists()


def test_an_entry_records_its_origin(trained: Path) -> None:
    assert run("test", *CONFIG, "--ckpt_path", best(trained), "--seed_everything", "5").code == 0
    (found,) = recorded(trained)
    saved = torch.load(best(trained), weights_only=True)
    assert (found["data"], found["features"], found["split"]) == ("tiny", "standard", "test")
    assert found["root"] == str(Path("data").absolute())
    assert found["checkpoint"] == "checkpoints/best.ckpt"
    assert (found["epoch"], found["step"]) == (saved["epoch"], saved["global_step"])
    assert (found["seed"], found["evaluation_seed"]) == (0, 5)
    assert (found["videos"], found["captions"]) == (4, len(tiny().annotations("test").queries))
    assert found["labels"] == tiny().annotations("test").labels()
    assert found["command"].startswith("lightning test --config tiny.yaml --ckpt_path ")


@pytest.mark.parametrize(
    ("option", "settings"),
    [
        ("model.network.clip_weight=0.01", {"network.clip_weight": 0.01}),
        ("training.gallery_dtype=float16", {"gallery_dtype": "float16"}),
        ("trainer.precision=bf16-mixed", {"precision": "bf16-mixed"}),
    ],
)
def test_other_settings_do_not_replace_the_result_of_the_checkpoints_own(
    trained: Path, option: str, settings: dict[str, Any]
) -> None:
    for more in ([], [f"--{option}"], [f"--{option}"]):
        assert run("test", *CONFIG, "--ckpt_path", best(trained), *more).code == 0
    assert [one["settings"] for one in recorded(trained)] == [None, settings]


def test_metrics_equal_a_direct_computation(trained: Path) -> None:
    assert run("test", *CONFIG, "--ckpt_path", best(trained)).code == 0
    (found,) = recorded(trained)
    scores, queries, videos = answers(
        tiny(), PRVRModule.load_from_checkpoint(best(trained)).network
    )
    truth = [videos.index(query.split("#")[0]) for query in queries]
    first = (scores.argmax(dim=1) == torch.tensor(truth)).float().mean() * 100
    assert found["R@1"] == pytest.approx(float(first), abs=1e-3)
    assert found["R@5"] == found["R@100"] == 100  # four videos
    assert found["SumR"] == pytest.approx(found["R@1"] + 300, abs=1e-3)


# A part of a split; the gallery has 2 batches, the captions 2 or more


@pytest.mark.parametrize(
    ("verb", "split", "option"),
    [
        ("test", "test", "limit_test_batches=1"),
        ("test", "test", "limit_test_batches=0.5"),
        ("test", "test", "fast_dev_run=true"),
        ("validate", "val", "limit_val_batches=1"),
        ("validate", "val", "fast_dev_run=1"),
        ("validate", "val", "overfit_batches=1"),
    ],
)
def test_a_part_is_marked_and_leaves_the_record(
    trained: Path, verb: str, split: str, option: str
) -> None:
    checkpoint = ("--ckpt_path", best(trained))
    assert run(verb, *CONFIG, *checkpoint).code == 0
    before = (trained / "metrics.json").read_text()
    found = run(verb, *CONFIG, *checkpoint, f"--trainer.{option}")
    assert found.code == 0, found
    assert f"tiny {split}, PARTIAL (3 of 4 videos, 4 of " in found.out
    assert "not recorded" in found.out
    assert (trained / "metrics.json").read_text() == before


@pytest.mark.parametrize("verb", ["test", "validate"])
def test_an_interrupted_evaluation_leaves_the_record(trained: Path, verb: str) -> None:
    handler = signal.getsignal(signal.SIGINT)
    Path("interrupt.yaml").write_text(
        "trainer: {callbacks: [{class_path: cli.running.InterruptEvaluation}]}\n"
    )
    found = run(verb, *CONFIG, "--config", "interrupt.yaml", "--ckpt_path", best(trained))
    signal.signal(signal.SIGINT, handler)
    assert found.code not in (0, 2), found
    assert "SumR" not in found.out
    assert not (trained / "metrics.json").exists()


def test_a_limit_that_cuts_nothing(trained: Path) -> None:
    limit = ("--trainer.limit_test_batches", "50")
    result = run("test", *CONFIG, "--ckpt_path", best(trained), *limit)
    assert "PARTIAL" not in result.out
    assert len(recorded(trained)) == 1


@pytest.mark.parametrize(("verb", "split"), [("test", "test"), ("validate", "val")])
def test_limits_that_leave_nothing(trained: Path, verb: str, split: str) -> None:
    option = f"trainer.limit_{split}_batches"
    arguments = (verb, *CONFIG, "--ckpt_path", best(trained), f"--{option}")
    assert refused(*arguments, "0") == f"{option} is 0: {verb} has nothing to do"
    assert refused(*arguments, "0.01").startswith("trainer: ")
    assert not (trained / "metrics.json").exists()


STOPPING = """\
trainer:
  callbacks:
    - class_path: lightning.pytorch.callbacks.EarlyStopping
      init_args: {monitor: val/SumR, mode: max, patience: 1}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {monitor: val/SumR, mode: max, filename: own}
"""


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("limit_val_batches=0", "nothing was validated (trainer.limit_val_batches is 0)"),
        ("limit_val_batches=1", "tiny val, epoch 2, PARTIAL (3 of 4 videos, 4 of "),
    ],
)
def test_a_training_chooses_nothing_by_a_part(trained: Path, limit: str, said: str) -> None:
    """Nor does it stop early: by a validation of a part the second epoch would be the last."""
    Path("stopping.yaml").write_text(STOPPING)
    config = (*CONFIG, "--config", "stopping.yaml")
    found = run("fit", *config, "--trainer.max_epochs", "3", f"--trainer.{limit}")
    assert found.code == 0, found
    assert said in found.out
    assert "no best checkpoint" in found.out
    folder = trained.parent / "version_1"
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["epoch"] == 2
    assert "val/SumR" not in pd.read_csv(folder / "metrics.csv")


def test_a_smoke_test_of_a_training(trained: Path) -> None:
    before = sorted(Path().rglob("*"))
    found = run("fit", *CONFIG, "--trainer.fast_dev_run", "1")
    assert found.code == 0, found
    assert "tiny val, epoch 0, PARTIAL (3 of 4 videos, 4 of " in found.out
    assert sorted(Path().rglob("*")) == before


def test_a_resumed_training_keeps_its_best_from_a_part(trained: Path) -> None:
    before = best(trained).read_bytes()
    last = trained / "checkpoints" / "last.ckpt"
    longer = ("--trainer.max_epochs", "3", "--trainer.limit_val_batches", "1")
    found = run("fit", *CONFIG, "--ckpt_path", last, *longer)
    assert found.code == 0, found
    assert best(trained).read_bytes() == before


def test_a_run_folder_that_cannot_be_written(trained: Path) -> None:
    (trained / ".lock").mkdir()  # read-only folders are none for root
    trained.chmod(0o500)
    try:
        found = run("test", *CONFIG, "--ckpt_path", best(trained))
    finally:
        trained.chmod(0o700)
    assert found.code == 0, found
    assert "tiny test " in found.out
    assert found.err.startswith("not recorded: ")
    assert len(found.err.splitlines()) == 1
    assert not (trained / "metrics.json").exists()
