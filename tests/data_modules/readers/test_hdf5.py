import errno
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from shared import DATA, needs_data

from data_modules.readers.features import open_features
from data_modules.readers.hdf5 import (
    GroupedHdf5Features,
    Hdf5Features,
    UnavailableError,
    link_name,
    open_hdf5,
)
from data_modules.readers.hdf5_check import Fault
from dreamprvr.core.errors import UserError

ODD = ["v é", "-a_b.c", "v..x", "..v", "v'#enc#0", "\u4e2d", "a\\b", " ", "%2F"]


def write(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, rows in datasets.items():
            file[name] = rows
    return path


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8"])
def test_reads_any_float_type(tmp_path: Path, dtype: str):
    rows = np.arange(6).reshape(3, 2).astype(dtype)
    store = Hdf5Features(write(tmp_path / "f.hdf5", v=rows, w=rows[0]))
    assert (store.dim, store.keys(), store.rows("v"), store.rows("w")) == (2, ["v", "w"], 3, 1)
    assert store["v"].dtype == np.float32
    np.testing.assert_array_equal(store["v"], rows)
    np.testing.assert_array_equal(store["w"], rows[:1])


@needs_data
def test_real_features_come_back_identical(tmp_path: Path):
    rows = np.load(DATA / "videos" / "women_long_jump_rgb.npy")
    store = Hdf5Features(write(tmp_path / "f.hdf5", women_long_jump=rows))
    assert store["women_long_jump"].tobytes() == rows.astype(np.float32).tobytes()
    clip = np.load(DATA / "videos" / "univtg_vid.npz")["features"]
    text = np.load(DATA / "videos" / "univtg_txt.npz")["features"]
    videos = Hdf5Features(write(tmp_path / "v.hdf5", vid=clip))
    captions = Hdf5Features(
        write(tmp_path / "t.hdf5", **{f"vid#{i}": t for i, t in enumerate(text)})
    )
    assert (videos.rows("vid"), videos.dim) == clip.shape
    for i, vector in enumerate(text):
        np.testing.assert_array_equal(captions[f"vid#enc#{i}"], vector[None].astype(np.float32))


def test_odd_names_work_flat_and_grouped(tmp_path: Path):
    with h5py.File(tmp_path / "f.hdf5", "w") as flat, h5py.File(tmp_path / "g.hdf5", "w") as group:
        for i, name in enumerate(ODD):
            flat[name] = np.full((1, 2), i, "f4")
            group.create_group(name)["i3d feat"] = np.full((2, 3), -i, "f4")
    store, grouped = Hdf5Features("f.hdf5"), GroupedHdf5Features("g.hdf5", "i3d feat")
    assert sorted(store.keys()) == sorted(ODD) == sorted(grouped.keys())
    for i, name in enumerate(ODD):
        assert store[name][0, 0] == i
        assert grouped[name][1, 2] == -i


def test_name_that_is_not_utf8_round_trips(tmp_path: Path):
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file[b"v\xe9"] = np.ones((1, 2))
    store = Hdf5Features(tmp_path / "f.hdf5")
    assert store[store.keys()[0]].shape == (1, 2)


@pytest.mark.parametrize("key", ["g/v", "/v", "./v", "g/../v", "..", ".", "", "/", "v\0", "\ud800"])
def test_paths_are_not_names(tmp_path: Path, key: str):
    path = write(
        tmp_path / "f.hdf5", **{"a": np.ones((1, 2)), "g/v": np.ones((1, 2)), "v": np.ones(2)}
    )
    assert link_name(key) is None
    for store in (Hdf5Features(path), GroupedHdf5Features(path, "v")):
        assert key not in store
        with pytest.raises(UserError, match="has no features of"):
            store[key]


def test_links_and_storage_outside_the_file_are_refused(tmp_path: Path):
    write(tmp_path / "secret.hdf5", s=np.ones((1, 2)))
    (tmp_path / "raw").write_bytes(bytes(8))
    layout = h5py.VirtualLayout((1, 2), "f4")
    layout[0] = h5py.VirtualSource(tmp_path / "secret.hdf5", "s", (1, 2))[0]
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        file["a"] = np.ones((1, 2))
        file["link"] = h5py.ExternalLink("secret.hdf5", "/s")
        file["soft"] = h5py.SoftLink("/a")
        file.create_dataset("raw", (1, 2), "f4", external=[(str(tmp_path / "raw"), 0, 8)])
        file.create_virtual_dataset("virtual", layout)
    store = Hdf5Features(tmp_path / "f.hdf5")
    for name, message in {
        "link": "link to somewhere else",
        "soft": "link to somewhere else",
        "raw": "in another file",
        "virtual": "in another file",
    }.items():
        with pytest.raises(UserError, match=f"'{name}' .*{message}"):
            store[name]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((2, 3), int), "holds int64, not floating-point"),
        (np.array([[b"x"]]), "not floating-point"),
        (np.ones((2, 3)), r"shape \(2, 3\), not \(rows, 2\)"),
        (np.array([[1e300, 0.0]]), "NaN or infinite"),  # too large for float32
    ],
)
def test_bad_dataset_is_named(tmp_path: Path, rows: np.ndarray, message: str):
    store = Hdf5Features(write(tmp_path / "f.hdf5", a=np.ones((1, 2)), bad=rows))
    with pytest.raises(UserError, match=rf"f\.hdf5: 'bad' .*{message}"):
        store["bad"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is an empty file, .*; copy or download it again"),
        (b"not hdf5", "is a text file, not an HDF5 file of features"),
        (b"\x89HDF\r\n\x1a\n", "is damaged .*: copy or download it again"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not .*; the download needs a login"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "pointer of Git LFS.*git lfs pull"),
        (b"\x1f\x8b\x08\0", "is an archive, not .*; unpack it first"),
        (b"PK\x03\x04", "is a zip archive, not .*; unpack it first"),
        (b"x" * 257 + b"ustar", "is an archive"),
        (b"\0\0\0\x20ftypisom", "is a video, not .*: lightning extract"),
        (bytes(5000), "is damaged .*: copy or download it again"),
        (bytes(range(1, 200)), "is damaged .*: copy or download it again"),
    ],
)
def test_files_that_are_not_hdf5_are_named_by_their_kind(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "f.hdf5"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"f\.hdf5 {said}|f\.hdf5 is .*{said}"):
        Hdf5Features(path)
    assert path.read_bytes() == content


