"""Write a whole data set in the MS-SL layout from real annotations alone.

Ids, splits, sentences, durations and moments are the real ones. Text features are the token states
of a sentence encoder. Video features are *simulated* from the sentences
(`data_modules/generation/simulated_video.py`). It is a stand-in for features that cannot be had:
with it, training at real size can be run and methods compared with each other, never with published
figures.

The features grow in a folder beside the data set's, which takes its place when it is complete. The
same command continues an interrupted one: TVR has 100,000 sentences, of which each thread encodes
about 160 in a second.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from data_modules.generation.folders import (
    AGAIN,
    LARGEST_SEED,
    building,
    generator,
    is_current,
    work_folder,
    write_datasets,
)
from data_modules.generation.simulated_video import (
    Event,
    SimulatedVideos,
    Simulation,
    text_matrix,
    unit,
    video_matrix,
)
from data_modules.readers.captions import split_caption_id, write_captions
from data_modules.readers.npz import read_npz
from data_modules.readers.tables import Annotations, write_tables
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.files import plain_errors
from dreamprvr.core.text import quote

RECORD = "simulate.json"
VERSION = 3  # raise it when the same settings give other data
CHUNK = 2048  # sentences whose token states are in memory at once
VIDEO_CHUNK = 64  # videos whose rows are in memory at once


class Encoder(Protocol):
    """The part of a sentence encoder that is needed here (see `TextEncoder`)."""

    name: str

    @property
    def dim(self) -> int:
        """Size of a token feature."""

    def encode(self, sentences: Sequence[str], progress: bool = True) -> list[np.ndarray]:
        """Return token features (L, dim) of each sentence."""


def simulate(
    annotations: Annotations,
    root: Path,
    collection: str,
    feature_folder: str,
    text_file: str,
    encoder: Encoder,
    settings: Simulation | None = None,
) -> bool:
    """Write `<root>/<collection>/` from annotations, and return False if it is there already.

    Args:
        annotations: the splits "train" and "val" (see `hold_out`); "test" is val if it is missing.
        root: folder of all data sets.
        collection: name of the data set, such as "charades".
        feature_folder: name of the folder in `FeatureData`, such as "i3d_rgb_lgi".
        text_file: name of the file in `TextData`, such as "roberta_charades_query_feat.hdf5".
        encoder: encoder that turns sentences into token features.
        settings: sizes, density, difficulty and seed of the features.

    Raises:
        UserError: a split or a duration is missing, or the folder holds other data.
    """
    settings = settings or Simulation()
    _check(annotations)
    record = _record(annotations, encoder, settings, collection, feature_folder, text_file)
    folder = Path(root) / collection
    if is_current(folder, RECORD, record):
        return False
    work = work_folder(folder, RECORD, record)
    meanings = _write_tokens(work, annotations.queries, encoder, settings)
    _write_videos(work / "video.hdf5", annotations, meanings, settings)
    with building(folder, RECORD, record) as new:
        _write_annotations(new / "TextData", collection, with_test(annotations))
        os.replace(work / "text.hdf5", new / "TextData" / text_file)
        (new / "FeatureData" / feature_folder).mkdir(parents=True)
        os.replace(work / "video.hdf5", new / "FeatureData" / feature_folder / "feature.hdf5")
    shutil.rmtree(work)
    return True


def _write_annotations(folder: Path, collection: str, annotations: Annotations) -> None:
    """Write the caption files of all splits and the tables with durations and moments.

    Where ids do not have the form of caption files, as those of QVHighlights, only the tables are
    written; they are read first anyway.
    """
    folder.mkdir()
    for split in ("train", "val", "test"):
        captions = annotations.split(split).queries
        if all(map(split_caption_id, captions["query_id"])):
            write_captions(folder / f"{collection}{split}.caption.txt", captions)
    write_tables(folder, collection, annotations)


def _check(annotations: Annotations) -> None:
    for split in ("train", "val"):
        if annotations.split(split).queries.empty:
            raise UserError(f"the annotations have no {split} captions: add that part, or hold_out")
    for row in annotations.videos.itertuples():
        if not (math.isfinite(row.duration) and row.duration > 0):
            raise UserError(
                f"video {quote(row.video_id)} has duration {row.duration}; seconds are needed"
            )
    known = set(annotations.videos["video_id"])
    for query in annotations.queries.itertuples():
        if missing := set(query.video_ids) - known:
            raise UserError(
                f"caption {quote(query.query_id)} names unknown video {quote(missing.pop())}"
            )


def _record(
    annotations: Annotations, encoder: Encoder, settings: Simulation, *names: str
) -> dict[str, Any]:
    """Collect all that the data depend on."""
    digest = hashlib.blake2b(digest_size=16)
    for table in (annotations.videos, annotations.queries):
        for row in table.itertuples(index=False):
            digest.update(repr(tuple(row)).encode("utf-8", "surrogateescape"))
    return {
        "version": VERSION,
        "names": list(names),
        "annotations": digest.hexdigest(),
        "encoder": encoder.name,
        **asdict(settings),
    }


def _write_tokens(
    work: Path, queries: pd.DataFrame, encoder: Encoder, settings: Simulation
) -> np.ndarray:
    """Write the token features, and return the unit meanings (captions, E) of the sentences."""
    same = settings.text_dim == encoder.dim
    matrix = None if same else text_matrix(encoder.dim, settings)
    ids, texts = queries["query_id"].tolist(), queries["text"].tolist()

    def make(start: int, stop: int) -> list[np.ndarray]:
        encoded = encoder.encode(texts[start:stop], progress=False)
        with plain_errors(work, AGAIN):
            means: Any = [states.mean(axis=0) for states in encoded]
            means = np.stack(means).astype(np.float32)
            np.savez(work / f"meanings-{start}.npz", means=means)
        kept = (states[: settings.max_tokens] for states in encoded)
        tokens = kept if matrix is None else (states @ matrix for states in kept)
        return [states.astype(settings.dtype) for states in tokens]

    text = work / "text.hdf5"
    write_datasets(text, ids, make, CHUNK, "sentences")
    try:
        return _meanings(work, len(ids), encoder.dim)
    except UserError as error:
        print(error)
        text.unlink()
    write_datasets(text, ids, make, CHUNK, "sentences")
    return _meanings(work, len(ids), encoder.dim)


def _meanings(work: Path, count: int, dim: int) -> np.ndarray:
    """Read the meanings of `count` sentences, and make them of unit length."""
    parts, remedy = [], "the sentences are encoded anew"
    for start in range(0, count, CHUNK):
        path = work / f"meanings-{start}.npz"
        part = read_npz(path, remedy).get("means")
        if part is None or part.shape != (min(CHUNK, count - start), dim):
            raise UserError(f"{path} is damaged: {remedy}")
        parts.append(part)
    return unit(np.concatenate(parts))


def _write_videos(
    path: Path, annotations: Annotations, meanings: np.ndarray, settings: Simulation
) -> None:
    maker = SimulatedVideos(video_matrix(meanings.shape[1], settings), settings)
    queries, videos = annotations.queries, annotations.videos
    pools = {split: meanings[queries["split"] == split] for split in queries["split"].unique()}
    durations = dict(zip(videos["video_id"], videos["duration"], strict=True))
    events = _events(queries, durations, meanings)
    split_of = dict(zip(videos["video_id"], videos["split"], strict=True))
    names = [name for name, split in split_of.items() if split in pools]

    def make(start: int, stop: int) -> list[np.ndarray]:
        return [
            maker.rows(name, durations[name], events[name], pools[split_of[name]]).astype(
                settings.dtype
            )
            for name in names[start:stop]
        ]

    write_datasets(path, names, make, VIDEO_CHUNK, "videos")


def _events(
    queries: pd.DataFrame, durations: dict[str, float], meanings: np.ndarray
) -> dict[str, list[Event]]:
    """Collect the sentences' moments of each video."""
    events: dict[str, list[Event]] = {name: [] for name in durations}
    for meaning, query in zip(meanings, queries.itertuples(), strict=True):
        for name in query.video_ids:
            # A moment that is not known may be anywhere: the whole video shows it.
            for start, end in query.moments or ((0.0, durations[name]),):
                events[name].append(Event(start, min(end, durations[name]), meaning))
    return events


