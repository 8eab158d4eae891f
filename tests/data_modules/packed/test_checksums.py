import zlib
from pathlib import Path

import numpy as np
import pytest

from data_modules.packed import checksums
from data_modules.packed.checksums import ChecksumWriter, has_checksums


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "CHUNK", 10)


def content(path: Path) -> np.ndarray:
    return np.fromfile(path, np.uint8)


@pytest.mark.parametrize("size", [1, 9, 10, 11, 20, 47])
def test_a_checksum_a_chunk(tmp_path: Path, size: int):
    values = np.arange(size, dtype=np.uint8)
    with ChecksumWriter(tmp_path / "f") as file:
        for part in np.array_split(values, 3):
            file.write(part)
    assert content(tmp_path / "f").tolist() == values.tolist()
    assert file.bytes == size
    parts = [values[i : i + 10].tobytes() for i in range(0, size, 10)]
    assert file.checksums == [zlib.crc32(part) for part in parts]
    assert has_checksums(content(tmp_path / "f"), file.checksums)


def test_arrays_of_any_order_and_type(tmp_path: Path):
    values = np.arange(6, dtype="<f4").reshape(2, 3).T
    with ChecksumWriter(tmp_path / "f") as file:
        file.write(values)
    assert np.fromfile(tmp_path / "f", "<f4").tolist() == [0, 3, 1, 4, 2, 5]
    assert file.bytes == 24


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path):
    with ChecksumWriter(tmp_path / "f") as file:
        file.write(np.zeros(25, np.uint8))
    sound = content(tmp_path / "f")
    for place in range(25):
        for bit in range(8):
            broken = sound.copy()
            broken[place] ^= 1 << bit
            assert not has_checksums(broken, file.checksums)
    for size in range(25):
        assert not has_checksums(sound[:size], file.checksums)
    assert not has_checksums(np.zeros(35, np.uint8), file.checksums)


def test_an_existing_file_is_not_written_over(tmp_path: Path):
    (tmp_path / "f").write_text("kept")
    with pytest.raises(FileExistsError):
        ChecksumWriter(tmp_path / "f")


def test_an_error_closes_the_file(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), ChecksumWriter(tmp_path / "f") as file:
        raise ZeroDivisionError
    assert file._file.closed