def test_folders_pipes_and_forbidden_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    os.mkfifo(tmp_path / "pipe")
    for name, said in {"": "is a folder", "no": "is missing", "pipe": "is no regular file"}.items():
        with pytest.raises(UserError, match=said):
            open_hdf5(tmp_path / name)
    path = write(tmp_path / "f.hdf5", v=np.ones((1, 2)))

    fault = Fault(errno.EACCES, "x")  # root may read everything
    monkeypatch.setattr("data_modules.readers.hdf5.check_structure", lambda path: fault)
    with pytest.raises(UnavailableError, match=r"may not be opened .*: check its permissions"):
        open_hdf5(path)


def test_a_user_block_before_the_signature(tmp_path: Path):
    with h5py.File(tmp_path / "f.mat", "w", userblock_size=2048) as file:
        file["v"] = np.ones((3, 2))
    assert Hdf5Features(tmp_path / "f.mat")["v"].shape == (3, 2)


WRITER = """
import sys, h5py
file = h5py.File(sys.argv[1], "w", libver="latest")
file["v"] = [[1.0, 2.0]]
file.flush()
if sys.argv[2] == "swmr":
    file.swmr_mode = True
print("ready", flush=True)
sys.stdin.read()
"""


def test_files_that_another_process_writes_or_left_open(tmp_path: Path):
    for mode, said in {
        "locked": "is being written by another program: wait for it",
        "swmr": r"was not closed by its writer: .*`h5clear -s \S+/swmr\.h5`",
    }.items():
        path = tmp_path / f"{mode}.h5"
        command = [sys.executable, "-c", WRITER, str(path), mode]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"ready\n"  # type: ignore[union-attr]
            with pytest.raises(UserError, match=said):
                Hdf5Features(path)
            writer.kill()
    with pytest.raises(UserError, match=said):
        Hdf5Features(path)
    with pytest.raises(UserError, match=r"was not closed by its writer: .*`h5clear -s \S+`"):
        Hdf5Features(tmp_path / "locked.h5")


