import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_modules import hdf5_child
from data_modules.hdf5_child import check


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_child, "resource", None)  # this process is not to be ended


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_all_that_is_read_later_is_walked(
    tmp_path: Path, libver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["encoder"] = "clip"
        file["flat"] = np.ones((3, 2))
        file["flat"].attrs["text"] = "a man"
        file["group/inner"] = np.ones((3, 2))
        file["group/deep/deeper"] = np.ones((3, 2))
        file.create_dataset("packed", data=np.ones((30, 2)), chunks=(7, 2), compression="gzip")
        file["soft"] = h5py.SoftLink("/flat")
    seen: list[tuple[int, ...]] = []
    walk: Callable[..., Any] = hdf5_child.walk_dataset

    def noted(dataset: h5py.h5d.DatasetID, progress: hdf5_child.Progress) -> None:
        seen.append(dataset.shape)
        walk(dataset, progress)

    monkeypatch.setattr(hdf5_child, "walk_dataset", noted)
    assert check(str(path)) == {}
    assert seen == [(3, 2), (3, 2), (30, 2)]


def test_what_hdf5_says_of_a_file_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        file["v"] = np.ones((300, 2))
    path.write_bytes(path.read_bytes()[:3000])
    found = check(str(path))
    assert found["errno"] is None
    assert "truncated file: eof = 3000" in str(found["message"])


def test_more_names_than_a_file_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(9):
            file[f"v{number}"] = np.ones((1, 2))
    monkeypatch.setattr(hdf5_child, "LINK_BYTES", path.stat().st_size // 8)
    assert check(str(path)) == {"errno": None, "message": "its list of names has no end"}


def test_the_walk_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(9):
            file[f"v{number}"] = np.ones((1, 2))
    check(str(path))
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(hdf5_child, "BEAT_SECONDS", 0.0)
    check(str(path))
    assert len(capsys.readouterr().out) >= 18


ENDLESS = """
from data_modules.hdf5_child import limit_time
limit_time(1)
while True:
    pass
"""


def test_computing_without_end_is_ended() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", ENDLESS], env=environment, check=False)
    assert done.returncode == -signal.SIGXCPU
