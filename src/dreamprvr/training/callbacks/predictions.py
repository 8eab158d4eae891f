"""Write one line for each query: the answers of `predict`, or the ranks of `test`."""

import importlib.util
import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning import Callback, LightningModule, Trainer

from data_modules.readers.tables import Annotations
from dreamprvr.core.distributed import (
    gather_objects,
    gather_rows,
    is_distributed,
    largest_of_ranks,
    on_first_rank,
)
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path, plain_errors
from dreamprvr.evaluation.gallery import QueryHits
from dreamprvr.evaluation.moments import Timeline, best_moments
from dreamprvr.extraction.feature_file import FeatureFile
from dreamprvr.models.encoded import map_tensors
from dreamprvr.models.losses.retrieval import TERM_NAMES

SUFFIXES = (".jsonl", ".parquet")
AT_ONCE = 1000  # hits whose moments are found at once
LIMITS = "leave out trainer.limit_predict_batches, trainer.fast_dev_run and samplers of your own"
Record = dict[str, Any]
Write = Callable[[list[Record]], None]


class PredictionWriter(Callback):
    """Writes hits to a file, which gets its name only when it is complete.

    If the command ends earlier, a file of an earlier run is unchanged, and no other file is left.
    With several processes, the first one collects the hits of all and writes them. Each query is
    written once, in the order of the annotations.

    A line holds `query_id`, `video_ids` (the true videos), `rank` (of the best of them among all
    videos, from 1, also beyond the hits), `ranks` (of each of them, in the order of `video_ids`)
    and `hits`, the best videos first, each with `video_id`, `score`, `true` (whether it is one of
    the true videos), `clip` and `frame` (indices of the best token of these scales, where the model
    has them) and, where the video's duration is known, `start` and `end` of the best moment in
    seconds. The moment is the one that `search` gives (`dreamprvr.evaluation.moments`).
    `video_ids`, `rank` and `ranks` are null, and `true` is left out, where no true video is known.

    Args:
        output: path ending in .jsonl or .parquet.

    Raises:
        UserError: the name ends otherwise, pyarrow is missing, or (later) the file cannot be
            written (no room, no permission), or a part of the split was left out.
    """

    def __init__(self, output: Path) -> None:
        if output.suffix not in SUFFIXES:
            raise UserError(f"--output {output}: end the name in {' or '.join(SUFFIXES)}")
        if output.suffix == ".parquet":
            _require_pyarrow()
        self.output = output
        self._open = ExitStack()
        self._write: Write | None = None
        self._next = 0  # the row that is written next
        self._waiting: dict[int, Record] = {}  # by row, those that came before their turn

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse to predict nothing."""
        if stage == "predict" and trainer.limit_predict_batches == 0:
            raise UserError("trainer.limit_predict_batches is 0: predict has nothing to do")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file."""
        batches = gather_objects(trainer.num_predict_batches)
        if any(numbers != batches[0] for numbers in batches):
            raise UserError(
                f"the processes have {batches} batches to predict: their loaders must give as many "
                "each; run predict on one device (--trainer.devices 1)"
            )
        data = trainer.datamodule  # type: ignore[attr-defined]
        self.table: Annotations = data.annotations("test")
        self.times = VideoTimes(self.table, data.video_features().path)
        self._next, self._waiting = 0, {}
        on_first_rank(self._begin)

    def check_place(self) -> None:
        """Raise a UserError unless the file can be written; its folder is made."""
        _check_place(self.output, "--output")

    def _begin(self) -> None:
        self.check_place()
        self._write = self._open.enter_context(_file(self.output))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: QueryHits | None,
        *_: Any,
        **__: Any,
    ) -> None:
        """Write the hits of a batch of queries of all processes."""
        if outputs is None:  # of a batch of the gallery
            return
        hits = _of_all_processes(outputs) if is_distributed() else outputs
        on_first_rank(lambda: self._add(hits, pl_module))

    def _add(self, hits: QueryHits, pl_module: Any) -> None:
        """Write the records whose turn it is; the others wait."""
        videos = len(self.table.videos)
        if pl_module.searched < videos:
            raise UserError(
                f"only {pl_module.searched} of {videos} videos would be searched, so nothing is "
                f"written: {LIMITS}"
            )
        answers = records(hits, self.table, self.times)
        for row, record in zip(hits.query.tolist(), answers, strict=True):
            if row >= self._next:  # samplers of several processes give some queries twice
                self._waiting[row] = record
        ready = []
        while self._next in self._waiting:
            ready.append(self._waiting.pop(self._next))
            self._next += 1
        with plain_errors(self.output, "or give another --output"):
            if self._write is not None:
                self._write(ready)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the file its name."""
        on_first_rank(self._end)

    def _end(self) -> None:
        queries = len(self.table.queries)
        if self._next < queries:
            answered = self._next + len(self._waiting)
            raise UserError(
                f"only {answered} of {queries} captions were answered, so nothing is written: "
                f"{LIMITS}"
            )
        self._open.close()
        self._write = None
        print(f"written to {self.output}")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Remove the unfinished file."""
        self._write = None
        # closing writes what is buffered, so a full disk fails again; or it is closed already
        with suppress(OSError, ValueError, UserError):
            self._open.__exit__(_Abandoned, _Abandoned(), None)


