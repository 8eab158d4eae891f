from pathlib import Path

import pandas as pd
import pytest
from shared import DATA, needs_data

from data_modules.readers.captions import (
    CAPTION_COLUMNS,
    find_captions,
    read_captions,
    split_caption_id,
    write_captions,
)
from dreamprvr.core.errors import UserError

ROWS = [
    ("v_1#enc#0", ("v_1",), "a man  with two spaces"),
    ("v_1#enc#1", ("v_1",), " leading and trailing "),
    ("v#2#x#3", ("v",), "naïve \u4e2d\u2028 not a line end\x85"),
    ("w#0", ("w",), ""),
]


def test_texts_are_kept_exactly(tmp_path: Path):
    path = tmp_path / "c.txt"
    path.write_bytes("".join(f"{q} {t}\n" for q, _, t in ROWS).encode())
    table = read_captions(path)
    assert list(table.columns) == CAPTION_COLUMNS
    assert list(table.itertuples(index=False, name=None)) == ROWS


def test_written_captions_are_read_back(tmp_path: Path):
    table = pd.DataFrame(ROWS, columns=CAPTION_COLUMNS)
    write_captions(tmp_path / "c.txt", table)
    pd.testing.assert_frame_equal(read_captions(tmp_path / "c.txt"), table)
    assert (tmp_path / "c.txt").read_bytes().endswith(b"w#0 \n")


@pytest.mark.parametrize(
    "content", ["a#0 x\r\nb#0 y\r\n", "\ufeffa#0 x\nb#0 y", "a#0 x\nb#0 y\n\n"]
)
def test_harmless_variants(tmp_path: Path, content: str):
    (tmp_path / "c.txt").write_bytes(content.encode())
    table = read_captions(tmp_path / "c.txt")
    assert list(table["query_id"]) == ["a#0", "b#0"]
    assert list(table["text"]) == ["x", "y"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a#0 x\nb#0\n", "line 2: no space .* 'b#0'"),
        (b"a#0 x\n\nb#0 y\n", "line 2: no space"),
        (b"a#0 x\nb0 y\n", "line 2: caption id 'b0'"),
        (b"#0 x\n", "line 1: caption id '#0'"),
        (b"a#0 x\nb#0 y\na#0 z\n", "line 3: caption id 'a#0' is already used in line 1"),
        (b"a#0 x\nb#0 \xe9\n", "line 2: not UTF-8"),
        (b"v#0 a man \0 opens\n", "line 1: a NUL character"),
        (b"my video#enc#0 a man\n", r"line 1: caption id 'my' is not .* in a \.jsonl or \.csv"),
        (b"v#1 x#enc#0 a man\n", "line 1: another caption id stands in 'x#enc#0 a man'"),
        (b"v#enc#0 a manv#enc#1 a dog\n", "line 1: another caption id stands in"),
        ("cafe\u0301#0 x\ncaf\u00e9#0 y".encode(), "line 2: .*already used in line 1"),
        (b"v#0" * 10**6, "no space between"),
        (b"a#0 x\n  b#0 y\n", "line 2: white space stands before the caption id in '  b#0 y'"),
        ("a#0 x\n\ufeffb#0 y".encode(), r"line 2: the invisible character U\+FEFF .*: take it out"),
        ("v#enc#0\u200b x".encode(), r"line 1: the invisible character U\+200B stands at an end"),
        (b"v#enc#-1 x\n", "line 1: caption id 'v#enc#-1' is not <video id>#enc#<number>"),
        (b"v#enc# x\n", "line 1: caption id 'v#enc#' is not"),
    ],
)
def test_defects_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "c.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"c\.txt.*{message}") as caught:
        read_captions(tmp_path / "c.txt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_missing_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"c\.txt is missing"):
        read_captions(tmp_path / "c.txt")
    with pytest.raises(UserError, match="is a folder"):
        read_captions(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a#0", "x\ny")], "line break"),
        ([("a #0", "x")], "is not <video id>"),
        ([("a", "x")], "is not <video id>"),
        ([("a\t#0", "x")], "is not <video id>"),
        ([("a#0\xa0b", "x")], "is not <video id>"),
        ([("a#enc#-1", "x")], "is not <video id>"),
        ([("a#0\u200b", "x")], "is not <video id>"),
        ([("a#0", "x\0")], "NUL character"),
        ([("a#0", "x"), ("a#0", "y")], "'a#0' comes twice"),
    ],
)
def test_captions_that_could_not_be_read_back_are_not_written(
    tmp_path: Path, rows: list, message: str
):
    with pytest.raises(UserError, match=message):
        write_captions(tmp_path / "c.txt", pd.DataFrame(rows, columns=["query_id", "text"]))
    assert not (tmp_path / "c.txt").exists()


