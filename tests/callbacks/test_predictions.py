import gc
import json
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import recorder
import torch
from cli.running import Tiny
from lightning import Callback, Trainer
from limits import full_disk

from data_modules.schema import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.testing import write_tiny
from dreamprvr.callbacks.predictions import PredictionWriter, records
from dreamprvr.errors import UserError
from dreamprvr.prediction import QueryHits

pytestmark = recorder.QUIET
TABLE = Annotations(
    pd.DataFrame(
        [("vidéo", 64.0, "test", ""), ("b", float("nan"), "test", ""), ("c", 10.0, "test", "")],
        columns=VIDEO_COLUMNS,
    ),
    pd.DataFrame([(f"q{i}", ("b",), "text", (), "test") for i in range(3)], columns=QUERY_COLUMNS),
)
HITS = QueryHits(
    query=torch.tensor([2, 0]),
    video=torch.tensor([[0, 1], [2, 0]]),
    score=torch.tensor([[0.5, 0.25], [1.0, -0.5]]),
    clip=torch.tensor([[0, 3], [31, 16]]),
    frame=torch.tensor([[1, 2], [127, 0]]),
)
EXPECTED = [
    {"query_id": "q2", "hits": [
        {"video_id": "vidéo", "score": 0.5, "clip": 0, "frame": 1, "start": 0.0, "end": 2.0},
        {"video_id": "b", "score": 0.25, "clip": 3, "frame": 2},
    ]},
    {"query_id": "q0", "hits": [
        {"video_id": "c", "score": 1.0, "clip": 31, "frame": 127, "start": 9.6875, "end": 10.0},
        {"video_id": "vidéo", "score": -0.5, "clip": 16, "frame": 0, "start": 32.0, "end": 34.0},
    ]},
]  # fmt: skip
MORE = QueryHits(*(part[:1] for part in HITS))._replace(query=torch.tensor([1]))


def trainer(world_size: int = 1) -> Any:
    data = SimpleNamespace(annotations=lambda split: {"test": TABLE}[split])
    return SimpleNamespace(world_size=world_size, datamodule=data)


MODULE: Any = SimpleNamespace(hparams={"network": {"num_clips": 32}})


def written(path: Path) -> None:
    writer = PredictionWriter(path)
    writer.on_predict_start(trainer(), MODULE)
    for hits in (None, HITS, None, MORE):
        writer.on_predict_batch_end(trainer(), MODULE, hits, None, 0)
        assert not path.exists()
    writer.on_predict_end(trainer(), MODULE)


def test_records() -> None:
    found = records(HITS, TABLE, num_clips=32)
    assert found == EXPECTED
    assert json.loads(json.dumps(found)) == found  # builtins only
    assert records(HITS, TABLE, num_clips=64)[0]["hits"][0]["end"] == 1.0


def test_jsonl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "answers.jsonl"
    written(path)
    text = path.read_text(encoding="utf-8")
    third = {"query_id": "q1", "hits": EXPECTED[0]["hits"]}
    assert [json.loads(line) for line in text.splitlines()] == [*EXPECTED, third]
    assert "vidéo" in text  # not escaped
    assert [p.name for p in path.parent.iterdir()] == ["answers.jsonl"]
    assert capsys.readouterr().out == f"written to {path}\n"


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    written(tmp_path / "answers.jsonl")
    written(tmp_path / "answers.parquet")
    lines = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = parquet.read_table(tmp_path / "answers.parquet").to_pylist()
    for row in rows:
        # what JSON leaves out is null in a column
        row["hits"] = [{k: v for k, v in hit.items() if v is not None} for hit in row["hits"]]
    assert rows == [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.parquet"])
def test_an_unfinished_file_has_another_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("of an earlier run")
    writer = PredictionWriter(tmp_path / name)
    writer.on_predict_start(trainer(), MODULE)
    writer.on_predict_batch_end(trainer(), MODULE, HITS, None, 0)
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.partial"}
    assert (tmp_path / name).read_text() == "of an earlier run"
    writer.on_exception(trainer(), MODULE, KeyboardInterrupt())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "of an earlier run"


@pytest.mark.parametrize("name", ["answers", "answers.json", "answers.parquet.gz"])
def test_other_endings(name: str) -> None:
    with pytest.raises(UserError, match=rf"--output {name}: .*\.jsonl or \.parquet"):
        PredictionWriter(Path(name))


def test_parquet_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'dreamprvr\[parquet\]'"):
        PredictionWriter(Path("a.parquet"))
    PredictionWriter(Path("a.jsonl"))


def test_several_devices(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one device"):
        PredictionWriter(tmp_path / "a.jsonl").on_predict_start(trainer(2), MODULE)
    assert list(tmp_path.iterdir()) == []


# Failures


def many() -> QueryHits:
    """Hits of 200 queries, more than any buffer holds."""
    rows = torch.randint(3, (200, 50))
    return QueryHits(torch.arange(200) % 3, rows, torch.rand(200, 50), rows, rows)


@pytest.mark.parametrize(("hits", "size"), [(HITS, 100), (many(), 1 << 16)])
@pytest.mark.parametrize("name", ["answers.jsonl", "answers.parquet"])
def test_a_full_disk(tmp_path: Path, name: str, hits: QueryHits, size: int) -> None:
    """Noticed as the file is closed, or before."""
    path = tmp_path / name
    path.write_text("of an earlier run")
    writer = PredictionWriter(path)
    writer.on_predict_start(trainer(), MODULE)
    with pytest.raises(UserError) as caught, full_disk(size):  # noqa: PT012
        writer.on_predict_batch_end(trainer(), MODULE, hits, None, 0)
        writer.on_predict_end(trainer(), MODULE)
    assert str(caught.value).startswith(f"cannot write {path}: File too large; make room there")
    with full_disk(size):
        writer.on_exception(trainer(), MODULE, caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.read_text() == "of an earlier run"
    del writer
    gc.collect()  # what is not closed would complain


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = PredictionWriter(tmp_path / "file" / "a.jsonl")
    with pytest.raises(UserError, match=r"^cannot write \S*a\.jsonl: File exists; .*--output$"):
        writer.on_predict_start(trainer(), MODULE)
    writer.on_exception(trainer(), MODULE, UserError("that"))


def test_a_folder_of_that_name_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(UserError, match=r"a\.jsonl is a folder: name a file in it"):
        PredictionWriter(tmp_path / "a.jsonl").on_predict_start(trainer(), MODULE)
    assert list((tmp_path / "a.jsonl").iterdir()) == []


class Fail(Callback):
    """Raises after the first batch of queries."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_predict_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if _[1] is not None:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(5, "a read")])
def test_the_trainer_cleans_up(tmp_path: Path, error: BaseException) -> None:
    write_tiny(Tiny, tmp_path / "data")
    data = Tiny(tmp_path / "data", query_batch_size=2, num_workers=0, max_frames=8, num_clips=4)
    path = tmp_path / "out" / "hits.jsonl"
    runner = recorder.trainer(PredictionWriter(path), Fail(error))
    # Lightning turns Ctrl-C into an exit, and ignores the next one
    expected = SystemExit if isinstance(error, KeyboardInterrupt) else type(error)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(expected):
        runner.predict(recorder.module(), data, return_predictions=False)
    signal.signal(signal.SIGINT, handler)
    assert list(path.parent.iterdir()) == []
    again = recorder.trainer(PredictionWriter(path))
    again.predict(recorder.module(), data, return_predictions=False)
    assert [p.name for p in path.parent.iterdir()] == ["hits.jsonl"]