NO_LOCKS = """
#include <errno.h>
int flock(int file, int operation) { errno = %d; return -1; }
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOLCK, r"cannot be locked \(No locks available\).*HDF5_USE_FILE_LOCKING=FALSE"),
        (errno.EACCES, r"cannot be locked \(Permission denied\).*HDF5_USE_FILE_LOCKING=FALSE"),
        (errno.EAGAIN, "is being written by another program: wait for it"),
    ],
)
def test_a_disk_without_locks(tmp_path: Path, number: int, said: str):
    path = write(tmp_path / "f.hdf5", v=np.ones((3, 2)))
    (tmp_path / "flock.c").write_text(NO_LOCKS % number)
    shim = tmp_path / "flock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, "flock.c"], check=True)
    code = (
        "import sys; from data_modules.readers.hdf5 import Hdf5Features as H; H(sys.argv[1])['v']"
    )
    command = [sys.executable, "-c", code, str(path)]
    environment = {**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("HDF5_USE_FILE_LOCKING", None)
    refused = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert re.search(said, refused.stderr.splitlines()[-1])
    environment["HDF5_USE_FILE_LOCKING"] = "FALSE"
    subprocess.run(command, env=environment, check=True)


def test_truncated_and_damaged_files(tmp_path: Path):
    path = write(tmp_path / "f.hdf5", a=np.ones((4, 2)), b=np.ones((500, 2)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="truncated"):
        Hdf5Features(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.ones((4, 2)))
        file.create_dataset("b", data=np.ones((500, 2)), chunks=(500, 2), compression="gzip")
        offset = file["b"].id.get_chunk_info(0).byte_offset
    broken = bytearray(path.read_bytes())
    broken[offset : offset + 20] = bytes(20)
    path.write_bytes(bytes(broken))
    store = Hdf5Features(path)
    assert store["a"].shape == (4, 2)
    with pytest.raises(UserError, match=r"f\.hdf5: cannot read 'b' \(.*\): copy or") as caught:
        store["b"]
    assert "\n" not in str(caught.value)


def test_missing_empty_and_wrongly_shaped_files(tmp_path: Path):
    with pytest.raises(UserError, match=r"f\.hdf5 is missing"):
        Hdf5Features(tmp_path / "f.hdf5")
    with pytest.raises(UserError, match="holds no features"):
        Hdf5Features(write(tmp_path / "f.hdf5"))
    with pytest.raises(UserError, match=r"'a' has shape \(1, 2, 3\)"):
        Hdf5Features(write(tmp_path / "f.hdf5", a=np.ones((1, 2, 3))))
    with pytest.raises(UserError, match="'g' is no dataset: expected a dataset per id"):
        Hdf5Features(write(tmp_path / "f.hdf5", **{"g/x": np.ones((1, 2))}))
    with pytest.raises(UserError, match="no features: expected a group per id that holds 'y'"):
        GroupedHdf5Features(tmp_path / "f.hdf5", "y")


def test_grouped_skips_videos_without_the_dataset(tmp_path: Path):
    rows = np.ones((3, 2))
    path = write(tmp_path / "f.hdf5", **{"v/i3d": rows, "v/clip": rows[:, :1], "w/clip": rows})
    store = GroupedHdf5Features(path, "i3d")
    assert store.keys() == ["v"]
    assert "w" not in store
    assert store.rows("v") == 3
    assert GroupedHdf5Features(path, "clip").dim == 1


def _read(store: Hdf5Features) -> float:
    return float(store["v"].sum()) + (store._handle is not None and store._handle[0] == os.getpid())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # what this test is about
def test_workers_open_the_file_themselves(tmp_path: Path, method: str):
    store = Hdf5Features(write(tmp_path / "f.hdf5", v=np.ones((3, 2))))
    assert _read(store) == 7
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(_read, [store] * 3) == [7, 7, 7]
    assert _read(store) == 7


def test_handle_of_another_process_is_not_used(tmp_path: Path):
    store = Hdf5Features(write(tmp_path / "f.hdf5", v=np.ones((3, 2))))
    inherited = store._file()
    store._handle = (os.getpid() + 1, inherited)
    assert store["v"].shape == (3, 2)
    assert store._handle[0] == os.getpid()
    assert store._file() is not inherited


def test_pickle_leaves_the_handle_behind(tmp_path: Path):
    store = Hdf5Features(write(tmp_path / "f.hdf5", v=np.ones((3, 2))))
    copy = pickle.loads(pickle.dumps(store))
    assert copy._handle is None
    assert copy["v"].shape == (3, 2)


@pytest.mark.parametrize(
    ("attribute", "said"), [("abc", "abc"), (np.bytes_("abc"), "abc"), (None, ""), (3, "")]
)
def test_the_fingerprint_of_the_encoder(tmp_path: Path, attribute: object, said: str):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["v"] = np.ones((2, 3), np.float32)
        if attribute is not None:
            file.attrs["fingerprint"] = attribute
    assert Hdf5Features(tmp_path / "a.hdf5").fingerprint == said


@pytest.mark.parametrize("form", ["flat", "grouped"])
@pytest.mark.parametrize("chunks", [None, (4, 2)])
def test_rows_that_were_never_written_are_no_zeros(
    tmp_path: Path, form: str, chunks: tuple[int, int] | None
) -> None:
    name = "v/i3d" if form == "grouped" else "v"
    with h5py.File(tmp_path / "f.hdf5", "w") as file:
        data = file.create_dataset(name, (8, 2), "f4", chunks=chunks)
        if chunks:
            data[:4] = np.ones((4, 2))
    with pytest.raises(UserError, match=r"cannot read 'v' \(rows that were never written\)"):
        open_features(tmp_path / "f.hdf5")["v"]