@pytest.mark.parametrize(
    ("caption_id", "parts"),
    [
        ("clip#7#enc#0", ("clip#7", "#enc#", "0")),
        ("a#enc#1#enc#2", ("a#enc#1", "#enc#", "2")),
        ("100%#enc#0", ("100%", "#enc#", "0")),
        ("v#2#x#3", ("v", "#", "2#x#3")),
        ("v", None),
        ("v#enc#-1", None),
        ("v#enc#\u0661", None),
        ("#enc#0", None),
        ("#0", None),
    ],
)
def test_a_caption_belongs_to_the_id_before_its_last_enc(caption_id: str, parts: object):
    assert split_caption_id(caption_id) == parts


@pytest.mark.parametrize(
    ("content", "ids", "texts"),
    [
        # the line ends of old Macs, a tab or a no-break space after the id
        (b"v1#enc#0 a\rv1#enc#1 b\r", ["v1#enc#0", "v1#enc#1"], ["a", "b"]),
        (b"v1#enc#0\ta man  opens\n", ["v1#enc#0"], ["a man  opens"]),
        ("v1#enc#0\u00a0a man\n".encode(), ["v1#enc#0"], ["a man"]),
        ("v1#0\u00a0a man\n".encode(), ["v1#0"], ["a man"]),
        # a no-break space within an id is part of it
        ("v\u00a0w#7\u00a0x#enc#0 a man\n".encode(), ["v\u00a0w#7\u00a0x#enc#0"], ["a man"]),
        ("cafe\u0301#enc#0 e\u0301".encode(), ["caf\u00e9#enc#0"], ["e\u0301"]),
    ],
)
def test_ids_and_texts_of_lines(tmp_path: Path, content: bytes, ids: list, texts: list):
    (tmp_path / "c.txt").write_bytes(content)
    table = read_captions(tmp_path / "c.txt")
    assert table["query_id"].tolist() == ids
    assert table["text"].tolist() == texts


LINES = """\
{"caption_id": "my video#enc#0", "caption": "a man"}
{"video_id": "my video", "caption": " a dog ", "more": 1}
{"caption_id": "anything", "video_id": "cafe\\u0301", "caption": ""}
"""
TABLE = """\
caption_id,caption,video_id,more
my video#enc#0,a man,,
, a dog ,my video,1

anything,,caf\u00e9,
"""
SPACED = [
    ("my video#enc#0", ("my video",), "a man"),
    ("my video#enc#1", ("my video",), " a dog "),
    ("anything", ("caf\u00e9",), ""),
]


@pytest.mark.parametrize(("ending", "content"), [("jsonl", LINES), ("CSV", TABLE)])
def test_ids_with_spaces_come_in_other_forms(tmp_path: Path, ending: str, content: str):
    path = tmp_path / f"c.{ending}"
    path.write_text(content, encoding="utf-8")
    assert list(read_captions(path).itertuples(index=False, name=None)) == SPACED


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", '{"caption": "x"}', "line 1: expected caption and caption_id or video_id"),
        ("c.jsonl", '{"caption_id": "a#0"}', "line 1: expected caption and caption_id"),
        ("c.jsonl", '{"caption_id": 3, "caption": "x"}', "line 1: caption_id 3 is no string"),
        ("c.jsonl", '{"caption_id": "a", "caption": "x"}', "'a' is not .*give the video_id too"),
        (
            "c.jsonl",
            '{"video_id": "a", "caption": "x"}\n{"caption_id": "a#enc#0", "caption": "y"}',
            "line 2: caption id 'a#enc#0' is already used in line 1",
        ),
        ("c.csv", "caption_id,text\na#0,x", "line 1: expected the columns caption and"),
        ("c.csv", "caption\nx", "line 1: expected the columns caption and"),
        ("c.csv", "video_id,caption\n,x", "line 2: expected caption and caption_id or video_id"),
        ("c.csv", "video_id,caption\n", "holds no captions"),
    ],
)
def test_defects_of_the_other_forms(tmp_path: Path, name: str, content: str, message: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_captions(tmp_path / name)


def test_the_form_of_the_features_is_recognised(tmp_path: Path):
    path = tmp_path / "x.caption.txt"
    assert find_captions(path) == path
    (tmp_path / "x.caption.jsonl").touch()
    assert find_captions(path) == tmp_path / "x.caption.jsonl"
    path.touch()
    with pytest.raises(UserError, match=r"x\.caption\.txt, x\.caption\.jsonl: keep one"):
        find_captions(path)


@needs_data
def test_small_inputs_that_were_handled_wrongly():
    hard = DATA / "hard_inputs"
    old_mac = read_captions(hard / "captions_cr.txt")
    assert old_mac["text"].tolist() == ["a man opens a door", "a dog runs"]
    assert read_captions(hard / "captions_tab.txt")["text"][0] == "a man opens a door"
    hashes = read_captions(hard / "captions_hash.txt")
    assert [ids[0] for ids in hashes["video_ids"]] == [
        "clip", "clip", "clip#7", "clip#7", "100%", "a,b;c",
    ]  # fmt: skip
    for name, message in (("nul", "line 1: a NUL character"), ("space", "caption id 'my' is not")):
        with pytest.raises(UserError, match=message):
            read_captions(hard / f"captions_{name}.txt")
