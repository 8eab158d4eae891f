import pickle
from pathlib import Path

import numpy as np
import pytest
from search.engine_cases import record

from dreamprvr.errors import UserError
from dreamprvr.search.engine import Record
from dreamprvr.search.journal import Journal


def same(first: Record, second: Record) -> bool:
    names = ("clips", "frames", "segments", "registers")
    return (first.video_id, first.payload) == (second.video_id, second.payload) and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in names
    )


def test_what_is_written_down_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert not journal.is_open()
    records = [record(1), record(2, version=1)]
    journal.open(["video 1", "video 2", "ü"], records)
    assert Journal(tmp_path).is_open()
    videos, held = Journal(tmp_path).read()
    assert videos == ["video 1", "video 2", "ü"]
    assert len(held) == 2
    assert all(map(same, held, records))
    journal.open([])
    assert journal.read() == ([], [])
    journal.close()
    assert not journal.is_open()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[", b"PK\x03\x04", pickle.dumps([1])])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    journal = Journal(tmp_path)
    journal.path.write_bytes(content)
    with pytest.raises(UserError, match=r"interrupted\.npz is damaged: index into a new folder"):
        journal.read()


@pytest.mark.parametrize("note", ["3", '{"records": []}', '{"video_ids": [], "records": [{}]}'])
def test_another_note(tmp_path: Path, note: str) -> None:
    journal = Journal(tmp_path)
    np.savez(journal.path, note=np.frombuffer(note.encode(), np.uint8))
    with pytest.raises(UserError, match="is damaged"):
        journal.read()
