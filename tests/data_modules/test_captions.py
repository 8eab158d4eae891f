from pathlib import Path

import pandas as pd
import pytest

from data_modules.captions import CAPTION_COLUMNS, read_captions, write_captions
from dreamprvr.errors import UserError

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
        (b"", "holds no captions"),
        (b"\n \n", "holds no captions"),
        (b"a#0 x\nb#0\n", "line 2: no space .* 'b#0'"),
        (b"a#0 x\n\nb#0 y\n", "line 2: no space"),
        (b"a#0 x\nb0 y\n", "line 2: caption id 'b0'"),
        (b"#0 x\n", "line 1: caption id '#0'"),
        (b"a#0 x\nb#0 y\na#0 z\n", "line 3: caption id 'a#0' is already used in line 1"),
        (b"a#0 x\nb#0 \xe9\n", "line 2: not UTF-8"),
    ],
)
def test_defects_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "c.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"c\.txt.*{message}") as caught:
        read_captions(tmp_path / "c.txt")
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"c\.txt is missing"):
        read_captions(tmp_path / "c.txt")
    with pytest.raises(UserError, match="cannot be read"):
        read_captions(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a#0", "x\ny")], "line break"),
        ([("a #0", "x")], "is not <video id>"),
        ([("a", "x")], "is not <video id>"),
        ([("a#0", "x"), ("a#0", "y")], "'a#0' comes twice"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, rows: list, message: str):
    with pytest.raises(UserError, match=message):
        write_captions(tmp_path / "c.txt", pd.DataFrame(rows, columns=["query_id", "text"]))
    assert not (tmp_path / "c.txt").exists()
