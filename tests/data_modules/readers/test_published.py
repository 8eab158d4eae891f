import json
import math
from pathlib import Path

import pytest
from shared import DATA, needs_data

from data_modules.readers.published import (
    fit,
    read_activitynet,
    read_charades_sta,
    read_duration,
    read_json_lines,
    read_moment,
    read_qvhighlights,
    read_tvr,
    remarks,
    without_breaks,
)
from data_modules.readers.tables import Annotations
from dreamprvr.core.errors import UserError


def check_fit(annotations: Annotations) -> None:
    durations = dict(
        zip(annotations.videos["video_id"], annotations.videos["duration"], strict=True)
    )
    queries = annotations.queries
    assert queries["query_id"].is_unique
    for (video,), moments, text in zip(
        queries["video_ids"], queries["moments"], queries["text"], strict=True
    ):
        ((start, end),) = moments
        assert 0 <= start <= end <= durations[video]
        assert text == text.strip()
        assert "\n" not in text


@needs_data
@pytest.mark.parametrize(
    ("name", "videos", "captions", "remarks"),
    [
        (
            "train",
            10_009,
            37_421,
            [
                "2 moments with swapped ends: the end came before the start",
                "261 moments cut at the end of the video, 0 by more than 0.5 s",
                "2 moments of length 0: kept",
                "5 sentences with a line break, made a space",
            ],
        ),
        (
            "val_1",
            4_917,
            17_505,
            [
                "134 moments cut at the end of the video, 0 by more than 0.5 s",
                "2 sentences with a line break, made a space",
            ],
        ),
    ],
)
def test_real_activitynet(name: str, videos: int, captions: int, remarks: list[str]):
    path = DATA / "activitynet" / f"{name}.json"
    annotations, said = read_activitynet(path, name)
    assert (len(annotations.videos), len(annotations.queries), said) == (videos, captions, remarks)
    check_fit(annotations)
    raw = json.loads(path.read_text())
    assert list(annotations.videos["video_id"]) == list(raw)
    ids = [f"{video}#enc#{i}" for video in raw for i in range(len(raw[video]["sentences"]))]
    assert list(annotations.queries["query_id"]) == ids


@needs_data
@pytest.mark.parametrize(
    ("name", "videos", "captions", "remarks"),
    [
        (
            "train",
            5_338,
            12_408,
            [
                "4 moments with swapped ends: the end came before the start",
                "1,805 moments cut at the end of the video, 1,619 by more than 0.5 s",
                "3 moments outside the video: kept with length 0 at its nearest end",
            ],
        ),
        (
            "test",
            1_334,
            3_720,
            ["562 moments cut at the end of the video, 514 by more than 0.5 s"],
        ),
    ],
)
def test_real_charades(name: str, videos: int, captions: int, remarks: list[str]):
    folder = DATA / "charades"
    annotations, said = read_charades_sta(
        folder / f"charades_sta_{name}.txt", folder / f"Charades_v1_{name}.csv", name
    )
    assert (len(annotations.videos), len(annotations.queries), said) == (videos, captions, remarks)
    check_fit(annotations)


@needs_data
def test_real_tvr():
    annotations, said = read_tvr(DATA / "tvr" / "tvr_val_release.jsonl", "val")
    assert (len(annotations.videos), len(annotations.queries), said) == (2_179, 10_895, [])
    check_fit(annotations)
    assert annotations.queries["query_id"].str.endswith("#enc#4").sum() == 2_179
    published = json.loads((DATA / "tvr" / "tvr_video2dur_idx.json").read_text())
    durations = {video: entry[0] for split in published.values() for video, entry in split.items()}
    for video, duration in zip(
        annotations.videos["video_id"], annotations.videos["duration"], strict=True
    ):
        assert durations[video] == duration


