import gc
import json
import os
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
from core.test_distributed import on_two
from lightning import Callback, Trainer
from limits import full_disk
from torch import Tensor

from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.gallery import QueryHits
from dreamprvr.models.encoded import join_tensors, map_tensors
from dreamprvr.training.callbacks import predictions
from dreamprvr.training.callbacks.predictions import PredictionWriter, VideoTimes, records

pytestmark = recorder.QUIET
# Python from 3.12 warns of any fork while there are threads
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
TABLE = Annotations(
    pd.DataFrame(
        [("vidéo", 64.0, "test", ""), ("b", float("nan"), "test", ""), ("c", 10.0, "test", "")],
        columns=VIDEO_COLUMNS,
    ),
    pd.DataFrame(
        [
            (f"q{i}", true, "text", (), "test")
            for i, true in enumerate([("b",), (), ("c", "vidéo")])
        ],
        columns=QUERY_COLUMNS,
    ),
)


def peak(frames: int, *high: int) -> Tensor:
    """Scores of 0, of 1 at some frames, and minus infinity behind the last one."""
    scores = torch.full((32,), -torch.inf)
    scores[:frames] = 0
    scores[list(high)] = 1
    return scores


HITS = QueryHits(
    query=torch.tensor([2, 0]),
    rank=torch.tensor([1, 17]),
    ranks=torch.tensor([[3, 1], [17, 0]]),
    video=torch.tensor([[0, 1], [2, 0]]),
    score=torch.tensor([[0.5, 0.25], [1.0, -0.5]]),
    best={
        "clips": torch.tensor([[0, 3], [31, 16]]),
        "frames": torch.tensor([[1, 2], [127, 0]]),
    },
    over_time=torch.stack(
        [torch.stack([peak(32, 0, 1), peak(8, 3, 5)]), torch.stack([peak(32, 31), peak(32, 8, 24)])]
    ),
)
EXPECTED = [
    {"query_id": "q2", "video_ids": ["c", "vidéo"], "rank": 1, "ranks": [3, 1], "hits": [
        {"video_id": "vidéo", "score": 0.5, "true": True, "clip": 0, "frame": 1, "start": 0.0,
         "end": 4.0},
        {"video_id": "b", "score": 0.25, "true": False, "clip": 3, "frame": 2},
    ]},
    {"query_id": "q0", "video_ids": ["b"], "rank": 17, "ranks": [17], "hits": [
        {"video_id": "c", "score": 1.0, "true": False, "clip": 31, "frame": 127, "start": 8.0,
         "end": 10.0},
        {"video_id": "vidéo", "score": -0.5, "true": False, "clip": 16, "frame": 0, "start": 16.0,
         "end": 18.0},
    ]},
]  # fmt: skip
MORE = map_tensors(lambda part: part[:1], HITS)._replace(
    query=torch.tensor([1]), rank=torch.tensor([0]), ranks=torch.zeros(1, 2, dtype=torch.int64)
)
UNKNOWN = [
    {name: value for name, value in hit.items() if name != "true"} for hit in EXPECTED[0]["hits"]
]
THIRD = {"query_id": "q1", "video_ids": None, "rank": None, "ranks": None, "hits": UNKNOWN}
IN_ORDER = [EXPECTED[1], THIRD, EXPECTED[0]]


def trainer(limit: float = 1.0) -> Any:
    data = SimpleNamespace(
        annotations=lambda split: {"test": TABLE}[split],
        video_features=lambda: SimpleNamespace(path=Path("no file")),
    )
    return SimpleNamespace(datamodule=data, num_predict_batches=[2, 2], limit_predict_batches=limit)


MODULE: Any = SimpleNamespace(searched=3)


def written(path: Path, *batches: QueryHits | None) -> None:
    writer = PredictionWriter(path)
    writer.setup(trainer(), MODULE, "predict")
    writer.on_predict_start(trainer(), MODULE)
    for hits in batches or (None, HITS, None, MORE):
        writer.on_predict_batch_end(trainer(), MODULE, hits, None, 0)
        assert not path.exists()
    writer.on_predict_end(trainer(), MODULE)


def test_records() -> None:
    found = records(HITS, TABLE, VideoTimes(TABLE, Path("no file")))
    assert found == EXPECTED
    assert json.loads(json.dumps(found)) == found  # builtins only


