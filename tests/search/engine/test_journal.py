import pickle
import re
import warnings
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from search.engine.cases import DIM, LAYOUT, WORDS, arrays, record

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine.interface import Layout, Record
from dreamprvr.search.engine.journal import Journal

DAMAGED = r"interrupted\.npz is damaged: index into a new folder$"


def same(first: Record, second: Record) -> bool:
    one, other = arrays(first), arrays(second)
    return (first.video_id, first.payload, set(one)) == (
        second.video_id, second.payload, set(other)
    ) and all(np.array_equal(one[name], other[name]) for name in one)  # fmt: skip


@pytest.mark.parametrize("layout", [LAYOUT, WORDS])
def test_a_journal_is_read_as_it_was_written(tmp_path: Path, layout: Layout) -> None:
    journal = Journal(tmp_path)
    assert not journal.is_open()
    records = [record(1, layout=layout), record(2, version=1, layout=layout)]
    journal.open(["video 1", "video 2", "ü"], records)
    assert Journal(tmp_path).is_open()
    videos, held = Journal(tmp_path).read(layout)
    assert videos == ["video 1", "video 2", "ü"]
    assert len(held) == 2
    assert all(map(same, held, records))
    journal.open([])
    assert journal.read(LAYOUT) == ([], [])
    journal.close()
    assert not journal.is_open()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[", b"PK\x03\x04", pickle.dumps([1])])
def test_a_journal_of_other_bytes_is_refused(tmp_path: Path, content: bytes) -> None:
    journal = Journal(tmp_path)
    journal.path.write_bytes(content)
    with pytest.raises(UserError, match=DAMAGED):
        journal.read(LAYOUT)


@pytest.mark.parametrize("note", ["3", '{"records": []}', '{"video_ids": [], "records": [{}]}'])
def test_a_journal_with_another_note_is_refused(tmp_path: Path, note: str) -> None:
    journal = Journal(tmp_path)
    np.savez(journal.path, note=np.frombuffer(note.encode(), np.uint8))
    with pytest.raises(UserError, match=DAMAGED):
        journal.read(LAYOUT)


def test_no_flipped_bit_and_no_cut_gives_other_videos(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    kept = replace(record(1), tokens={name: rows[:1] for name, rows in record(1).tokens.items()})
    journal.open(["video 1", "video 2"], [kept])
    whole = journal.path.read_bytes()
    broken = [whole[:size] for size in range(0, len(whole), 31)]
    for place in range(0, len(whole), 5):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        broken.append(bytes(flipped))
    refused = 0
    for content in broken:
        journal.path.write_bytes(content)
        try:
            videos, records = journal.read(LAYOUT)
        except UserError as error:
            refused += bool(re.search(DAMAGED, str(error)))
            continue
        assert videos == ["video 1", "video 2"]
        assert len(records) == 1
        assert same(records[0], kept)
    assert refused > len(broken) / 2


@pytest.mark.parametrize(
    "frames",
    [
        np.ones((2, DIM + 1), np.float32),
        np.ones(DIM, np.float32),
        np.ones((2, DIM)),
        np.full((2, DIM), np.nan, np.float32),
        np.full((2, DIM), None),
    ],
)
def test_rows_that_are_not_of_this_library(tmp_path: Path, frames: np.ndarray) -> None:
    journal = Journal(tmp_path)
    with warnings.catch_warnings(), suppress(ValueError):
        journal.open(
            ["video 1"], [replace(record(1), tokens={**record(1).tokens, "frames": frames})]
        )
    with pytest.raises(UserError, match=DAMAGED):
        journal.read(LAYOUT)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_packed_file_is_not_unpacked(tmp_path: Path, compression: int) -> None:
    journal = Journal(tmp_path)
    journal.open([])
    with zipfile.ZipFile(journal.path) as archive:
        note = archive.read("note.npy")
    with zipfile.ZipFile(journal.path, "w", compression) as archive:
        archive.writestr("note.npy", note)
    with pytest.raises(UserError, match=DAMAGED):
        journal.read(LAYOUT)
