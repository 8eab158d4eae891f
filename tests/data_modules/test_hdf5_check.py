import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_modules import hdf5_check, hdf5_child
from data_modules.hdf5 import Hdf5Features, open_hdf5
from data_modules.hdf5_check import Fault, Walker, check_structure
from dreamprvr.core.errors import UserError


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that the other process is asked about."""
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
    """Where to write the other process's program instead of ours."""
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


def test_what_is_remembered_does_not_grow_without_bound(
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
    child.write_text(Path(hdf5_child.__file__).read_text())
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
