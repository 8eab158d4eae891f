import ast
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bigfiles import write_big_file

from data_modules.readers.bigfile import FILES, BigFile, parse_video_frames
from dreamprvr.core.errors import UserError

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


def parsed(text: str) -> dict[str, list[str]]:
    entries = list(parse_video_frames(text))
    assert len(dict(entries)) == len(entries)
    return dict(entries)


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
        str({f"v{i}": [f"v{i}_{j}" for j in range(3000)] for i in range(20)}),
        str({f"v{i}": [f"v'{i}\\{j}" for j in range(1000)] for i in range(40)}),
        "{" + " " * 300_000 + "'a'" + " \n" * 1000 + ":[" + " " * 300_000 + "'b']}" + " " * 300_000,
    ],
)
def test_parser_agrees_with_literal_eval(text: str):
    assert parsed(text) == ast.literal_eval(text)


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
        parsed(text)


def test_parser_is_linear_on_malformed_text():
    text = "{'a': [" + "'b'  " * 200_000 + "]}"
    with pytest.raises(ValueError, match="in the entry at character 1"):
        parsed(text)


@pytest.mark.parametrize(
    "text",
    [
        "{'a': [" + "'abcdefgh', " * 100_000,  # unclosed
        "{'a': ['" + "b" * 1_200_000,
        "{'a': [" + "['abcdefgh'], " * 100_000 + "]}",
        "{" + "'a': [], " * 30_000,
    ],
)
def test_malformed_text_takes_little_memory(text: str):
    def read() -> int:
        tracemalloc.start()
        with pytest.raises(ValueError, match="not a Python dict literal"):
            for _ in parse_video_frames(text):
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert read() < 5 * 2**20  # beside the text


def numbers(**other: str) -> Callable[[Path], None]:
    """Rewrite feature.bin with the same numbers in another type."""

    def write(folder: Path) -> None:
        rows = np.fromfile(folder / "feature.bin", "<f4")
        if other.get("whole"):
            rows = np.round(rows * 100)
        data = rows.astype(other["dtype"]).tobytes()
        (folder / "feature.bin").write_bytes(data)
        shape = f"{len(data) // 4 // 64} 64"
        count = len(data) // 4 // 64
        (folder / "shape.txt").write_text(shape)
        (folder / "id.txt").write_text(" ".join(f"v_{i}" for i in range(count)))
        (folder / "video2frames.txt").write_text(str({"v": ["v_0"]}))

    return write


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (">f4", "big-endian float32"), ("<f8", "float64"), (">f8", "big-endian float64"),
        ("<f2", "float16"), (">f2", "big-endian float16"),
    ],
)  # fmt: skip
def test_numbers_of_another_type_are_refused(
    tmp_path: Path, dtype: str, name: str, coarse: bool, relu: bool
):
    rows = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    rows = np.maximum(rows, 0) if relu else rows
    rows = rows.astype(np.float16).astype(np.float32) if coarse else rows
    folder = write_big_file(tmp_path / "x", {"v": rows})
    BigFile(folder)
    numbers(dtype=dtype)(folder)
    with pytest.raises(UserError, match=r"feature\.bin holds (big-endian )?float\d") as caught:
        BigFile(folder)
    assert f"holds {name}, not little-endian float32" in str(caught.value)


def test_whole_numbers_are_refused(tmp_path: Path):
    rows = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    folder = write_big_file(tmp_path / "x", {"v": rows})
    numbers(dtype="<i4", whole="yes")(folder)
    with pytest.raises(UserError, match="holds int32, not little-endian float32"):
        BigFile(folder)
    (folder / "feature.bin").write_bytes((10 ** np.linspace(-37, 37, 200 * 64)).astype("<f4"))
    with pytest.raises(UserError, match="another type or byte order"):
        BigFile(folder)


@pytest.mark.parametrize("kind", ["i3d", "normalised", "softmax", "one hot", "nan", "zero", "clip"])
def test_features_of_all_kinds_pass(tmp_path: Path, kind: str):
    random = np.random.default_rng(0)
    rows = np.maximum(random.normal(size=(300, 64)), 0) ** 3
    if kind == "normalised":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if kind == "softmax":
        rows = np.exp(random.normal(size=(300, 64)) * 6)
        rows /= rows.sum(axis=1, keepdims=True)
    if kind == "one hot":
        rows = np.eye(64)[np.full(300, 5)]
    if kind == "nan":
        rows[:, 3] = np.nan
    if kind == "zero":
        rows *= 0
    if kind == "clip":
        rows = random.normal(size=(300, 64)).astype(np.float16)
    BigFile(write_big_file(tmp_path / "x", {"v": rows.astype(np.float32)}))


def test_the_size_names_another_type(folder: Path):
    data = np.fromfile(folder / "feature.bin", "<f4")
    (folder / "feature.bin").write_bytes(data.astype("<f8").tobytes())
    with pytest.raises(UserError, match="make 96: write its float64 numbers as float32"):
        BigFile(folder)
