"""Files that name all true videos of each caption."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from shared import DATA, needs_data

from data_modules.readers.labels import Label, apply_labels, label_key, read_labels
from data_modules.readers.published import read_activitynet, read_charades_sta, read_tvr
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from dreamprvr.core.errors import UserError

CAPTIONS = ("a#enc#0", "a#enc#1", "b#enc#0", "caf\u00e9#0")
TABLE = Annotations(
    pd.DataFrame([(v, 1.0, "test", "") for v in ("a", "b", "caf\u00e9")], columns=VIDEO_COLUMNS),
    pd.DataFrame(
        [(name, (name.split("#")[0],), "text", (), "test") for name in CAPTIONS],
        columns=QUERY_COLUMNS,
    ),
)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(query: Any, *videos: Any) -> dict[str, Any]:
    return {"query_id": query, "caption": "not looked at", "gt_video_ids": list(videos)}


def applied(path: Path, *rows: Any) -> tuple[list[tuple[str, ...]], str, list[str]]:
    """True videos of the four captions, the summary, and the mismatches without the file's name."""
    found = apply_labels(TABLE, read_labels(write(path, *rows)), path, "kitchen test")
    assert found.table.videos is TABLE.videos
    rest = found.table.queries.drop(columns="video_ids")
    assert rest.equals(TABLE.queries.drop(columns="video_ids"))
    name = f"labels of {path}: "
    assert all(line.startswith(name) for line in (found.summary, *found.mismatches))
    lines = [line.removeprefix(name) for line in found.mismatches]
    return found.table.queries["video_ids"].tolist(), found.summary.removeprefix(name), lines


WHOLE = (row("a#enc#0", "b", "a"), row("a#enc#1", "a"), row("b#enc#0", "b"))


def test_every_true_video_is_taken(tmp_path: Path) -> None:
    """The caption's own video first, the others in the order of the table, each once."""
    fourth = row("cafe\u0301#enc#0", "b", "a", "b", "cafe\u0301")  # another spelling of its id
    true, summary, lines = applied(tmp_path / "l.jsonl", *WHOLE, fourth)
    assert true == [("a", "b"), ("a",), ("b",), ("caf\u00e9", "a", "b")]
    assert summary == "4 captions of kitchen test, with 1.75 true videos each (at most 3)"
    assert lines == []


def test_captions_without_a_row_have_no_true_video(tmp_path: Path) -> None:
    true, summary, lines = applied(tmp_path / "l.jsonl", *WHOLE[:2])
    assert true == [("a", "b"), ("a",), (), ()]
    assert summary == "2 captions of kitchen test, with 1.50 true videos each (at most 2)"
    assert lines == ["no row, so left out of the results: 2 captions (b#enc#0, caf\u00e9#0)"]


def test_what_does_not_match_is_named(tmp_path: Path) -> None:
    rows = (row("a#enc#0", "a", "x"), row("b#enc#0", "y"), row("a#enc#1", "b"), row("z#enc#0", "w"))
    true, _, lines = applied(tmp_path / "l.jsonl", *rows, row("caf\u00e9#0", "caf\u00e9"))
    assert true == [("a",), ("b",), (), ("caf\u00e9",)]
    assert lines == [
        "about captions that kitchen test lacks, so not used: 1 row (z#enc#0)",
        "not in kitchen test, so not counted: 2 videos (x, y)",
        "no true video left, so left out of the results: 1 caption (b#enc#0)",
        "own video not named, so counted as false: 1 caption (a#enc#1)",
    ]


def test_many_mismatches_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    more = [row(f"q{i}", "a") for i in range(2000)]
    _, _, lines = applied(tmp_path / "l.jsonl", *WHOLE, row("caf\u00e9#0", "caf\u00e9"), *more)
    assert lines == [
        "about captions that kitchen test lacks, so not used: 2,000 rows (q0, q1, q2, q3, q4, ...)"
    ]


