import os
from pathlib import Path

import pandas as pd
import pytest

from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.synthetic import Synthetic
from dreamprvr.cli.demo import newest_checkpoint, show_answers
from dreamprvr.core.errors import UserError
from dreamprvr.training.callbacks.predictions import Record


def test_newest_checkpoint_is_the_latest_written(tmp_path: Path) -> None:
    """Not the last by name: version_10 sorts before version_9."""
    for name, age in (("version_9", 30), ("version_10", 10), ("version_2", 20), ("other", 0)):
        path = tmp_path / name / "checkpoints" / "best.ckpt"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
        (path.parent / "last.ckpt").touch()
    expected = tmp_path / "version_10" / "checkpoints" / "best.ckpt"
    assert newest_checkpoint(tmp_path) == expected


def test_no_run_yet(tmp_path: Path) -> None:
    (tmp_path / "version_0" / "checkpoints").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"no run in {folder}.*make demo"):
            newest_checkpoint(folder)


def made(count: int) -> tuple[Synthetic, list[Record]]:
    """A data module with a table only, and two hits for each of its captions."""
    videos = [(f"v{i}", 100.0, "test", "") for i in range(count)]
    queries = [
        (f"v{i}#enc#0", (f"v{i}",), f"Sentence {i}.", ((i + 0.4, i + 10.6),), "test")
        for i in range(count)
    ]
    data = Synthetic()
    data._tables["test"] = Annotations(
        pd.DataFrame(videos, columns=VIDEO_COLUMNS), pd.DataFrame(queries, columns=QUERY_COLUMNS)
    )
    answers: list[Record] = [
        {
            "query_id": f"v{i}#enc#0",
            "hits": [
                {"video_id": f"v{i}", "score": 0.456, "start": 3.125, "end": 6.25},
                {"video_id": "v0", "score": 0.1, "start": 96.875, "end": 100.0},
            ],
        }
        for i in range(count)
    ]
    return data, answers


def test_answers(capsys: pytest.CaptureFixture[str]) -> None:
    show_answers(*made(7))
    assert capsys.readouterr().out.split("\n\n") == [
        '\n"Sentence 0."   (truth: v0, 0-11 s)\n'
        "  1. v0  3-6 s  score 0.46\n  2. v0  97-100 s  score 0.10",
        '"Sentence 2."   (truth: v2, 2-13 s)\n'
        "  1. v2  3-6 s  score 0.46\n  2. v0  97-100 s  score 0.10",
        '"Sentence 4."   (truth: v4, 4-15 s)\n'
        "  1. v4  3-6 s  score 0.46\n  2. v0  97-100 s  score 0.10\n",
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_answers_are_all_shown(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    show_answers(*made(count))
    assert capsys.readouterr().out.count("truth:") == count
