import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_modules.readers import hdf5_check
from data_modules.readers.hdf5 import Hdf5Features, open_hdf5
from data_modules.readers.hdf5_check import Fault, Walker, check, check_structure
from dreamprvr.core.errors import UserError


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files that the other process has to check."""
    asked: list[Path] = []
    walk = Walker.walk

    def noted(walker: Walker, path: Path) -> Fault | None:
        asked.append(path)
        return walk(walker, path)

    monkeypatch.setattr(Walker, "walk", noted)
    return asked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["v"] = np.ones((3, 2), np.float32)
    return tmp_path / "f.hdf5"


@pytest.fixture
def child(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the path of a program that replaces the one of the other process."""
    walker = Walker()
    with monkeypatch.context() as patch:
        patch.setattr(hdf5_check, "_walker", walker)
        patch.setattr(hdf5_check, "_CHILD", path.with_name("child.py"))
        yield path.with_name("child.py")
    walker.close()


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_check, "_sound", set())


def test_a_file_is_walked_once_by_all_processes(
    path: Path, walks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_structure(path) is None
    assert check_structure(path) is None
    forget(monkeypatch)  # as a new process
    assert check_structure(path) is None
    assert walks == [path]
    with h5py.File(path, "r+") as file:
        file["w"] = np.ones((3, 2), np.float32)
    assert check_structure(path) is None
    assert walks == [path, path]


def test_content_replaced_with_the_old_times_is_walked_again(path: Path, walks: list[Path]) -> None:
    check_structure(path)
    before = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    check_structure(path)
    assert walks == [path, path]


def test_without_a_place_to_remember_each_process_walks(
    path: Path, walks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))  # a file, so no folder can be made in it
    for _ in range(2):
        forget(monkeypatch)
        assert check_structure(path) is None
    assert walks == [path, path]


def test_the_list_of_sound_files_is_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hdf5_check, "MOST_REMEMBERED_BYTES", 40)
    for seconds in range(4):
        os.utime(path, (seconds, seconds))
        check_structure(path)
    assert len((tmp_path / "cache" / "dreamprvr" / "hdf5-checked").read_bytes()) == 2 * 33


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(99)", "does not end"),
        ("print(); print(); import time; time.sleep(99)", "does not end"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "does not end"),
        ("import os; os.abort()", "crashes HDF5"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashes HDF5"),
    ],
)
def test_a_hang_and_a_crash_hit_only_the_other_process(
    path: Path, child: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    child.write_text(f"import sys; sys.stdin.readline(); {code}")
    monkeypatch.setattr(hdf5_check, "SILENT_SECONDS", 1.0)
    with pytest.raises(UserError, match=rf"f\.hdf5 is damaged \(.*{said}\): copy or download"):
        open_hdf5(path)
    monkeypatch.setattr(hdf5_check, "SILENT_SECONDS", 99.0)
    child.write_text(Path(hdf5_check.__file__).read_text())
    assert Hdf5Features(path)["v"].shape == (3, 2)  # another process is started


def test_a_python_that_cannot_walk_is_no_damage(path: Path, child: Path) -> None:
    child.write_text("import nothing_of_this_name")
    with pytest.raises(RuntimeError, match="cannot run"):
        open_hdf5(path)


def test_a_long_walk_is_announced_once(
    path: Path, child: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child.write_text("import sys; sys.stdin.readline(); print('\\n' * 9, '{}', flush=True)")
    assert check_structure(path) is None
    assert capfd.readouterr().err == f"{path}: checking its structure, once\n"


def test_a_forked_process_has_a_walker_of_its_own() -> None:
    before = hdf5_check._walker
    reading, writing = os.pipe()
    if not (process := os.fork()):
        os.write(writing, b"own" if hdf5_check._walker is not before else b"old")
        os._exit(0)
    os.waitpid(process, 0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read() == b"own"


def test_ctrl_c_and_an_end_from_outside_are_no_damage(path: Path) -> None:
    assert Walker.walk(hdf5_check._walker, path) is None
    child = hdf5_check._walker._child
    assert child is not None
    assert os.getpgid(child.pid) != os.getpgid(0)
    child.terminate()
    child.wait()
    assert Walker.walk(hdf5_check._walker, path) is None


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_check, "resource", None)  # this process is not to be ended


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
    walk: Callable[..., Any] = hdf5_check.walk_dataset

    def noted(dataset: h5py.h5d.DatasetID, progress: hdf5_check.Progress) -> None:
        seen.append(dataset.shape)
        walk(dataset, progress)

    monkeypatch.setattr(hdf5_check, "walk_dataset", noted)
    assert check(str(path)) == {}
    assert seen == [(3, 2), (3, 2), (30, 2)]


def test_messages_of_hdf5_are_passed_on(tmp_path: Path) -> None:
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
    monkeypatch.setattr(hdf5_check, "LINK_BYTES", path.stat().st_size // 8)
    assert check(str(path)) == {"errno": None, "message": "its list of names has no end"}


def test_the_walk_reports_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.hdf5"
    with h5py.File(path, "w") as file:
        for number in range(9):
            file[f"v{number}"] = np.ones((1, 2))
    check(str(path))
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(hdf5_check, "BEAT_SECONDS", 0.0)
    check(str(path))
    assert len(capsys.readouterr().out) >= 18


ENDLESS = """
from data_modules.readers.hdf5_check import limit_time
limit_time(1)
while True:
    pass
"""


def test_computing_without_end_is_ended() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", ENDLESS], env=environment, check=False)
    assert done.returncode == -signal.SIGXCPU