@pytest.mark.parametrize("rows", [[row("other#0", "a")], [row("a#enc#0", "x")]])
def test_labels_of_another_data_set_are_refused(tmp_path: Path, rows: list[Any]) -> None:
    path = write(tmp_path / "l.jsonl", *rows)
    line = r"l\.jsonl: none of its 1 row \(.*#0'\) gives a caption of kitchen test a true video"
    with pytest.raises(UserError, match=line):
        apply_labels(TABLE, read_labels(path), path, "kitchen test")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"gt_video_ids": ["a"]}, "line 2: query_id is None, not the id of a caption"),
        (row(7, "a"), "line 2: query_id is 7, not the id of a caption"),
        (row("", "a"), "line 2: query_id is '', not the id of a caption"),
        ({"query_id": "b#0"}, "line 2: gt_video_ids is missing: give the list"),
        (row("b#0") | {"gt_video_ids": None}, "line 2: gt_video_ids is None, not a list of at"),
        ({"query_id": "b#0", "gt_video_ids": "a"}, "line 2: gt_video_ids is 'a', not a list"),
        (row("b#0"), r"line 2: gt_video_ids is \[\], not a list of at least one video id"),
        (row("b#0", "a", 3), "line 2: gt_video_ids holds 3, which is no video id"),
        (row("b#0", ""), "line 2: gt_video_ids holds '', which is no video id"),
        (row("a#0", "b"), "line 2: caption 'a#0' is already in line 1"),  # as a#enc#0
        (["a"], "line 2: expected a JSON object"),
    ],
)
def test_rows_of_another_form_are_refused(tmp_path: Path, second: Any, message: str) -> None:
    path = write(tmp_path / "l.jsonl", row("a#enc#0", "a"), second)
    with pytest.raises(UserError, match=message) as caught:
        read_labels(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl is missing"):
        read_labels(tmp_path / "none.jsonl")


def test_spellings_of_a_caption() -> None:
    assert label_key("v#enc#0") == label_key("v#0") != label_key("v#1")
    assert label_key("cafe\u0301#0") == label_key("caf\u00e9#enc#0")


def test_no_label_changes_the_table_that_it_is_given() -> None:
    before = TABLE.queries.copy()
    apply_labels(TABLE, {label_key("a#0"): Label("a#0", ("b",))}, "l", "kitchen test")
    assert TABLE.queries.equals(before)


def published(name: str) -> Annotations:
    if name == "activitynet":
        return read_activitynet(DATA / "activitynet" / "val_1.json", "val")[0]
    if name == "tvr":
        return read_tvr(DATA / "tvr" / "tvr_val_release.jsonl", "val")[0]
    folder = DATA / "charades"
    lengths = folder / "Charades_v1_test.csv"
    return read_charades_sta(folder / "charades_sta_test.txt", lengths, "val")[0]


@needs_data
@pytest.mark.parametrize(
    ("name", "captions", "true_videos", "unlabelled"),
    [
        # val_1 has 487 videos, with 1,752 captions, that the evaluation split lacks
        ("activitynet", 15_753, 31_677, 1_752),
        ("charades", 3_720, 8_957, 0),
        ("tvr", 8_097, 9_532, 2_798),  # those about what is seen alone
    ],
)
def test_the_published_labels(name: str, captions: int, true_videos: int, unlabelled: int) -> None:
    path, table = DATA / "dense_labels" / f"{name}.jsonl", published(name)
    found = apply_labels(table, read_labels(path), path, f"{name} val")
    counts = found.table.queries["video_ids"].map(len)
    assert (int((counts > 0).sum()), int(counts.sum())) == (captions, true_videos)
    assert f"{captions:,} captions of {name} val" in found.summary
    assert len(found.table.evaluated().queries) == captions
    assert len(found.table.queries) == captions + unlabelled
    assert len(found.mismatches) == bool(unlabelled)
    labelled = found.table.queries[counts > 0]
    own = table.queries.set_index("query_id")["video_ids"].str[0]
    assert (labelled["video_ids"].str[0].tolist()) == own[labelled["query_id"]].tolist()
    assert found.table.labels() != table.labels()
    assert found.table.labels().startswith("multi-")