def _of_all_processes(hits: QueryHits) -> QueryHits:
    """Gather the hits of all processes, whose queries may have more true videos than these."""
    width = hits.ranks.shape[1]
    widest = largest_of_ranks(width, hits.ranks.device)
    padded = torch.nn.functional.pad(hits.ranks, (0, widest - width))
    return map_tensors(gather_rows, hits._replace(ranks=padded))


class _Abandoned(Exception):
    """The file is not to be kept."""


def _check_place(path: Path, option: str) -> None:
    """Make the folder of a file that an option names, and refuse a place that cannot be written."""
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder: name a file in it")
    with suppress(_Abandoned), atomic_path(path) as partial:
        try:
            partial.touch()
        except FileNotFoundError:  # in /proc, say
            raise UserError(f"{option} {path}: its folder takes no new files") from None
        raise _Abandoned


class RankWriter(Callback):
    """Writes the rank of each query of an evaluation to a CSV file.

    It has the columns `query_id`, `video_id` (the query's first true video), `rank` (of its best
    true video among all, from 1) and, where queries have several true videos, their `mAP`,
    `nDCG@10` and `R-precision` in %; and a row for each query in the order of the annotations.

    Args:
        output: path of the file; it gets its name only when it is complete.
    """

    def __init__(self, output: Path) -> None:
        self.output = output

    def check_place(self) -> None:
        """Raise a UserError unless the file can be written; its folder is made."""
        _check_place(self.output, "--ranks")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the ranks of the test split."""
        on_first_rank(lambda: self._write(trainer, pl_module, "test"))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the ranks of the validation split."""
        on_first_rank(lambda: self._write(trainer, pl_module, "val"))

    def _write(self, trainer: Trainer, pl_module: Any, split: str) -> None:
        if not pl_module.coverage.whole:
            raise UserError(
                f"--ranks {self.output}: not written, since only {pl_module.coverage} were "
                "evaluated: leave out limits of batches and samplers of your own"
            )
        queries = trainer.datamodule.annotations(split).queries  # type: ignore[attr-defined]
        values = {name: part.tolist() for name, part in pl_module.recall.ranked.items()}
        rows = values.pop("query")
        names = {"query_id": queries["query_id"], "video_id": queries["video_ids"].str[0]}
        named = {name: column.iloc[rows] for name, column in names.items()}
        table = pd.DataFrame(named | values)
        with atomic_path(self.output) as partial:
            table.to_csv(partial, index=False, lineterminator="\n")
        print(f"ranks are written to {self.output}")


