"""What the engine's payload says of a video, and back."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import numpy as np

from dreamprvr.evaluation.moments import Timeline
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoRecord
from dreamprvr.search.layout import METADATA
from dreamprvr.search.results import LibraryVideo

SOURCE = "source"
Payload = Mapping[str, Any]


def make_payload(record: VideoRecord, rows: np.ndarray, metadata: Mapping[str, Any]) -> Payload:
    """The payload of a video of a feature file."""
    digest = hashlib.blake2b(np.ascontiguousarray(rows).tobytes(), digest_size=16)
    return {
        SOURCE: {
            # percent-encoded bytes, since a path need not be Unicode
            "path": quoted(record.path),
            "size": record.size, "mtime_ns": record.mtime_ns,
            # the engine's reader of JSON is an ulp off where a number has 16 digits
            "start": round(record.start, 6), "duration": round(record.duration, 6),
            "rows": len(rows), "digest": digest.hexdigest(), "warning": record.warning,
        },
        METADATA: dict(metadata),
    }  # fmt: skip


def quoted(path: Path) -> str:
    """A path as payloads have it."""
    return quote_from_bytes(os.fsencode(path))


def same_vectors(first: Payload, second: Payload) -> bool:
    """Whether two payloads stand for the same rows, so that nothing must be encoded again."""
    return all(first[SOURCE][name] == second[SOURCE][name] for name in ("digest", "rows"))


def metadata_of(payload: Payload) -> Mapping[str, Any]:
    """Columns and values of a video."""
    return dict(payload.get(METADATA, {}))


def path_of(payload: Payload) -> Path:
    """Where the video lay when it was extracted."""
    return Path(os.fsdecode(unquote_to_bytes(payload[SOURCE]["path"])))


def library_video(video_id: str, payload: Payload) -> LibraryVideo:
    """A video as searches give it."""
    path = path_of(payload) if payload[SOURCE]["path"] else None
    duration = float(payload[SOURCE]["duration"])
    return LibraryVideo(video_id, path, duration, metadata_of(payload))


def timeline_of(payload: Payload, settings: ExtractionSettings) -> Timeline:
    """The seconds of a video's rows."""
    source = payload[SOURCE]
    return Timeline(
        int(source["rows"]), float(source["start"]), settings.stride, settings.window,
        float(source["duration"]),
    )  # fmt: skip
