"""Writes `predict`'s answers, a line a query."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from data_modules.schema import Annotations
from dreamprvr.errors import UserError
from dreamprvr.prediction import QueryHits, clip_seconds

SUFFIXES = (".jsonl", ".parquet")
Record = dict[str, Any]


class PredictionWriter(Callback):
    """Streams hits to a file; it appears under its name only once it is complete.

    A line holds `query_id` and `hits`, the best videos first, each with `video_id`, `score`,
    `clip` and `frame` (indices of the best clip and frame) and, where the video's duration is
    known, `start` and `end` of that clip in seconds.

    Args:
        output: path ending in .jsonl or .parquet.
    """

    def __init__(self, output: Path) -> None:
        if output.suffix not in SUFFIXES:
            raise UserError(f"--output {output}: end the name in {' or '.join(SUFFIXES)}")
        if output.suffix == ".parquet":
            _require_pyarrow()
        self.output = output
        self.partial = output.with_name(output.name + ".partial")
        self._write: Callable[[list[Record]], None]
        self._close: Callable[[], None]

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file."""
        if trainer.world_size > 1:
            raise UserError("predict writes one file: run it on one device (--trainer.devices 1)")
        self.table: Annotations = trainer.datamodule.annotations("test")  # type: ignore[attr-defined]
        self.output.parent.mkdir(parents=True, exist_ok=True)
        opener = _open_jsonl if self.output.suffix == ".jsonl" else _open_parquet
        self._write, self._close = opener(self.partial)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: QueryHits | None,
        *_: Any,
        **__: Any,
    ) -> None:
        """Write the hits of a batch of queries."""
        if outputs is not None:
            self._write(records(outputs, self.table, pl_module.hparams["network"]["num_clips"]))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the file its name."""
        self._close()
        os.replace(self.partial, self.output)
        print(f"written to {self.output}")


def records(hits: QueryHits, table: Annotations, num_clips: int) -> list[Record]:
    """Hits as dictionaries of builtins, one a query.

    Args:
        hits: of Q queries.
        table: of the split that was searched.
        num_clips: M_c.
    """
    query_ids, video_ids = table.queries["query_id"], table.videos["video_id"]
    durations = table.videos["duration"]
    rows = zip(*(part.tolist() for part in hits), strict=True)
    result = []
    for query, videos, scores, clips, frames in rows:
        found = []
        for video, score, clip, frame in zip(videos, scores, clips, frames, strict=True):
            hit = {"video_id": video_ids[video], "score": score, "clip": clip, "frame": frame}
            if math.isfinite(durations[video]):
                start, end = clip_seconds(clip, num_clips, float(durations[video]))
                hit |= {"start": start, "end": end}
            found.append(hit)
        result.append({"query_id": query_ids[query], "hits": found})
    return result


def _open_jsonl(path: Path) -> tuple[Callable[[list[Record]], None], Callable[[], None]]:
    file = path.open("w", encoding="utf-8")

    def write(batch: list[Record]) -> None:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in batch)

    return write, file.close


def _open_parquet(path: Path) -> tuple[Callable[[list[Record]], None], Callable[[], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    hit = pa.struct(
        {
            "video_id": pa.string(), "score": pa.float32(), "clip": pa.int32(),
            "frame": pa.int32(), "start": pa.float64(), "end": pa.float64(),
        }
    )  # fmt: skip
    schema = pa.schema([("query_id", pa.string()), ("hits", pa.list_(hit))])
    writer = pq.ParquetWriter(path, schema)

    def write(batch: list[Record]) -> None:
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))

    return write, writer.close


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError(
            "a .parquet file needs pyarrow: pip install 'dreamprvr[parquet]', or write .jsonl"
        ) from None
