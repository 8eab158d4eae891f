"""Files that torch did not write so: each is refused in one line, and none of their code runs."""

import os
import pickle
import re
import stat
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from search.checkpoints import checkpoint
from training.test_checkpoint import refusal, rewritten

from dreamprvr.core.errors import UserError
from dreamprvr.core.torch_file import read_torch_file
from dreamprvr.training.checkpoint import read_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("mapped", [True, False])
def test_files_of_torch_are_read(tmp_path: Path, mapped: bool) -> None:
    """Tensors share memory as they did; without a map, the file may go."""
    both = torch.arange(6.0)
    content = {"a": both[:2], "b": both[3:], "empty": torch.zeros(0), "n": [1, (2.5, "x", None)]}
    path = tmp_path / "a.pt"
    torch.save(content, path)
    found = read_torch_file(path, mapped=mapped)
    if not mapped:
        path.write_bytes(b"")
    assert same(found, content)
    found["a"][0] = 7
    assert found["b"].untyped_storage().data_ptr() == found["a"].untyped_storage().data_ptr()


def deflated(path: Path) -> None:
    """The same records, compressed: torch maps them as if they were weights."""
    with zipfile.ZipFile(path) as old:
        records = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in records.items():
            new.writestr(name, data)


def records_changed(change: Callable[[dict[str, bytes]], None]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        with zipfile.ZipFile(path) as old:
            records = {name: old.read(name) for name in old.namelist()}
        change(records)
        with zipfile.ZipFile(path, "w") as new:
            for name, data in records.items():
                new.writestr(name, data)

    return rewrite


def short_record(records: dict[str, bytes]) -> None:
    name = next(name for name in records if name.endswith("/data/3"))
    records[name] = records[name][:-4]


def lost_record(records: dict[str, bytes]) -> None:
    del records[next(name for name in records if name.endswith("/data/3"))]


def no_index(records: dict[str, bytes]) -> None:
    del records[next(name for name in records if name.endswith("data.pkl"))]


def broken_index(records: dict[str, bytes]) -> None:
    name = next(name for name in records if name.endswith("data.pkl"))
    records[name] = records[name][:200]


def old_format(path: Path) -> None:
    torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)


def bytes_of(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def zip_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("readme.txt", "hello")


DAMAGED = r"is damaged or not a checkpoint: "
FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (bytes_of(b""), DAMAGED + "cut short, or no zip archive"),
    "text": (bytes_of(b"hello\n"), DAMAGED + "it is a text file"),
    "all bytes": (bytes_of(bytes(range(256))), DAMAGED + "cut short"),
    "a pickle": (bytes_of(pickle.dumps({"a": 1})), DAMAGED + "cut short"),
    "another zip": (zip_of_text, DAMAGED + "a zip archive, but not one that torch wrote"),
    "compressed": (deflated, DAMAGED + "compressed or encrypted"),
    "a short record": (records_changed(short_record), DAMAGED + "its tensors are not as large"),
    "a lost record": (records_changed(lost_record), DAMAGED),
    "no index": (records_changed(no_index), DAMAGED + "a zip archive, but not"),
    "a broken index": (records_changed(broken_index), DAMAGED),
    "the old format": (old_format, "torch's old file format"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file(path: Path, kind: str) -> None:

    damage, message = FILES[kind]
    damage(path)
    line = refusal(path)
    assert re.search(message, line), line


def test_an_endless_index_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamprvr.core.torch_file.INDEX_LIMIT", 1000)
    assert "an index of" in refusal(path)


def test_cut_at_many_places(path: Path) -> None:
    whole = path.read_bytes()
    for kept in [*range(0, len(whole), len(whole) // 15), len(whole) - 1]:
        path.write_bytes(whole[:kept])
        assert "damaged or not a checkpoint" in refusal(path)


def same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(v, second[k]) for k, v in first.items())
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


SMALL = {
    "hyper_parameters": {"n": 3, "name": "x" * 20, "share": 0.5},
    "state_dict": {"a": torch.arange(50.0), "b": torch.ones(3, 4), "c": torch.tensor(2)},
}


def outcome(path: Path, content: bytes) -> str:
    """The line in which changed bytes are refused, or "" if they are read as if unchanged."""
    path.write_bytes(content)
    try:
        found = read_torch_file(path)
    except UserError as error:
        return str(error)
    assert same(found, SMALL)
    return ""


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """In the tensors, the index, the directory, between the records."""
    path = tmp_path / "a.pt"
    torch.save(SMALL, path)
    whole = path.read_bytes()
    lines = []
    for place in range(0, len(whole), 7):
        flipped = bytes([whole[place] ^ (1 << place % 8)])
        lines.append(outcome(path, whole[:place] + flipped + whole[place + 1 :]))
    refused = [line for line in lines if line]
    assert len(refused) > 0.3 * len(lines)  # the rest lies between the records
    assert all(line.startswith(f"checkpoint {path} ") and "\n" not in line for line in refused)


def test_pieces_that_are_swapped_lost_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(SMALL, path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    lines = []
    for _ in range(300):
        a, b, c = sorted(random.integers(0, len(whole), 3).tolist())
        first, second = whole[a:b], whole[b:c]
        middle = ((second + first), first, first + second + second, bytes(c - a))
        lines.append(outcome(path, whole[:a] + middle[random.integers(4)] + whole[c:]))
    assert sum(bool(line) for line in lines) > 200
    assert all("\n" not in line and len(line) < 500 for line in lines)


def test_objects_are_refused_and_not_built(path: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (evil,)  # type: ignore[return-value]

    for stranger, name in ((Fraction(1, 2), "fractions.Fraction"), (Evil(), "getattr")):
        line = refusal(rewritten(path, lambda content, x=stranger: {**content, "x": x}))
        assert "other than tensors and builtins" in line
        assert name in line
        content = torch.load(path, weights_only=False)  # what the refusal prevents
        rewritten_content = {k: v for k, v in content.items() if k != "x"}
        torch.save(rewritten_content, path)
    assert evil.exists()


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.ckpt").endswith("a.ckpt is missing")
    assert refusal(tmp_path).endswith(" is a folder: name a regular file")
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in refusal(tmp_path / "pipe")
    assert "is a device" in refusal(Path("/dev/zero"))
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot be read" in refusal(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to("nothing")
    assert "is missing" in refusal(tmp_path / "dangling")
    assert "is missing" in refusal(tmp_path / "pipe" / "a.ckpt")


def test_a_link_is_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").symlink_to(path)
    assert "state_dict" in read_checkpoint(tmp_path / "best.ckpt")


def test_an_unreadable_file_is_not_called_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root reads everything, so the system's refusal is put in its place."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path.chmod(0)
    if os.access(path, os.R_OK):
        monkeypatch.setattr("os.open", forbidden)
    assert refusal(path) == f"checkpoint {path} may not be read: check its permissions"
    path.chmod(stat.S_IRUSR)


def test_a_disk_that_fails_is_not_called_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "testzip", failing)
    assert refusal(path) == f"checkpoint {path}: cannot be read (Input/output error)"