def test_activitynet_repairs(tmp_path: Path):
    entry = {
        "duration": 10,
        "timestamps": [[8, 12], [3, 1], [0, 1]],
        "sentences": [" A.", "B \nb.", "C"],
    }
    (tmp_path / "a.json").write_text(json.dumps({"v": entry}))
    annotations, _ = read_activitynet(tmp_path / "a.json", "train")
    assert list(annotations.videos.itertuples(index=False, name=None)) == [("v", 10, "train", "")]
    assert list(annotations.queries.itertuples(index=False, name=None)) == [
        ("v#enc#0", ("v",), "A.", ((8, 10),), "train"),
        ("v#enc#1", ("v",), "B b.", ((1, 3),), "train"),
        ("v#enc#2", ("v",), "C", ((0, 1),), "train"),
    ]


def test_charades_numbers_captions_in_file_order(tmp_path: Path):
    (tmp_path / "c.txt").write_text("A 0.0 6.9##x.\nB 1 2##y ## z.\nA 2 3##w.\nC 5 99##v\n")
    (tmp_path / "c.csv").write_text('id,script,length\nA,"two\nlines",5.5\nB,x,30\nD,x,1\n')
    annotations, said = read_charades_sta(tmp_path / "c.txt", tmp_path / "c.csv", "test")
    queries = annotations.queries
    assert list(queries["query_id"]) == ["A#enc#0", "B#enc#0", "A#enc#1", "C#enc#0"]
    assert list(queries["text"]) == ["x.", "y ## z.", "w.", "v"]
    assert list(queries["moments"]) == [((0, 5.5),), ((1, 2),), ((2, 3),), ((5, 99),)]
    assert list(annotations.videos["video_id"]) == ["A", "B", "C"]
    assert math.isnan(annotations.videos["duration"][2])
    assert said[-1] == "1 video without a known duration: moments are not cut there"


def test_tvr_without_moments(tmp_path: Path):
    (tmp_path / "t.jsonl").write_text('{"vid_name": "v", "desc": "x", "duration": 3}\n')
    annotations, _ = read_tvr(tmp_path / "t.jsonl", "test")
    assert annotations.queries["moments"][0] == ()


GOOD = {"duration": 1, "timestamps": [[0, 1]], "sentences": ["a"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds no captions"),
        ("{}", "holds no captions"),
        ('{"v"', "not JSON"),
        ('{"v": 3}', "video 'v': expected a duration"),
        (json.dumps({"v": {**GOOD, "sentences": []}}), "as many timestamps as sentences"),
        (json.dumps({"v": {**GOOD, "sentences": [3]}}), "video 'v': sentence 3 is no string"),
        (json.dumps({"v": {**GOOD, "duration": 0}}), "video 'v': duration 0"),
        (json.dumps({"v": {**GOOD, "timestamps": [[1]]}}), r"video 'v': moment \[1\]"),
        (json.dumps({"v": {**GOOD, "timestamps": [[0, math.nan]]}}), "NaN is no number"),
        (f'{{"v": {json.dumps(GOOD)}, "v": {json.dumps(GOOD)}}}', "key 'v' comes twice"),
    ],
)
def test_malformed_activitynet(tmp_path: Path, content: str, message: str):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=rf"a\.json.*{message}"):
        read_activitynet(tmp_path / "a.json", "train")


