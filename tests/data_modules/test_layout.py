from pathlib import Path

import pytest

from data_modules.layout import refuse_missing
from dreamprvr.core.errors import UserError


def test_all_missing_files_are_named_at_once(tmp_path: Path):
    there, gone, lost = (tmp_path / name for name in ("there", "gone.txt", "lost.hdf5"))
    there.touch()
    with pytest.raises(UserError) as caught:
        refuse_missing("kitchen", {there: "x", gone: "captions", lost: "features"}, "Ask Ann.")
    line = str(caught.value)
    assert line.startswith(f"kitchen: missing captions: {gone}; features: {lost}. Ask Ann. ")
    assert f"{there};" not in line
    assert "\n" not in line


def test_nothing_missing(tmp_path: Path):
    refuse_missing("kitchen", {tmp_path: "folder"}, "")
