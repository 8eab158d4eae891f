import os
import time
from pathlib import Path

import pytest
from search.libraries import features, library, video
from search.test_crash import start

from dreamprvr.core.errors import UserError
from dreamprvr.search import writer_lock
from dreamprvr.search.library import Library
from dreamprvr.search.lock import LibraryLock
from dreamprvr.search.manifest import WRITER
from dreamprvr.search.writer_lock import WriterLock


def test_the_second_is_told_at_once_who_writes(tmp_path: Path) -> None:
    first = WriterLock(tmp_path)
    begin = time.monotonic()
    message = rf"is being written by `\S+` \(process {os.getpid()}\), so `\S+` cannot write it now"
    with pytest.raises(UserError, match=message):
        WriterLock(tmp_path)
    assert time.monotonic() - begin < 0.5
    LibraryLock(tmp_path, write=False).release()  # readers are not asked
    first.release()
    WriterLock(tmp_path).release()


@pytest.mark.parametrize("note", ["", "x y", f"{10**30} lightning", "12"])
def test_a_note_that_says_nothing(
    tmp_path: Path, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_lock, "_PAUSE", 0.0)
    first = WriterLock(tmp_path)
    (tmp_path / WRITER).write_text(note)
    with pytest.raises(UserError, match="is being written by another process, so"):
        WriterLock(tmp_path)
    first.release()


def test_of_two_that_have_it_open_one_writes_and_one_is_told(tmp_path: Path) -> None:
    """Both are readers when they set out; the one that is told then lets go, and is waited for."""
    library(tmp_path, video("a")).close()
    path = features(tmp_path / "more.hdf5", [video("a"), video("b")])
    with (
        Library.open(tmp_path / "library") as second,
        start(tmp_path / "library", path) as first,
    ):
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        begin, told = time.monotonic(), ""
        while not told and time.monotonic() - begin < 30:
            time.sleep(0.01)
            try:
                WriterLock(second.path).release()
            except UserError as error:
                told = str(error)
        assert f"(process {first.pid})" in told
        with pytest.raises(UserError, match=rf"being written by .*\(process {first.pid}\)"):
            second.update(path)
        assert len(second.search("dog").hits) == 1  # it goes on searching
        second.close()
        assert first.stdout.read() == "b\ndone\n"
    assert first.returncode == 0
    with Library.open(tmp_path / "library") as made:
        assert [found.video_id for found in made.videos()] == ["a", "b"]