@pytest.mark.parametrize(
    ("lines", "table", "message"),
    [
        ("A 0 1##x\nA 0##y", "id,length\nA,3", r"c\.txt, line 2: expected `VIDEO start end"),
        ("A 0 1 x", "id,length\nA,3", r"c\.txt, line 1: expected"),
        ("A 0 x##y", "id,length\nA,3", r"c\.txt, line 1: moment"),
        ("A 0 1##y", "id,size\nA,3", r"c\.csv: expected .* columns id and length"),
        ("A 0 1##y", "id,length\nB,3\nA,", r"c\.csv, line 3: duration ''"),
        ("A 0 1##y", "id,length\nA", r"c\.csv, line 2: 1 cells, but 2 columns"),
        ("", "id,length\nA,3", r"c\.txt is empty"),
    ],
)
def test_malformed_charades(tmp_path: Path, lines: str, table: str, message: str):
    (tmp_path / "c.txt").write_text(lines)
    (tmp_path / "c.csv").write_text(table)
    with pytest.raises(UserError, match=message):
        read_charades_sta(tmp_path / "c.txt", tmp_path / "c.csv", "train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"vid_name": "w", "desc": 3}', "line 2: expected an object with vid_name"),
        ('{"desc": "x"}', "line 2: expected an object"),
        ('{"vid_name": "w", "desc": "x", "ts": [1]}', "line 2: moment"),
        ('{"vid_name": "v", "desc": "x", "duration": 4}', "'v' lasts 4.0 s in another line"),
    ],
)
def test_malformed_tvr(tmp_path: Path, line: str, message: str):
    first = '{"vid_name": "v", "desc": "x", "duration": 3, "ts": [0, 1]}'
    (tmp_path / "t.jsonl").write_text(f"{first}\n{line}\n")
    with pytest.raises(UserError, match=message):
        read_tvr(tmp_path / "t.jsonl", "val")


def test_qvhighlights(tmp_path: Path):
    """Every window is a moment, cut at the end of the video; the test release has none."""
    rows = [
        {"qid": 12, "query": "A dog\nruns.", "duration": 20, "vid": "-a_60.0_210.0"},
        {"qid": 7, "query": "B", "duration": 20, "vid": "-a_60.0_210.0"},
        {"qid": 9, "query": "C", "duration": 12.5, "vid": "_b_0.0_150.0", "other": 3},
    ]
    rows[0]["relevant_windows"] = [[2, 4], [10, 22], [8, 6]]
    rows[1]["relevant_windows"] = []
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, said = read_qvhighlights(tmp_path / "q.jsonl", "val")
    assert list(found.videos.itertuples(index=False, name=None)) == [
        ("-a_60.0_210.0", 20, "val", ""), ("_b_0.0_150.0", 12.5, "val", ""),
    ]  # fmt: skip
    assert list(found.queries.itertuples(index=False, name=None)) == [
        ("qid12", ("-a_60.0_210.0",), "A dog runs.", ((2, 4), (10, 20), (6, 8)), "val"),
        ("qid7", ("-a_60.0_210.0",), "B", (), "val"),
        ("qid9", ("_b_0.0_150.0",), "C", (), "val"),
    ]
    assert said == [
        "1 moment with swapped ends: the end came before the start",
        "1 moment cut at the end of the video, 1 by more than 0.5 s",
        "1 sentence with a line break, made a space",
    ]


def test_tvr_and_qvhighlights_are_told_apart(tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"vid_name": "v", "desc": "x", "duration": 3}\n')
    assert read_json_lines(path, "val")[0].queries["query_id"][0] == "v#enc#0"
    path.write_text('{"vid": "v", "query": "x", "duration": 3, "qid": 1}\n')
    assert read_json_lines(path, "val")[0].queries["query_id"][0] == "qid1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"vid": "w", "query": "x"}', "line 2: expected an object with qid"),
        ('{"qid": true, "vid": "w", "query": "x"}', "line 2: expected an object"),
        ('{"qid": -1, "vid": "w", "query": "x"}', "line 2: expected an object"),
        ('{"qid": 2, "vid": "", "query": "x"}', "line 2: expected an object"),
        ('{"qid": 2, "vid": "w", "query": 3}', "line 2: expected an object"),
        ('{"qid": 2, "vid": "w", "query": "x", "duration": 0}', "line 2: duration 0"),
        ('{"qid": 2, "vid": "w", "query": "x", "relevant_windows": [[1]]}', "line 2: moment"),
        ('{"qid": 2, "vid": "w", "query": "x", "relevant_windows": 3}', "line 2: relevant_windows"),
        ('{"qid": 2, "vid": "v", "query": "x", "duration": 4}', "'v' lasts 4.0 s in another line"),
        ('{"qid": 1, "vid": "w", "query": "x"}', "line 2: 'qid1' stands in another line too"),
    ],
)
def test_malformed_qvhighlights(tmp_path: Path, line: str, message: str):
    first = '{"qid": 1, "vid": "v", "query": "x", "duration": 3, "relevant_windows": [[0, 1]]}'
    (tmp_path / "q.jsonl").write_text(f"{first}\n{line}\n")
    with pytest.raises(UserError, match=message):
        read_qvhighlights(tmp_path / "q.jsonl", "val")


