import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from data_modules.schema import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from dreamprvr.callbacks.predictions import PredictionWriter, records
from dreamprvr.errors import UserError
from dreamprvr.prediction import QueryHits

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
    {
        "query_id": "q2",
        "hits": [
            {"video_id": "vidéo", "score": 0.5, "clip": 0, "frame": 1, "start": 0.0, "end": 2.0},
            {"video_id": "b", "score": 0.25, "clip": 3, "frame": 2},
        ],
    },
    {
        "query_id": "q0",
        "hits": [
            {
                "video_id": "c", "score": 1.0, "clip": 31, "frame": 127,
                "start": 9.6875, "end": 10.0,
            },
            {
                "video_id": "vidéo", "score": -0.5, "clip": 16, "frame": 0,
                "start": 32.0, "end": 34.0,
            },
        ],
    },
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
    writer._close()
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
