import ast
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bigfiles import write_big_file

from data_modules.bigfile import FILES, BigFile, parse_video_frames
from dreamprvr.errors import UserError

VIDEOS = {
    "v_a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "v_é": np.full((1, 4), -1.5, np.float32),
    "v'q": np.full((2, 4), 7, np.float32),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_big_file(tmp_path / "i3d", VIDEOS)


def test_reads_what_was_written(folder: Path):
    big = BigFile(folder)
    assert big.shape == (6, 4)
    assert list(big.videos) == list(VIDEOS)
    for video, rows in VIDEOS.items():
        read = big.read(video)
        np.testing.assert_array_equal(read, rows)
        assert read.dtype == np.float32
        assert type(read) is np.ndarray
    np.testing.assert_array_equal(big.read("v_a", 1, 2), VIDEOS["v_a"][1:2])


def test_id_file_may_be_utf8_too(folder: Path):
    ids = folder / "id.txt"
    ids.write_bytes(ids.read_bytes().decode("iso-8859-1").encode("utf-8"))
    np.testing.assert_array_equal(BigFile(folder).read("v_é"), VIDEOS["v_é"])


def test_no_break_space_does_not_split_a_name(tmp_path: Path):
    videos = {"v\xa0w": np.ones((2, 3), np.float32), "v\x85": np.zeros((1, 3), np.float32)}
    big = BigFile(write_big_file(tmp_path / "x", videos))
    assert {video: len(rows) for video, rows in big.videos.items()} == {"v\xa0w": 2, "v\x85": 1}


def test_pickling_leaves_the_matrix_behind(tmp_path: Path):
    folder = write_big_file(tmp_path / "x", {"v": np.ones((1000, 64), np.float32)})
    big = BigFile(folder)
    big.read("v")
    data = pickle.dumps(big)
    assert len(data) < 50_000
    np.testing.assert_array_equal(pickle.loads(data).read("v"), big.read("v"))


def damage_bin(folder: Path) -> None:
    binary = folder / "feature.bin"
    binary.write_bytes(binary.read_bytes()[:-3])


def replace(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


IDS = "v_a_0 v_a_1 v_a_2 b c"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_bin, r"feature\.bin has 93 bytes, but .* 6 x 4 float32 make 96"),
        (replace("shape.txt", "6"), r"shape\.txt must hold two positive numbers"),
        (replace("shape.txt", "0 4"), r"shape\.txt must hold two positive numbers"),
        (replace("shape.txt", "-6 4"), r"shape\.txt must hold two positive numbers"),
        (replace("shape.txt", "9" * 5000 + " 4"), r"shape\.txt must hold two positive numbers"),
        (replace("id.txt", IDS), r"id\.txt names 5 rows, but shape\.txt says 6"),
        (replace("id.txt", IDS + " c"), r"id\.txt names row 'c' twice"),
        (replace("video2frames.txt", "{'v': ['v_9']}"), r"video 'v' a row 'v_9' that id\.txt"),
        (replace("video2frames.txt", "{}"), "lists no videos"),
        (replace("video2frames.txt", "{'v': [], 'v': []}"), "lists video 'v' twice"),
        (replace("video2frames.txt", "{'v': [1]}"), "not a Python dict literal .* character 1"),
        (lambda f: (f / "video2frames.txt").write_bytes(b"{'\xff': []}"), "not UTF-8"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder: Path, damage: Callable, message: str):
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        BigFile(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}"):
        BigFile(folder)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        " { } \n",
        "{'a': []}",
        "{'a': ['b', 'c',], 'd': ['e'],}",
        "{\n 'a' :\t[ 'b'\n,\"c\" ] , \"it's\": ['x]', '}', ': [']\n}\n",
        r"{'a\\': ['\'', 'q\"', '\x41\u00e9\t'], 'é': ['à la']}",
        r"""{u'a': [u'b', 'menu'], 'u': ["u'"]}""",
        str({f"v'\"{i}\\": [f"r{j} \n" for j in range(i)] for i in range(30)}),
    ],
)
def test_parser_agrees_with_literal_eval(text: str):
    assert dict(parse_video_frames(text)) == ast.literal_eval(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{'a'}",
        "{'a': 'b'}",
        "{'a': ['b' 'c']}",
        "{'a': ['b']} 'c': []}",
        "{'a': ['b'] 'c': ['d']}",
        "{'a': ['b\nc']}",
        "{'a': ['b]}",
        "{'a': [,]}",
        "{'a': [__import__('os')]}",
        r"{'a\x4': []}",
        r"{'a': ['\ud800']}",
        "{'a': [b'c']}",
        "{'a': ['b'}",
        "{'a': []}}",
        "dict(a=[])",
    ],
)
def test_parser_refuses_everything_else(text: str):
    with pytest.raises(ValueError, match=r"is not a Python dict|broken string"):
        list(parse_video_frames(text))


def test_parser_is_linear_on_malformed_text():
    text = "{'a': [" + "'b'  " * 200_000 + "]}"
    with pytest.raises(ValueError, match="character 1"):
        list(parse_video_frames(text))
