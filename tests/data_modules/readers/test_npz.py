import pickle
from pathlib import Path

import numpy as np
import pytest

from data_modules.readers.npz import read_npz
from dreamprvr.core.errors import UserError


def test_what_was_written_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rows=np.ones((2, 3)), none=np.empty((0, 2)))
    found = read_npz(tmp_path / "a.npz", "make it again")
    assert {name: values.shape for name, values in found.items()} == {
        "rows": (2, 3), "none": (0, 2)
    }  # fmt: skip
    np.testing.assert_array_equal(found["rows"], np.ones((2, 3)))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("opened", "w")  # type: ignore[return-value]


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, rows=np.array([Bomb()], object))
    with pytest.raises(UserError, match=r"a\.npz is damaged: make it again"):
        read_npz(path, "make it again")
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"a\.npz is damaged: make it again"):
        read_npz(path, "make it again")
    assert not (tmp_path / "opened").exists()


def test_missing_and_odd_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(UserError, match="cannot be read: "):
            read_npz(path, "")
    np.savez_compressed(tmp_path / "a.npz", rows=np.zeros((1000, 1000)))
    with pytest.raises(UserError, match="is damaged: again"):
        read_npz(tmp_path / "a.npz", "again")
