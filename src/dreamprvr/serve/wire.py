"""Results as the JSON that the page reads."""

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dreamprvr.search.results import Curve, Hit, LibraryVideo, SearchResult, clock

_PIECES = 360  # of a curve; the page draws it about 700 pixels wide


def video_key(video_id: str) -> str:
    """A video's name in addresses: neither a path nor anything that needs quoting."""
    return base64.urlsafe_b64encode(video_id.encode()).decode().rstrip("=")


def video_id_of(key: str) -> str | None:
    """The id that a key stands for, or None if it is no key."""
    try:
        padded = key.encode("ascii") + b"=" * (-len(key) % 4)
        video_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        return None
    return video_id if video_key(video_id) == key else None


def video_json(video: LibraryVideo) -> dict[str, Any]:
    """A video without its path."""
    return {
        "key": video_key(video.video_id),
        "id": video.video_id,
        "title": video.title,
        "duration": _plain(float(video.duration)),
        "there": video.path is not None and video.path.is_file(),
        "metadata": {str(name): _plain(value) for name, value in video.metadata.items()},
    }


def result_json(result: SearchResult) -> dict[str, Any]:
    """The answer to a query, best video first."""
    return {
        "query": result.query,
        "seconds": result.seconds,
        "searched": result.searched,
        "hits": [_hit_json(hit) for hit in result.hits],
    }


def _hit_json(hit: Hit) -> dict[str, Any]:
    curve = thinned(hit.curve)
    moments = [
        {
            "start": moment.start, "end": moment.end, "peak": moment.peak, "score": moment.score,
            "label": f"{clock(moment.start)}–{clock(moment.end)}",
        }
        for moment in hit.moments
    ]  # fmt: skip
    return {
        "rank": hit.rank,
        "score": hit.score,
        "video": video_json(hit.video),
        "moments": moments,
        "curve": {
            "starts": _rounded(curve.starts), "ends": _rounded(curve.ends),
            "scores": _rounded(curve.scores, 5),
        },
        "registers": _rounded(hit.registers, 5),
    }  # fmt: skip


def thinned(curve: Curve, pieces: int = _PIECES) -> Curve:
    """The curve in at most so many pieces; peaks stay as high as they are."""
    count = len(curve.scores)
    if count <= pieces:
        return curve
    first = np.arange(pieces) * count // pieces
    last = np.append(first[1:], count) - 1
    return Curve(
        tuple(curve.starts[i] for i in first),
        tuple(curve.ends[i] for i in last),
        tuple(np.maximum.reduceat(np.asarray(curve.scores, float), first).tolist()),
    )


def _rounded(values: Sequence[float], digits: int = 3) -> list[float]:
    return [round(float(value), digits) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):  # JSON has no word for it
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
