import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dreamprvr.core import text
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import (
    load_json,
    load_json_lines,
    message_line,
    normal_id,
    number,
    one_line,
    quote,
    read_bytes,
    read_csv,
    read_lines,
    read_text,
    shorten,
)


def refusal(read: Callable[[Path], object], path: Path) -> str:
    """The one line in which a file is refused."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_of_all_systems_and_a_byte_order_mark(tmp_path: Path, end: str, mark: str):
    path = tmp_path / "x"
    path.write_bytes(f"{mark}é a{end}{end}b\u2028c \x85{end}{end} {end}".encode())
    assert list(read_lines(path)) == [(1, "é a"), (2, ""), (3, "b\u2028c \x85")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is empty"),
        (b" \n\r\n", "x is empty"),
        (b"a\rb\r\nc\n\xff", "x, line 4: not UTF-8; convert the file to UTF-8"),
        (b"a\n\xed\xa0\xbd", "x, line 2: not UTF-8; convert the file to UTF-8"),
        (b"a\nb\0", "x, line 2: a NUL character: take it out"),
        ("a\n".encode("utf-16"), "x is UTF-16: convert the file to UTF-8"),
    ],
)
def test_text_that_is_not_utf8_is_refused(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "x").write_bytes(content)
    assert refusal(read_text, tmp_path / "x") == f"{tmp_path}/{message}"


def test_lists_of_file_names_may_hold_any_bytes(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"\xff.mp4\r\n")
    assert read_text(tmp_path / "x", errors="surrogateescape") == "\udcff.mp4\n"


def test_paths_that_are_no_file_are_told_apart(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")  # in the working directory; a whole path may be too long
        assert refusal(read_text, Path("socket")) == "socket is a socket: name a regular file"
    (tmp_path / "loop").symlink_to("loop")
    assert "pipe is a pipe: name" in refusal(read_text, tmp_path / "pipe")
    assert refusal(read_text, Path("/dev/zero")) == "/dev/zero is a device: name a regular file"
    assert "is a folder: name" in refusal(read_text, tmp_path)
    assert refusal(read_text, tmp_path / "none").endswith("none is missing")
    assert refusal(read_text, tmp_path / "pipe" / "x").endswith("x is missing")
    assert "loop cannot be read: " in refusal(read_text, tmp_path / "loop")
    assert "cannot be read: File name too long" in refusal(read_text, Path("x" * 5000))
    assert refusal(read_text, Path("a\0b")) == "a\\x00b cannot be the path of a file"
    assert refusal(read_text, Path("\ud83d")) == "\\ud83d cannot be the path of a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission(tmp_path: Path):
    (tmp_path / "x").write_text("a")
    (tmp_path / "x").chmod(0)
    assert "x may not be read: check its permissions" in refusal(read_text, tmp_path / "x")


def test_missing_permission_and_missing_files_have_different_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x").write_text("a")
    monkeypatch.setattr(text.os, "open", refuse)
    assert "x may not be read: check its permissions" in refusal(read_text, tmp_path / "x")


def test_no_more_is_read_than_the_limit(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bytes(tmp_path / "x", 5) == b"12345"
    message = refusal(lambda path: read_bytes(path, 4), tmp_path / "x")
    assert "x is too large: of such a file at most 4 bytes are read" in message
    # a sparse file of 1 TiB is refused by its size
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    assert "at most 268,435,456 bytes" in refusal(read_text, tmp_path / "huge")
    assert "at most 67,108,864 bytes" in refusal(load_json, tmp_path / "huge")


def test_a_file_that_hides_its_size_is_bounded_too():
    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc")
    message = refusal(lambda path: read_bytes(path, 10), Path("/proc/self/maps"))
    assert "at most 10 bytes" in message


def test_reads_json_and_json_lines(tmp_path: Path):
    path = tmp_path / "x"
    path.write_text('\ufeff{"a": [1, "é"]}\n{"b": "\u2028"}\n\n', encoding="utf-8")
    assert list(load_json_lines(path)) == [(1, {"a": [1, "é"]}), (2, {"b": "\u2028"})]
    path.write_text('{"a":\n 1, "b": "\\ud83d\\ude00 \\\\u0000"}')
    assert load_json(path) == {"a": 1, "b": "\U0001f600 \\u0000"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a"}', "line 2: not JSON .* at column 5"),
        (b'{"a": 1}\n[1]', "line 2: expected a JSON object"),
        (b'{"a": 1}\n\n{"a": 1}', "line 2: not JSON"),
        (b'{"a": {"b": 1, "b": 2}}', "line 1: key 'b' comes twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 1: a number has too many digits"),
        (b'{"a": [NaN]}', "line 1: NaN is no number in JSON"),
        (b'{"a": -Infinity}', "line 1: -Infinity is no number in JSON"),
        (rb'{"a": ["x\u0000"]}', r"line 1: a NUL character in 'x\\x00'"),
        (rb'{"a": {"\ud83d": 1}}', r"line 1: half of a surrogate pair in '\\ud83d'"),
        (b'{"' + b"k" * 10**6 + b'": 1, "' + b"k" * 10**6 + b'": 1}', "key 'kkk.*kkk' comes twice"),
    ],
)
def test_defects_of_json_end_in_one_line(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(load_json_lines(tmp_path / "x"))
    refusal(lambda path: list(load_json_lines(path)), tmp_path / "x")


def test_json_error_names_the_line(tmp_path: Path):
    (tmp_path / "x").write_text('{"a": 1,\n "b" 2}')
    assert "line 2, column 6" in refusal(load_json, tmp_path / "x")


def test_many_keys_are_checked_in_linear_time(tmp_path: Path):
    keys = [f'"{i}": 0' for i in range(200_000)]
    (tmp_path / "x").write_text("{" + ",".join(keys) + "}")
    (tmp_path / "y").write_text("{" + ",".join([*keys, '"199999": 1']) + "}")
    start = time.process_time()
    assert len(load_json(tmp_path / "x")) == 200_000
    assert "key '199999' comes twice" in refusal(load_json, tmp_path / "y")
    assert time.process_time() - start < 5  # the quadratic search took minutes


def test_csv_rows_come_with_their_line(tmp_path: Path):
    (tmp_path / "x").write_bytes(b'\xef\xbb\xbfa, b \r1,"x\r\ny"\r\r,\r3, 4\r')
    columns, rows = read_csv(tmp_path / "x")
    assert columns == ["a", "b"]
    assert list(rows) == [(3, {"a": "1", "b": "x\ny"}), (6, {"a": "3", "b": " 4"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,a\n1,2", "line 1: every column needs a name of its own"),
        ("a,\n1,2", "line 1: every column needs a name of its own"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells, but 2 columns"),
        ('a,b\n1,"2\n', r"line \d: not CSV \(unexpected end of data\)"),
        ("a,b\n1," + "x" * 200_000, r"line 2: not CSV \(field larger than field limit"),
    ],
)
def test_defects_of_csv_end_in_one_line(tmp_path: Path, content: str, message: str):
    (tmp_path / "x").write_text(content)
    with pytest.raises(UserError, match=message):
        list(read_csv(tmp_path / "x")[1])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (3, 3.0), ("2.5", 2.5), (" 1e3 ", 1000.0), (True, None), (None, None), ("x", None),
        (10**400, None), ("9" * 400, None), ("1e999", None), (float("nan"), None), ("1_0", None),
        ([1], None),
    ],
)  # fmt: skip
def test_numbers_are_finite(value: object, found: float | None):
    assert number(value) == found


def test_ids_are_compared_in_one_normal_form():
    assert normal_id("cafe\u0301") == normal_id("caf\u00e9") == "caf\u00e9"
    # white space, zero-width characters and compatibility forms are part of an id
    for name in (" a b ", "a\u00a0b", "a\u200db", "\ufb01", "A", "\udcff"):
        assert normal_id(name) == name


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\x1b[2J\nb\t", "a\\x1b[2J\\nb\\t"), ("a\u2028b\x85", "a\\u2028b\\x85"),
        ("a\udcff", "a\\udcff"), ("\u202egnp", "\\u202egnp"),
        # letters of all languages, wide spaces, and pictures joined by what does not print
        *[(text, text) for text in ("ä ☃ café\u00a0!", "三\u3000二", "\U0001f469\u200d\U0001f373")],
    ],
)  # fmt: skip
def test_only_characters_that_a_terminal_obeys_are_escaped(text: str, line: str) -> None:
    assert one_line(text) == line
    assert one_line(Path(text)) == line


def test_a_message_is_one_line() -> None:
    assert message_line(ValueError(" a \n\tb\x1b")) == "a b\\x1b"


def test_quoted_text_is_cut():
    assert shorten("a" * 100) == "a" * 100
    assert shorten("a" * 60 + "b" * 60) == "a" * 48 + "..." + "b" * 49
    assert quote("it's\n") == '"it\'s\\n"'
    assert quote(1.5) == "1.5"
    assert quote([1, "x"]) == "[1, 'x']"
    values = ("\x1b" * 10**6, ["x" * 1000] * 1000, 10**400, 10**5000, {"a": {"b": ["c"] * 99}})
    assert all(len(quote(value)) <= 100 for value in values)