def test_jsonl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "answers.jsonl"
    written(path)
    text = path.read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == IN_ORDER
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
    assert len(rows) == 3
    assert rows == [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.parquet"])
def test_an_unfinished_file_has_another_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("of an earlier run")
    writer = PredictionWriter(tmp_path / name)
    writer.on_predict_start(trainer(), MODULE)
    writer.on_predict_batch_end(trainer(), MODULE, HITS, None, 0)
    assert {path.name for path in tmp_path.iterdir()} == {name, f".{name}.{os.getpid()}.partial"}
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


def test_each_query_once_in_the_order_of_the_table(tmp_path: Path) -> None:
    """Samplers of several processes deal the rows out in turn, and give some of them twice."""
    written(tmp_path / "a.jsonl", MORE, HITS, MORE)
    written(tmp_path / "b.jsonl", HITS, HITS, MORE)
    for name in ("a.jsonl", "b.jsonl"):
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == IN_ORDER


@pytest.mark.parametrize(
    ("searched", "batches", "said"),
    [
        (2, (HITS, MORE), "only 2 of 3 videos would be searched, so nothing is written"),
        (3, (HITS,), "only 2 of 3 captions were answered, so nothing is written"),
        (3, (MORE,), "only 1 of 3 captions were answered, so nothing is written"),
    ],
)
def test_a_part_of_a_split_is_not_written(
    tmp_path: Path, searched: int, batches: tuple[QueryHits, ...], said: str
) -> None:
    module: Any = SimpleNamespace(searched=searched)
    writer = PredictionWriter(tmp_path / "a.jsonl")
    writer.on_predict_start(trainer(), module)
    with pytest.raises(UserError, match=said) as caught:  # noqa: PT012
        for hits in batches:
            writer.on_predict_batch_end(trainer(), module, hits, None, 0)
        writer.on_predict_end(trainer(), module)
    writer.on_exception(trainer(), module, caught.value)
    assert list(tmp_path.iterdir()) == []


def test_to_predict_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer\.limit_predict_batches is 0"):
        PredictionWriter(tmp_path / "a.jsonl").setup(trainer(0), MODULE, "predict")


def test_processes_with_unequal_loaders_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would wait for each other for ever."""
    monkeypatch.setattr(predictions, "gather_objects", lambda own: [own, [2, 1]])
    with pytest.raises(UserError, match=r"--trainer\.devices 1"):
        PredictionWriter(tmp_path / "a.jsonl").on_predict_start(trainer(), MODULE)
    assert list(tmp_path.iterdir()) == []


def share(rank: int, writer: PredictionWriter) -> None:
    """The part of one of two processes: rows 0 and 2, or 1 and, to fill up, 0."""
    own = HITS if rank == 0 else join_tensors([MORE, HITS])
    own = map_tensors(lambda part: part[[0, -1]], own)
    if rank == 1:  # no query of this process has two true videos
        own = own._replace(ranks=own.ranks[:, :1])
    writer.on_predict_start(trainer(), MODULE)
    for hits in (None, own):
        writer.on_predict_batch_end(trainer(), MODULE, hits, None, 0)
    writer.on_predict_end(trainer(), MODULE)


@FORKS
def test_two_processes_write_one_file(tmp_path: Path) -> None:
    on_two(lambda rank: share(rank, PredictionWriter(tmp_path / "out" / "a.jsonl")), tmp_path)
    lines = (tmp_path / "out" / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == IN_ORDER
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.jsonl"]


@FORKS
@pytest.mark.parametrize("kind", ["folder", "disk"])
def test_two_processes_fail_together(tmp_path: Path, kind: str) -> None:
    """Only the first one writes; the second does not wait for it for ever."""
    path = tmp_path / "out" / "a.jsonl"
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()

    def work(rank: int) -> str:
        writer = PredictionWriter(path)
        try:
            with full_disk(10 if kind == "disk" and rank == 0 else 1 << 20):
                share(rank, writer)
        except UserError as error:
            with full_disk(10 if kind == "disk" and rank == 0 else 1 << 20):
                writer.on_exception(trainer(), MODULE, error)
            return str(error)
        return ""

    first, second = on_two(work, tmp_path)
    assert first == second
    assert ("is a folder" if kind == "folder" else "cannot write") in first
    assert [p.name for p in path.parent.iterdir()] == (["a.jsonl"] if kind == "folder" else [])


# Failures

FEW = HITS._replace(query=torch.tensor([1, 0]))


def many() -> QueryHits:
    """Hits of 200 queries, more than any buffer holds."""
    rows = torch.randint(3, (200, 50))
    query = torch.arange(200)
    best = {"clips": rows, "frames": rows}
    over_time = torch.rand(200, 50, 4)
    return QueryHits(query, query, query[:, None], rows, torch.rand(200, 50), best, over_time)


@pytest.mark.parametrize(("hits", "size"), [(FEW, 100), (many(), 1 << 16)])
@pytest.mark.parametrize("name", ["answers.jsonl", "answers.parquet"])
def test_a_full_disk(tmp_path: Path, name: str, hits: QueryHits, size: int) -> None:
    """Noticed as the file is closed, or before."""
    path = tmp_path / name
    path.write_text("of an earlier run")
    writer = PredictionWriter(path)
    writer.on_predict_start(trainer(), MODULE)
    queries = pd.concat([TABLE.queries] * 67, ignore_index=True)  # as many as there are hits
    writer.table = Annotations(TABLE.videos, queries[: len(hits.query)])
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
    with pytest.raises(UserError, match=r"^cannot write \S*a\.jsonl: File exists; a file stands"):
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
