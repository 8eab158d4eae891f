"""Writes `predict`'s answers, a line a query."""

import importlib.util
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from data_modules.schema import Annotations
from dreamprvr.errors import UserError
from dreamprvr.prediction import QueryHits, clip_seconds

SUFFIXES = (".jsonl", ".parquet")
Record = dict[str, Any]
Writer = tuple[Callable[[list[Record]], None], Callable[[], None]]  # writes a batch; closes


class PredictionWriter(Callback):
    """Streams hits to a file; it appears under its name only once it is complete.

    Whatever ends the command before that, a file of an earlier run stays as it was and nothing
    else is left behind.

    A line holds `query_id` and `hits`, the best videos first, each with `video_id`, `score`,
    `clip` and `frame` (indices of the best clip and frame) and, where the video's duration is
    known, `start` and `end` of that clip in seconds.

    Args:
        output: path ending in .jsonl or .parquet.

    Raises:
        UserError: the name ends otherwise, pyarrow is missing, or (later) the file cannot be
            written: no room, no permission.
    """

    def __init__(self, output: Path) -> None:
        if output.suffix not in SUFFIXES:
            raise UserError(f"--output {output}: end the name in {' or '.join(SUFFIXES)}")
        if output.suffix == ".parquet":
            _require_pyarrow()
        self.output = output
        self.partial = output.with_name(output.name + ".partial")
        self._writer: Writer | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file."""
        if trainer.world_size > 1:
            raise UserError("predict writes one file: run it on one device (--trainer.devices 1)")
        self.table: Annotations = trainer.datamodule.annotations("test")  # type: ignore[attr-defined]
        if self.output.is_dir():
            raise UserError(f"--output {self.output} is a folder: name a file in it")
        opener = _open_jsonl if self.output.suffix == ".jsonl" else _open_parquet
        with self._one_line():
            self.output.parent.mkdir(parents=True, exist_ok=True)
            self._writer = opener(self.partial)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: QueryHits | None,
        *_: Any,
        **__: Any,
    ) -> None:
        """Write the hits of a batch of queries."""
        if outputs is not None and self._writer:
            found = records(outputs, self.table, pl_module.hparams["network"]["num_clips"])
            with self._one_line():
                self._writer[0](found)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the file its name."""
        if self._writer:
            with self._one_line():
                self._writer[1]()
                os.replace(self.partial, self.output)
            self._writer = None
            print(f"written to {self.output}")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Remove the unfinished file."""
        if self._writer:
            # closing writes what is buffered, so a full disk fails again; or it is closed already
            with suppress(OSError, ValueError):
                self._writer[1]()
            with suppress(OSError):
                self.partial.unlink()
            self._writer = None

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise UserError(
                f"cannot write {self.output}: {reason}; make room there, or give another --output"
            ) from None


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


def _open_jsonl(path: Path) -> Writer:
    file = path.open("w", encoding="utf-8")

    def write(batch: list[Record]) -> None:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in batch)

    return write, file.close


def _open_parquet(path: Path) -> Writer:
    import pyarrow as pa
    import pyarrow.parquet as pq

    hit = pa.struct(
        {
            "video_id": pa.string(), "score": pa.float32(), "clip": pa.int32(),
            "frame": pa.int32(), "start": pa.float64(), "end": pa.float64(),
        }
    )  # fmt: skip
    schema = pa.schema([("query_id", pa.string()), ("hits", pa.list_(hit))])
    file = path.open("wb")
    writer = pq.ParquetWriter(file, schema)

    def write(batch: list[Record]) -> None:
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))

    def close() -> None:
        with file:
            writer.close()

    return write, close


def _require_pyarrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            "a .parquet file needs pyarrow: pip install 'dreamprvr[parquet]', or write .jsonl"
        )
