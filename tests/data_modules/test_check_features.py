from pathlib import Path

import h5py
import numpy as np
import pytest

from data_modules.check_features import attempt, one_line, scan
from data_modules.features import Hdf5Features
from dreamprvr.core.errors import UserError

ROWS = np.ones((3, 2), np.float32)


def store(path: Path, **datasets: np.ndarray) -> Hdf5Features:
    with h5py.File(path, "w") as file:
        for name, rows in datasets.items():
            file[name] = rows
    return Hdf5Features(path)


def test_lengths_and_zero_rows(tmp_path: Path):
    gap = ROWS.copy()
    gap[[0, 2]] = 0
    features = store(tmp_path / "f", a=ROWS, b=gap, c=ROWS[0])
    found = scan(features, ["a", "b", "c"], "video")
    assert found.lengths == {"a": 3, "b": 3, "c": 1}
    assert found.problems == []
    assert found.remarks == [f"2 all-zero rows: 1 video (b) in {tmp_path / 'f'}"]


def test_equal_faults_are_one_line(tmp_path: Path):
    wrong = {f"w{i}": np.ones((i, 3)) for i in range(1, 8)}
    bad = {"n": ROWS * np.nan, "i": ROWS * np.inf, "e": ROWS[:0]}
    features = store(tmp_path / "f", a=ROWS, **wrong, **bad)
    found = scan(features, ["a", *wrong, *bad, "lost#0"], "caption")
    assert found.lengths == {"a": 3}
    where = f"in {tmp_path / 'f'}"
    assert found.problems == [
        f"has shape (1, 3), not (rows, 2): 7 captions (w1, w2, w3, w4, w5, ...) {where}",
        f"holds NaN or infinite values: 2 captions (n, i) {where}",
        f"has no rows: 1 caption (e) {where}",
        f"no features: 1 caption (lost#0) {where}",
    ]


def test_damaged_entries(tmp_path: Path):
    path = tmp_path / "f"
    with h5py.File(path, "w") as file:
        file["a"] = ROWS
        for name in "bc":
            file.create_dataset(name, data=np.ones((500, 2)), chunks=(500, 2), compression="gzip")
        offsets = [file[name].id.get_chunk_info(0).byte_offset for name in "bc"]
    broken = bytearray(path.read_bytes())
    for offset in offsets:
        broken[offset : offset + 20] = bytes(20)
    path.write_bytes(bytes(broken))
    found = scan(Hdf5Features(path), ["a", "b", "c"], "video")
    assert found.lengths == {"a": 3}
    assert len(found.problems) == 1
    assert "cannot read" in found.problems[0]
    assert ": 2 videos (b, c) in " in found.problems[0]


@pytest.mark.parametrize(("stored", "asked"), [("v#enc#0", "v#0"), ("v#0", "v#enc#0")])
def test_what_no_split_uses(tmp_path: Path, stored: str, asked: str):
    features = store(tmp_path / "f", **{stored: ROWS, "other": ROWS})
    found = scan(features, [asked], "caption")
    assert found.remarks == [
        f"features that no split checked uses: 1 caption (other) in {tmp_path / 'f'}"
    ]


def test_attempt():
    problems: list[str] = []
    assert attempt(lambda: 3, problems) == 3
    assert attempt(lambda: {}["x"], problems) is None
    assert problems == ["KeyError: 'x'"]


def test_one_line():
    assert one_line(UserError("a\n b")) == "a b"
    assert one_line(ValueError("a\nb")) == "ValueError: a b"
