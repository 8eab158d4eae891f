"""Damaged feature files are refused in one line or read as they were: a sample in each run."""

from pathlib import Path

import pytest
from fuzz_hdf5 import OURS, damages, fuzz, make_files

from data_modules.readers import hdf5_check

FORMS = 8  # of each of 20 files; `python -m tests.fuzz_hdf5` reads all


def test_a_sample_of_all_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")  # every file is walked
    monkeypatch.setattr(hdf5_check, "CPU_SECONDS", 1)
    files = make_files(tmp_path)
    assert len(files) == 20
    for name, counts in fuzz(files, bits=8, sample=FORMS).items():
        assert counts.total() == FORMS
        assert not [said for said in counts if said.startswith("failure")], (name, counts)
        if name in OURS:
            assert set(counts) <= {"refused", "as it was"}


def test_the_damaged_forms() -> None:
    whole = bytes(range(32))
    forms = [form() for form in damages(whole, bits=8)]
    assert len(forms) == 32 * 8 + 2 * 2
    assert len({form for form in forms if len(form) == 32 and form != whole}) == 32 * 8 + 2
    assert forms[-1] == whole[:16]