@needs_data
def test_half_of_a_surrogate_pair_is_refused():
    with pytest.raises(UserError, match=r"half of a surrogate pair in 'A man \\ud83d'"):
        read_activitynet(DATA / "hard_inputs" / "activitynet_half_emoji.json", "train")


def test_ids_are_brought_to_one_normal_form(tmp_path: Path):
    entry = '{"duration": 5, "timestamps": [[0, 1]], "sentences": ["x"]}'
    (tmp_path / "a.json").write_text(f'{{"cafe\u0301": {entry}}}')
    found, _ = read_activitynet(tmp_path / "a.json", "train")
    assert found.queries["query_id"].tolist() == ["caf\u00e9#enc#0"]
    (tmp_path / "a.json").write_text(f'{{"cafe\u0301": {entry}, "caf\u00e9": {entry}}}')
    with pytest.raises(UserError, match="comes twice, in two normal forms"):
        read_activitynet(tmp_path / "a.json", "train")


@pytest.mark.parametrize(
    ("moment", "duration", "fitted", "done"),
    [
        ((1, 2), 10, (1, 2), set()),
        ((1, 10.5), 10, (1, 10), {"past"}),
        ((1, 10.6), 10, (1, 10), {"past", "far"}),
        ((3, 1), 10, (1, 3), {"swapped"}),
        ((38, 13), 12.17, (12.17, 12.17), {"swapped", "past", "far", "outside"}),
        ((-1, 2), 10, (0, 2), {"negative"}),
        ((-2, -1), 10, (0, 0), {"negative", "outside"}),
        ((4, 4), 10, (4, 4), {"empty"}),
        ((4, 400), math.nan, (4, 400), set()),
    ],
)
def test_fit(moment: tuple, duration: float, fitted: tuple, done: set[str]):
    assert fit(moment, duration) == (fitted, done)


@pytest.mark.parametrize(
    ("text", "line", "had_break"),
    [
        (" A man  runs. ", "A man  runs.", False),
        ("\nA man.", "A man.", True),
        ("while people \napplaud.", "while people applaud.", True),
        ("a\r\n\n b", "a b", True),
    ],
)
def test_line_breaks_become_spaces(text: str, line: str, had_break: bool):
    assert without_breaks(text) == (line, had_break)


def test_remarks_name_only_what_happened():
    assert remarks([set(), set()], 0) == []
    assert remarks([{"past", "far"}] * 1619 + [{"past"}], 2) == [
        "1,620 moments cut at the end of the video, 1,619 by more than 0.5 s",
        "2 videos without a known duration: moments are not cut there",
    ]


@pytest.mark.parametrize(
    "value", [0, -1, "x", None, True, math.nan, "inf", [1], 10**400, 10**9, "1_0"]
)
def test_bad_durations(value: object):
    with pytest.raises(UserError, match=r"here: duration .* not a positive number"):
        read_duration("here", value)
    with pytest.raises(UserError, match=r"here: moment .* not"):
        read_moment("here", [0, value] if value not in (0, -1, 10**9) else [value])


def test_numbers_may_be_text():
    assert read_duration("here", "30.5") == 30.5
    assert read_moment("here", ["0.0", 7]) == (0, 7)
