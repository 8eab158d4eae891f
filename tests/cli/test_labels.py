"""--data.labels: several true videos a caption, in every verb that evaluates."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli.outcomes import CONFIG, answers, best, losses, read_lines, tiny
from cli.running import refused, run
from labels import slow_measures, write_labels

from dreamprvr.evaluation.metrics import COLUMNS, SEVERAL
from dreamprvr.training.module import PRVRModule

LABELS = ("--data.labels", "dense.jsonl")
ALL = (*COLUMNS, *SEVERAL)


@pytest.fixture
def true(trained: Path) -> dict[str, list[str]]:
    """The true videos of all captions but the first; `dense.jsonl` holds them."""
    return write_labels(Path("dense.jsonl"), tiny().annotations("test"), leave_out=1)


def recorded(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "metrics.json").read_text())["results"])


def expected(trained: Path, true: dict[str, list[str]]) -> dict[str, float]:
    network = PRVRModule.load_from_checkpoint(best(trained)).network
    scores, queries, videos = answers(tiny(), network)
    return slow_measures(scores.tolist(), queries, videos, true)


def test_both_results_are_kept_as_two_entries(trained: Path, true: dict[str, list[str]]) -> None:
    shared = ("test", *CONFIG, "--ckpt_path", best(trained))
    assert run(*shared).code == 0
    (official,) = recorded(trained)
    found = run(*shared, *LABELS)
    assert found.code == 0, found
    first, dense = recorded(trained)
    assert first == official
    values = expected(trained, true)
    assert {name: dense[name] for name in ALL} == pytest.approx(values, rel=1e-5)
    assert len({round(values[name], 3) for name in ALL}) > 4
    counts = [len(videos) for videos in true.values()]
    assert (official["labels_file"], official["true_videos"]) == (None, len(counts) + 1)
    assert dense["labels_file"] == str(Path("dense.jsonl").absolute())
    assert (dense["captions"], dense["true_videos"]) == (len(counts), sum(counts))
    assert not set(SEVERAL) & set(official)
    assert official["labels"].startswith("single-")
    assert dense["labels"].startswith("multi-")


def test_what_is_printed(trained: Path, true: dict[str, list[str]]) -> None:
    found = run("test", *CONFIG, "--ckpt_path", best(trained), *LABELS)
    mean = sum(map(len, true.values())) / len(true)
    lines = found.out.strip().splitlines()
    assert lines[0] == (
        f"labels of dense.jsonl: {len(true)} captions of tiny test, with {mean:.2f} true videos "
        "each (at most 3)"
    )
    header, row = next(pair for pair in pairwise(lines) if "SumR" in pair[0])
    assert header.split() == list(ALL)
    assert row.startswith("tiny test, labels dense.jsonl ")
    (entry,) = recorded(trained)
    assert [float(value) for value in row.split()[4:]] == [round(entry[c], 1) for c in ALL]
    assert "warning: labels of dense.jsonl: no row, so left out of the results: 1 capt" in found.err
    assert found.err.count("warning") == 1


def test_validate_is_by_the_labels_too(trained: Path, true: dict[str, list[str]]) -> None:
    assert run("validate", *CONFIG, "--ckpt_path", best(trained), *LABELS).code == 0
    (entry,) = recorded(trained)  # val holds the same captions as test
    assert {name: entry[name] for name in ALL} == pytest.approx(expected(trained, true), rel=1e-5)


def test_a_training_uses_labels_only_to_validate(trained: Path, true: dict[str, list[str]]) -> None:
    """Its losses are those without labels, to the last digit; its best epoch is by the labels.

    The file also has labels of the training captions, which name other videos.
    """
    write_labels(Path("train.jsonl"), tiny().annotations("train"))
    with Path("dense.jsonl").open("a") as file:
        file.write(Path("train.jsonl").read_text())
    found = run("fit", *CONFIG, *LABELS)
    assert found.code == 0, found
    assert "about captions that tiny val lacks, so not used: " in found.err
    again = trained.parent / "version_1"
    ours, theirs = losses(again), losses(trained)
    names = [name for name in theirs if not name.startswith("val/")]
    pd.testing.assert_frame_equal(ours[names], theirs[names], check_exact=True)
    assert {f"val/{name}" for name in ALL} <= set(ours)
    assert not {f"val/{name}" for name in SEVERAL} & set(theirs)
    assert ours["val/SumR"].max() != theirs["val/SumR"].max()
    row = next(line for line in found.out.splitlines() if line.startswith("tiny val, labels "))
    assert row.startswith("tiny val, labels dense.jsonl, epoch ")
    assert run("validate", *CONFIG, "--ckpt_path", best(again), *LABELS).code == 0
    (entry,) = recorded(again)
    assert entry["SumR"] == pytest.approx(ours["val/SumR"].max(), abs=1e-3)


@pytest.mark.slow
def test_a_resumed_training_keeps_its_labels(trained: Path, true: dict[str, list[str]]) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    longer = ("fit", *CONFIG, "--trainer.max_epochs", "3", "--ckpt_path")
    before = sorted(path.read_bytes() for path in trained.rglob("*") if path.is_file())
    found = run(*longer, last, *LABELS)
    assert found.code == 2, found
    assert found.err.splitlines()[-1].startswith(
        "error: the best epoch so far was chosen by other labels than those of data.labels: resume "
    )
    assert sorted(p.read_bytes() for p in trained.rglob("*") if p.is_file()) == before
    assert run("fit", *CONFIG, *LABELS).code == 0
    last = trained.parent / "version_1" / "checkpoints" / "last.ckpt"
    assert "chosen by other labels" in refused(*longer, last)
    assert run(*longer, last, *LABELS).code == 0


def test_predictions_say_which_videos_are_true(trained: Path, true: dict[str, list[str]]) -> None:
    more = ("--top_k", "2", "--output", "hits.jsonl")
    found = run("predict", *CONFIG, "--ckpt_path", best(trained), *LABELS, *more)
    assert found.code == 0, found
    assert found.out.startswith("labels of dense.jsonl: ")
    network = PRVRModule.load_from_checkpoint(best(trained)).network
    scores, queries, videos = answers(tiny(), network)
    lines = read_lines(Path("hits.jsonl"))
    assert [line["query_id"] for line in lines] == queries  # also the one without a row
    assert [lines[0][name] for name in ("video_ids", "rank", "ranks")] == [None] * 3
    assert not any("true" in hit for hit in lines[0]["hits"])
    for line, row in zip(lines[1:], scores[1:].tolist(), strict=True):
        order = sorted(range(len(videos)), key=lambda v, row=row: -row[v])
        ranks = {videos[v]: place for place, v in enumerate(order, 1)}
        assert set(line["video_ids"]) == set(true[line["query_id"]])
        assert line["video_ids"][0] == line["query_id"].split("#")[0]
        assert line["ranks"] == [ranks[video] for video in line["video_ids"]]
        assert line["rank"] == min(line["ranks"])
        assert [hit["true"] for hit in line["hits"]] == [
            hit["video_id"] in line["video_ids"] for hit in line["hits"]
        ]
    assert max(max(line["ranks"]) for line in lines[1:]) > 2  # beyond the hits
    assert len({len(line["ranks"]) for line in lines[1:]}) == 3


def test_a_part_is_marked(trained: Path, true: dict[str, list[str]]) -> None:
    limit = ("--trainer.limit_test_batches", "1")
    found = run("test", *CONFIG, "--ckpt_path", best(trained), *LABELS, *limit)
    assert found.code == 0, found
    part = f"tiny test, labels dense.jsonl, PARTIAL (3 of 4 videos, 3 of {len(true)} captions) "
    assert part in found.out  # the batch holds four captions, of which one has no row
    assert not (trained / "metrics.json").exists()


@pytest.mark.slow
def test_packed_features_give_the_same(trained: Path, true: dict[str, list[str]]) -> None:
    """The packed captions are those without labels: nothing is packed again."""
    shared = ("test", *CONFIG, "--ckpt_path", best(trained), "--data.packed", "float32")
    assert run(*shared).code == 0
    packed = sorted(path.name for path in Path("data/tiny/packed").iterdir())
    assert run(*shared, *LABELS).code == 0
    assert sorted(path.name for path in Path("data/tiny/packed").iterdir()) == packed
    dense = recorded(trained)[1]
    assert {name: dense[name] for name in ALL} == pytest.approx(expected(trained, true), rel=1e-5)


@pytest.mark.parametrize(
    ("verb", "content", "said"),
    [
        ("validate", None, "dense.jsonl is missing"),
        ("predict", "{}\n", "dense.jsonl, line 1: query_id is None, not the id of a caption"),
        (
            "test",
            '{"query_id": "x#0", "gt_video_ids": ["y"]}',
            "dense.jsonl: none of its 1 row (th",
        ),
        (
            "fit",
            '{"query_id": "x#0", "gt_video_ids": ["y"]}',
            "dense.jsonl: none of its 1 row (the",
        ),
    ],
)
def test_labels_that_cannot_be_used(
    trained: Path, verb: str, content: str | None, said: str
) -> None:
    if content is not None:
        Path("dense.jsonl").write_text(content)
    checkpoint = () if verb == "fit" else ("--ckpt_path", best(trained))
    assert refused(verb, *CONFIG, *checkpoint, *LABELS).startswith(said)
    assert [path.name for path in trained.parent.iterdir()] == ["version_0"]
    assert not (trained / "metrics.json").exists()


MONITOR = """\
trainer:
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {monitor: val/mAP, mode: max, filename: by-map}
"""


def test_a_measure_of_several_true_videos_can_be_monitored(
    trained: Path, true: dict[str, list[str]]
) -> None:
    Path("monitor.yaml").write_text(MONITOR)
    fit = ("fit", *CONFIG, "--config", "monitor.yaml")
    assert "ModelCheckpoint monitors val/mAP, which is not logged" in refused(*fit)
    assert run(*fit, *LABELS).code == 0
    names = [path.name for path in (trained.parent / "version_1" / "checkpoints").iterdir()]
    assert sorted(names) == ["best.ckpt", "by-map.ckpt", "last.ckpt"]


def test_data_check_compares_the_labels(trained: Path, true: dict[str, list[str]]) -> None:
    found = run("data", "check", *CONFIG, *LABELS)
    assert found.code == 0, found
    for split in ("val", "test"):
        assert f"- labels of dense.jsonl: {len(true)} captions of tiny {split}, with " in found.out
    assert found.out.count("no row, so left out of the results: 1 caption (val-0#enc#0)") == 2
    Path("dense.jsonl").write_text('{"query_id": "x#0", "gt_video_ids": ["y"]}\n')
    broken = run("data", "check", *CONFIG, *LABELS)
    assert broken.code == 1
    assert "gives a caption of tiny test a true video of that split" in broken.out
    Path("dense.jsonl").write_text("[]\n")
    assert (
        "dense.jsonl, line 1: expected a JSON object" in run("data", "check", *CONFIG, *LABELS).out
    )


def test_baselines_are_by_the_labels(trained: Path, true: dict[str, list[str]]) -> None:
    plain = run("data", "baselines", *CONFIG).out
    found = run("data", "baselines", *CONFIG, *LABELS)
    assert found.code == 0, found
    assert "tiny test, labels dense.jsonl " in found.out
    assert all(name in found.out for name in SEVERAL)
    assert not any(name in plain for name in SEVERAL)
    counts = [len(videos) for videos in true.values()]
    row = next(line for line in found.out.splitlines() if line.startswith("chance "))
    assert row.split()[1] == f"{100 * sum(counts) / len(counts) / 4:.1f}"
    assert row.split()[-3:] == ["-", "-", "-"]