class VideoTimes:
    """The seconds of the frames of a split's videos, as far as they are known.

    A feature file of `lightning extract` holds them. The rows of other features are assumed to
    cover the duration in the annotations evenly.

    Args:
        table: annotations of the split.
        features: path of the video features.
    """

    def __init__(self, table: Annotations, features: Path) -> None:
        self.videos, self.durations = table.videos["video_id"], table.videos["duration"]
        self.file: FeatureFile | None = None
        with suppress(UserError):
            self.file = FeatureFile(features)
        self._pieces: np.ndarray | None = None  # (2, V, M_f), starts and ends; NaN if not known
        self._looked_up = np.zeros(len(self.videos), dtype=bool)

    def moments(self, videos: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the best moment of each hit.

        Args:
            videos: rows of the videos, (N,).
            scores: score at each frame, (N, M_f); minus infinity behind the last one.

        Returns:
            Starts and ends in seconds, (N,) both; NaN where the seconds of a video are not known.
        """
        if self._pieces is None:
            self._pieces = np.full((2, len(self.videos), scores.shape[1]), np.nan)
        new, first = np.unique(videos, return_index=True)
        for video, hit in zip(new, first, strict=True):
            if not self._looked_up[video]:
                self._look_up(self._pieces[:, video], int(video), np.isfinite(scores[hit]).sum())
                self._looked_up[video] = True
        starts, ends = np.full((2, len(videos)), np.nan)
        known = np.flatnonzero(np.isfinite(self._pieces[0, videos, 0]))
        for at in range(0, len(known), AT_ONCE):
            some = known[at : at + AT_ONCE]
            pieces = self._pieces[:, videos[some]]
            curves = pieces[0], pieces[1], scores[some].astype(np.float64)
            starts[some], ends[some] = best_moments(*curves)
        return starts, ends

    def _look_up(self, pieces: np.ndarray, video: int, frames: int) -> None:
        """Write the starts and ends of a video's frames into (2, M_f), if they are known."""
        timeline = self._timeline(video, frames)
        if timeline is not None:
            pieces[:, :frames] = timeline.pieces(frames)

    def _timeline(self, video: int, frames: int) -> Timeline | None:
        if self.file is not None:
            name, settings = self.videos[video], self.file.settings
            record, rows = self.file.record(name), self.file.rows(name)
            return Timeline(rows, record.start, settings.stride, settings.window, record.duration)
        duration = float(self.durations[video])
        if not math.isfinite(duration):
            return None
        return Timeline(frames, 0.0, duration / frames, duration / frames, duration)


def records(hits: QueryHits, table: Annotations, times: VideoTimes) -> list[Record]:
    """Turn hits into dictionaries of builtins, one for each query.

    Args:
        hits: hits of Q queries.
        table: annotations of the split that was searched.
        times: seconds of the split's videos.
    """
    query_ids, true_ids = table.queries["query_id"], table.queries["video_ids"]
    video_ids = table.videos["video_id"].to_numpy()
    best = {TERM_NAMES.get(name, name): tokens.tolist() for name, tokens in hits.best.items()}
    rank, ranks, scores = hits.rank.tolist(), hits.ranks.tolist(), hits.score.tolist()
    videos = hits.video.cpu().numpy()
    moments = times.moments(videos.ravel(), hits.over_time.flatten(0, 1).cpu().numpy())
    starts, ends = (seconds.reshape(videos.shape).tolist() for seconds in moments)
    result = []
    for row, query in enumerate(hits.query.tolist()):
        true, names = true_ids[query], video_ids[videos[row]].tolist()
        columns = {"video_id": names, "score": scores[row]}
        if true:
            columns["true"] = [name in true for name in names]
        columns |= {name: tokens[row] for name, tokens in best.items()}
        columns |= {"start": starts[row], "end": ends[row]}
        answers = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        for hit in answers:
            if math.isnan(hit["start"]):
                del hit["start"], hit["end"]
        places = [place or None for place in ranks[row][: len(true)]]
        known = {"video_ids": list(true), "rank": rank[row], "ranks": places}
        about = known if true else dict.fromkeys(known)
        result.append({"query_id": query_ids[query], **about, "hits": answers})
    return result


@contextmanager
def _file(path: Path) -> Iterator[Write]:
    """Yield a function that writes records; the file gets its name at the end if all went well."""
    writer = _jsonl if path.suffix == ".jsonl" else _parquet
    with atomic_path(path) as partial, writer(partial) as write:
        yield write


@contextmanager
def _jsonl(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda batch: file.writelines(
            json.dumps(record, ensure_ascii=False) + "\n" for record in batch
        )


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    hit = pa.struct(
        {
            "video_id": pa.string(), "score": pa.float32(), "true": pa.bool_(),
            "clip": pa.int32(), "frame": pa.int32(), "start": pa.float64(), "end": pa.float64(),
        }
    )  # fmt: skip
    schema = pa.schema(
        {
            "query_id": pa.string(), "video_ids": pa.list_(pa.string()), "rank": pa.int64(),
            "ranks": pa.list_(pa.int64()), "hits": pa.list_(hit),
        }
    )  # fmt: skip
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        yield lambda batch: writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _require_pyarrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            "a .parquet file needs pyarrow: pip install 'dreamprvr[parquet]', or write .jsonl"
        )
