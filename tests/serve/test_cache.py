import os
import threading
from pathlib import Path

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.serve.cache import CacheFolder


def write(size: int):
    return lambda partial: partial.write_bytes(b"x" * size)


def test_a_file_is_made_once(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path / "cache", 1000)
    path = cache.path(("a", 1), "jpg")
    assert cache.find(path) is None
    made: list[Path] = []

    def slowly(partial: Path) -> None:
        made.append(partial)
        assert partial.parent == cache.folder
        partial.write_bytes(b"picture")

    threads = [threading.Thread(target=cache.make, args=(path, slowly)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert path.read_bytes() == b"picture"
    assert [entry.name for entry in cache.folder.iterdir()] == [path.name]


def test_names_are_digests_in_the_folder(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path, 1000)
    path = cache.path(("../../etc/passwd", "\0", "x"), "jpg")
    assert path.parent == tmp_path
    assert path.stem.isalnum()
    assert cache.path(("a", "bc"), "jpg") != cache.path(("ab", "c"), "jpg")


def test_the_files_not_used_for_longest_are_deleted(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path, 250)
    paths = [cache.path((i,), "mp4") for i in range(3)]
    for age, path in enumerate(paths[:2]):
        cache.make(path, write(100))
        os.utime(path, ns=(0, (age + 1) * 10**9))
    assert cache.find(paths[0]) == paths[0]  # used: now the newest
    cache.make(paths[2], write(100))
    assert [path.exists() for path in paths] == [True, False, True]


def test_the_folder_is_not_looked_at_for_each_small_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    real = Path.iterdir

    def counted(folder: Path) -> object:
        looks.append(folder)
        return real(folder)

    monkeypatch.setattr(Path, "iterdir", counted)
    cache = CacheFolder(tmp_path, 10_000)
    for number in range(300):
        cache.make(cache.path((number,), "mp4"), write(40))
        assert sum(path.stat().st_size for path in tmp_path.glob("*.mp4")) <= 10_000
    assert 90 <= len(looks) <= 110


def test_the_newest_may_be_larger_than_the_limit(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path, 250)
    small, large = cache.path(("s",), "mp4"), cache.path(("l",), "mp4")
    cache.make(small, write(100))
    cache.make(large, write(1000))
    assert (small.exists(), large.exists()) == (False, True)


def test_files_of_others_are_never_deleted(tmp_path: Path) -> None:
    for name in ("holiday.mp4", "thesis.docx", ".hidden", f"{'a' * 40}.mp4.orig"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    before = sorted(tmp_path.iterdir())
    cache = CacheFolder(tmp_path, 250)
    path = cache.make(cache.path(("s",), "mp4"), write(1000))
    assert sorted(tmp_path.iterdir()) == sorted([*before, path])


def test_partial_files_of_killed_writers_are_deleted(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path, 250)
    dead, alive = (tmp_path / f".{'b' * 40}.mp4.{pid}.partial" for pid in (2**22 + 1, os.getpid()))
    for partial in (dead, alive):
        partial.write_bytes(b"x" * 1000)
    kept = cache.make(cache.path(("s",), "mp4"), write(100))
    assert (kept.exists(), dead.exists(), alive.exists()) == (True, False, True)


def test_only_this_user_can_read_a_new_folder(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path / "a" / "page", 250)
    cache.make(cache.path(("s",), "mp4"), write(1))
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def test_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path, 250)
    path = cache.path(("s",), "mp4")

    def fail(partial: Path) -> None:
        partial.write_bytes(b"half")
        raise UserError("no picture")

    with pytest.raises(UserError, match="no picture"):
        cache.make(path, fail)
    assert list(tmp_path.iterdir()) == []
    cache.make(path, write(3))  # and may be tried again
    assert path.read_bytes() == b"xxx"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = CacheFolder(tmp_path / "file" / "cache", 250)
    with pytest.raises(UserError, match="cannot write"):
        cache.make(cache.path(("s",), "mp4"), write(1))