def join(parts: Iterable[Annotations]) -> Annotations:
    """Join the annotations of several files (say, one for each split)."""
    parts = list(parts)
    return Annotations(
        pd.concat([part.videos for part in parts], ignore_index=True),
        pd.concat([part.queries for part in parts], ignore_index=True),
    )


def with_test(annotations: Annotations) -> Annotations:
    """Copy the rows of "val" to "test", as the published files do, if test has none."""
    if not annotations.split("test").queries.empty:
        return annotations
    val = annotations.split("val")
    test = Annotations(val.videos.assign(split="test"), val.queries.assign(split="test"))
    return join([annotations, test])


def hold_out(annotations: Annotations, fraction: float = 0.2, seed: int = 0) -> Annotations:
    """Split the videos of a single annotation file into "train" and "val".

    Args:
        annotations: tables whose splits are replaced. A caption goes where its first video goes.
        fraction: share of the videos that go to "val".
        seed: decides, with a video's id, where it goes.

    Raises:
        UserError: one of the two would be empty, or a caption has videos in both.
    """
    check_range("hold_out", fraction, 0, 1)
    check_range("seed", seed, 0, LARGEST_SEED, whole=True)
    ids = annotations.videos["video_id"].tolist()
    count = round(fraction * len(ids))
    if not 0 < count < len(ids):
        raise UserError(f"a hold-out of {fraction} puts {count} of {len(ids)} videos in val")
    order = sorted(ids, key=lambda name: (generator(seed, "hold out", name).random(), name))
    held = set(order[:count])
    videos, queries = annotations.videos.copy(), annotations.queries.copy()
    videos["split"] = ["val" if name in held else "train" for name in ids]
    splits = []
    for query_id, names in zip(queries["query_id"], queries["video_ids"], strict=True):
        if len({name in held for name in names}) != 1:
            raise UserError(
                f"caption {quote(query_id)} has videos in both train and val; drop some"
            )
        splits.append("val" if names[0] in held else "train")
    queries["split"] = splits
    return Annotations(videos, queries)
