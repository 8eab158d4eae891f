import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_modules.readers.tables import (
    QUERY_COLUMNS,
    VIDEO_COLUMNS,
    Annotations,
    read_tables,
    write_tables,
)
from dreamprvr.core.errors import UserError


def labelled(videos: list[str], captions: list[tuple[str, tuple[str, ...]]]) -> Annotations:
    return Annotations(
        pd.DataFrame([(v, 1.0, "test", "") for v in videos], columns=VIDEO_COLUMNS),
        pd.DataFrame(
            [(name, true, "text", (), "test") for name, true in captions], columns=QUERY_COLUMNS
        ),
    )


GALLERY, CAPTIONS = ["a", "b", "c"], [("a#enc#0", ("a",)), ("b#enc#0", ("b",))]
SAME = labelled(GALLERY, CAPTIONS).labels()


def test_equal_labels_have_one_name() -> None:
    assert labelled(GALLERY, CAPTIONS).labels() == SAME
    assert SAME.startswith("single-")
    other = labelled(GALLERY, CAPTIONS)
    other.queries["text"] = "another text"
    assert other.labels() == SAME


@pytest.mark.parametrize(
    ("videos", "captions", "kind"),
    [
        (GALLERY[:2], CAPTIONS, "single"),
        (GALLERY, CAPTIONS[:1], "single"),
        (GALLERY, [CAPTIONS[0], ("b#enc#0", ("c",))], "single"),
        (GALLERY, [CAPTIONS[0], ("b#enc#0", ("b", "c"))], "multi"),
    ],
)
def test_other_labels_have_another(videos: list[str], captions: Any, kind: str) -> None:
    found = labelled(videos, captions).labels()
    assert found != SAME
    assert found.startswith(f"{kind}-")


def test_other_columns_are_refused() -> None:
    with pytest.raises(UserError, match="annotation table has columns"):
        Annotations(pd.DataFrame({"video": []}), labelled(GALLERY, CAPTIONS).queries)


VIDEOS = [
    ("007", 0.1 + 0.2, "train", ""),
    ("NA", math.nan, "train", 'a, "b"/ü.mp4'),
    ("007", 5.0, "val", "two\nlines"),
]
QUERIES = [
    ("q1", ("007",), 'some "text", ü\u2028', ((0.0, 0.1), (0.2, 0.2)), "train"),
    ("q2", ("NA", "007"), "", (), "train"),
    ("q1", ("007",), "x", ((1.0, 5.0),), "val"),
]
GOOD = dict(zip(QUERY_COLUMNS, QUERIES[0], strict=True))


def tables(videos: list = VIDEOS, queries: list = QUERIES) -> Annotations:
    return Annotations(
        pd.DataFrame(videos, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    )


def test_round_trip(tmp_path: Path):
    write_tables(tmp_path / "new", "my-set", tables())
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "my-set_queries.jsonl",
        "my-set_videos.csv",
    ]
    read = read_tables(tmp_path / "new", "my-set")
    pd.testing.assert_frame_equal(read.videos, tables().videos)
    pd.testing.assert_frame_equal(read.queries, tables().queries)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_ids": ["008"]}, "query 'q9' names video '008', which split 'train'"),
        ({"video_ids": ["007"], "split": "test"}, "which split 'test'"),
        ({"video_ids": "007"}, "is no list of video ids"),
        ({"video_ids": []}, "is no list of video ids"),
        ({"video_ids": [["007"]]}, "names video"),
        ({"video_ids": ["007", "007"]}, "names a video twice"),
        ({"query_id": "q1"}, r"query 'q1' is already in split 'train' \(.*line 1\)"),
        ({"query_id": 3}, "query_id 3 is no string"),
        ({"query_id": ""}, "query id is empty"),
        ({"text": None}, "text None is no string"),
        ({"moments": [[3, 2]]}, r"moment \[3, 2\] of query 'q9' ends before it starts"),
        ({"moments": [[-1, 2]]}, "is not .start, end. in seconds"),
        ({"moments": [[0, math.nan]]}, "NaN is no number in JSON"),
        ({"moments": [[0, math.inf]]}, "Infinity is no number in JSON"),
        ({"moments": [[0, "1"]]}, "is not .start, end. in seconds"),
        ({"moments": [0, 1]}, "moment 0 of query 'q9' is not"),
        ({"moments": None}, "moments of query 'q9' are no list"),
        ({"extra": 1}, "has .*extra"),
    ],
)
def test_bad_query_line(tmp_path: Path, change: dict, message: str):
    write_tables(tmp_path, "x", tables(queries=QUERIES[:1]))
    with (tmp_path / "x_queries.jsonl").open("a") as file:
        file.write(json.dumps({**GOOD, "query_id": "q9", **change}))
    with pytest.raises(UserError, match=rf"x_queries\.jsonl, line 2.*{message}") as caught:
        read_tables(tmp_path, "x")
    assert "\n" not in str(caught.value)


def test_line_that_is_not_json(tmp_path: Path):
    write_tables(tmp_path, "x", tables(queries=QUERIES[:1]))
    with (tmp_path / "x_queries.jsonl").open("a") as file:
        file.write("{'query_id': 'q'}")
    with pytest.raises(UserError, match="line 2: not JSON"):
        read_tables(tmp_path, "x")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("007,3,train,", r"line 5: video '007' is already in split 'train' \(.*line 2\)"),
        ("v,-3,train,", "line 5: duration '-3' of video 'v'"),
        ("v,0,train,", "duration '0'"),
        ("v,inf,train,", "duration 'inf'"),
        ("v,long,train,", "duration 'long'"),
        (",3,train,", "the video id is empty"),
        ("v,3,train", "3 cells, but 4 columns"),
        ("v,3,train,,", "5 cells, but 4 columns"),
        ('v,3,train,"x', "line 5: not CSV .unexpected end"),
    ],
)
def test_bad_video_line(tmp_path: Path, line: str, message: str):
    write_tables(tmp_path, "x", tables([*VIDEOS[:2], ("w", 1.0, "train", "")], QUERIES[:1]))
    with (tmp_path / "x_videos.csv").open("a") as file:
        file.write(line)
    with pytest.raises(UserError, match=rf"x_videos\.csv, .*{message}"):
        read_tables(tmp_path, "x")


def test_wrong_header_and_missing_files(tmp_path: Path):
    with pytest.raises(UserError, match=r"x_videos\.csv is missing"):
        read_tables(tmp_path, "x")
    (tmp_path / "x_videos.csv").write_text("video_id,duration\nv,1\n")
    with pytest.raises(UserError, match="line 1: expected the columns video_id,duration,split"):
        read_tables(tmp_path, "x")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a\0", "a\\b"])
def test_collection_never_becomes_a_path(tmp_path: Path, name: str):
    with pytest.raises(UserError, match="no plain name"):
        read_tables(tmp_path, name)
    with pytest.raises(UserError, match="no plain name"):
        write_tables(tmp_path, name, tables())


def test_bad_tables_are_not_written(tmp_path: Path):
    bad = [*QUERIES[:1], ("q3", ("007",), "x", ((2.0, 1.0),), "train")]
    with pytest.raises(UserError, match=r"row 1: moment .* ends before it starts"):
        write_tables(tmp_path / "new", "x", tables(queries=bad))
    assert not (tmp_path / "new").exists()
