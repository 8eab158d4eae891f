from pathlib import Path

import pytest

from data_modules.jsonfiles import load_json, load_json_lines, read_text
from dreamprvr.errors import UserError


def test_reads_json_and_json_lines(tmp_path: Path):
    path = tmp_path / "x"
    path.write_text('\ufeff{"a": [1, "é"]}\n{"b": "\u2028"}\n\n', encoding="utf-8")
    assert list(load_json_lines(path)) == [(1, {"a": [1, "é"]}), (2, {"b": "\u2028"})]
    path.write_text('{"a":\n 1}')
    assert load_json(path) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is empty"),
        (b"\xff", "not UTF-8 text"),
        (b'{"a": 1}\n{"a"}', "line 2: not JSON .* at column 5"),
        (b'{"a": 1}\n[1]', "line 2: expected a JSON object"),
        (b'{"a": 1}\n\n{"a": 1}', "line 2: not JSON"),
        (b'{"a": {"b": 1, "b": 2}}', "line 1: key 'b' comes twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 1: Exceeds"),
    ],
)
def test_defects_are_said_in_one_line(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(load_json_lines(tmp_path / "x"))
    assert "\n" not in str(caught.value)


def test_json_error_names_the_line(tmp_path: Path):
    (tmp_path / "x").write_text('{"a": 1,\n "b" 2}')
    with pytest.raises(UserError, match="line 2, column 6"):
        load_json(tmp_path / "x")


def test_unreadable_files(tmp_path: Path):
    with pytest.raises(UserError, match="nothing is missing"):
        read_text(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
