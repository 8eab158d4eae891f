import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_modules.readers.features import JoinedFeatures, open_features
from data_modules.readers.npz import ArrayFolder, read_array, read_npz
from dreamprvr.core.errors import UserError

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("opened", "w")  # type: ignore[return-value]


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_file_for_each_id(tmp_path: Path) -> None:
    np.savez(tmp_path / "a b.npz", features=ROWS)
    np.savez_compressed(tmp_path / "v.1#enc#0.npz", features=ROWS[:1].astype(">f8"))
    np.save(tmp_path / "caf\u00e9.npy", np.asfortranarray(ROWS + 1))
    np.save(tmp_path / "vector.npy", ROWS[2].astype(np.float16))
    (tmp_path / "read me.txt").touch()
    (tmp_path / ".hidden.npz").touch()
    store = pickle.loads(pickle.dumps(open_features(tmp_path)))
    assert isinstance(store, ArrayFolder)
    assert (store.path, store.dim) == (tmp_path, 2)
    ids = store.keys()
    assert ids == ["a b", "caf\u00e9", "v.1#enc#0", "vector"]
    np.testing.assert_array_equal(store["a b"], ROWS)
    np.testing.assert_array_equal(store["cafe\u0301"], ROWS + 1)
    np.testing.assert_array_equal(store["v.1#0"], ROWS[:1])
    np.testing.assert_array_equal(store["vector"], ROWS[2:])
    assert {store[key].dtype for key in ids} == {np.dtype(np.float32)}
    assert store.rows("a b") == 3
    assert "../x" not in store
    with pytest.raises(UserError, match=r"has no features of '\.\./x'"):
        store["../x"]


def test_an_array_of_several(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", words=ROWS, pooled=ROWS[0])
    np.testing.assert_array_equal(open_features(tmp_path, "words")["v"], ROWS)
    with pytest.raises(UserError, match=r"v\.npz holds 2 arrays \(words, pooled\): name one"):
        open_features(tmp_path)
    with pytest.raises(UserError, match=r"v\.npz has no array 'x'; it has 2 arrays \(words, pool"):
        open_features(tmp_path, "x")


def test_folders_without_arrays_are_refused(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "No such file"), (tmp_path, "expected a file <id>")):
        with pytest.raises(UserError, match=message):
            ArrayFolder(path)
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "a.npz", ROWS)
    with pytest.raises(UserError, match=r"has 'a\.npy' and 'a\.npz': keep one"):
        ArrayFolder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.zeros(())), r"'v' has shape \(\), not \(rows, size\)"),
        (npy(np.zeros((3, 0))), r"'v' has shape \(3, 0\)"),
        (npy(np.arange(3)), r"v\.npy holds int64, not floating-point"),
        (npy(np.array([Bomb()], object)), r"v\.npy is damaged: copy or download"),
        (pickle.dumps(Bomb()), r"v\.npy is damaged"),
        (npy(ROWS)[:-1], r"v\.npy is damaged"),
        (npy(ROWS) + b"x", r"v\.npy is damaged"),
        (npy(ROWS).replace(b"(3, 2)", b"(9**9,)"), r"v\.npy is damaged"),
        (npy(ROWS).replace(b"(3, 2), }", b"(" + b"9" * 15 + b",), }"), r"v\.npy is damaged"),
        (b"", r"v\.npy is damaged"),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        ArrayFolder(tmp_path)
    assert len(str(refused.value).splitlines()) == 1
    assert not Path("opened").exists()


def test_archives_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.npz"
    np.savez(path, rows=ROWS)
    sound = path.read_bytes()
    place = sound.index(ROWS.tobytes())
    path.write_bytes(sound[:place] + b"\1" + sound[place + 1 :])  # another CRC-32
    for content in (path.read_bytes(), sound[:50], b"PK", pickle.dumps(Bomb())):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"v\.npz is damaged"):
            read_array(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # grows 1,000 times
        archive.writestr("rows.npy", npy(np.zeros((1000, 250), np.float32)))
    assert read_array(path).shape == (1000, 250)
    monkeypatch.setattr("data_modules.readers.npz.LARGEST", 100_000)
    with pytest.raises(UserError, match=r"v\.npz is damaged"):
        read_array(path)


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "secret.npy", ROWS)
    np.save(tmp_path / "folder" / "a.npy", ROWS)
    os.symlink(tmp_path / "secret.npy", tmp_path / "folder" / "b.npy")
    (tmp_path / "folder" / "c.npy").mkdir()
    store = ArrayFolder(tmp_path / "folder")
    for name, message in (("b", "is a link, which is not followed"), ("c", r"c\.npy cannot be re")):
        with pytest.raises(UserError, match=message):
            store[name]


def encoders(folder: Path) -> list[ArrayFolder]:
    for name, rows in {"slow": ROWS * 2, "clip": np.ones((4, 3), np.float32)}.items():
        (folder / name).mkdir()
        np.savez(folder / name / "v.npz", features=rows)
    np.savez(folder / "clip" / "only here.npz", features=np.ones((1, 3), np.float32))
    return [ArrayFolder(folder / name) for name in ("slow", "clip")]


def test_features_of_several_encoders_are_joined(tmp_path: Path) -> None:
    parts = encoders(tmp_path)
    store = pickle.loads(pickle.dumps(JoinedFeatures(parts)))
    assert (store.dim, store.keys(), store.path) == (5, ["v"], tmp_path)
    assert store.paths == [tmp_path / "slow", tmp_path / "clip"]
    # the last row of the longer one is left out
    np.testing.assert_array_equal(store["v"], np.hstack([ROWS * 2, np.ones((3, 3))]))
    assert "only here" not in store
    store.refuse_missing(["v"], "video")
    with pytest.raises(UserError, match=r"slow has no features of 1 video \(only here\)"):
        store.refuse_missing(["v", "only here"], "video")


def test_each_part_is_normalised_on_request(tmp_path: Path) -> None:
    parts = encoders(tmp_path)
    rows = JoinedFeatures(parts, normalise=True)["v"]
    np.testing.assert_allclose(np.linalg.norm(rows[:, :2], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(rows[:, 2:], 3**-0.5, rtol=1e-6)
    names = {JoinedFeatures(parts, flag).name for flag in (True, False)}
    assert len(names | {JoinedFeatures(parts[::-1]).name}) == 3


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    parts = encoders(tmp_path)
    np.savez(tmp_path / "clip" / "v.npz", features=np.ones((6, 3), np.float32))
    with pytest.raises(UserError, match=r"the encoders have 3, 6 rows of 'v': extract all with"):
        JoinedFeatures(parts)["v"]
    with pytest.raises(UserError, match="at least one part"):
        JoinedFeatures([])


def test_written_arrays_are_read_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", rows=np.ones((2, 3)), none=np.empty((0, 2)))
    found = read_npz(tmp_path / "a.npz", "make it again")
    assert {name: values.shape for name, values in found.items()} == {
        "rows": (2, 3), "none": (0, 2)
    }  # fmt: skip
    np.testing.assert_array_equal(found["rows"], np.ones((2, 3)))


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


def test_the_place_of_joined_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is relative where all parts are, for messages, and absolute otherwise."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        np.savez(tmp_path / "data" / name / "v.npz", ROWS)
    first, second = (open_features(Path("data") / name) for name in ("a", "b"))
    assert JoinedFeatures([first, second]).path == Path("data")
    absolute = open_features(tmp_path / "data" / "b")
    assert JoinedFeatures([first, absolute]).path == tmp_path / "data"
