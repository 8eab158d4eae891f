import json
import os
from pathlib import Path

import pytest

from dreamprvr.search import progress
from dreamprvr.search.manifest import PROGRESS as NAME
from dreamprvr.search.progress import ProgressFile


def test_the_file_tells_how_far_it_is_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    told: list[tuple[int, int, str]] = []
    with ProgressFile(tmp_path, lambda *note: told.append(note)) as note:
        note(1, 4, "pan")
        note(2, 4, "dog")
        content = json.loads((tmp_path / NAME).read_text())
    assert content == {"done": 2, "total": 4, "video": "dog", "pid": os.getpid()}
    assert told == [(1, 4, "pan"), (2, 4, "dog")]
    assert not (tmp_path / NAME).exists()


def test_not_every_call_writes(tmp_path: Path):
    with ProgressFile(tmp_path) as note:
        for done in range(50):
            note(done, 50, "x")
        content = json.loads((tmp_path / NAME).read_text())
    assert content["done"] < 49


def test_it_goes_after_a_failure_too(tmp_path: Path):
    def fail() -> None:
        with ProgressFile(tmp_path) as note:
            note(0, 1, "x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not (tmp_path / NAME).exists()
