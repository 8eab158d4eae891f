import json
import os
from pathlib import Path

import numpy as np
import pytest
from search.libraries import SETTINGS

from dreamprvr.evaluation.moments import Timeline
from dreamprvr.extraction.feature_file import VideoRecord
from dreamprvr.search.catalogue import (
    library_video,
    make_payload,
    metadata_of,
    path_of,
    same_vectors,
    timeline_of,
)

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def a_record(path: Path = Path("/films/a b.mp4")) -> VideoRecord:
    return VideoRecord("a", 0.5, 4.25, path, 2**40, 2**60 + 1, "odd")


@pytest.mark.parametrize("path", ["/films/a b.mp4", "/caf\u00e9/%2F", os.fsdecode(b"/caf\xe9")])
def test_a_payload_is_json_and_keeps_any_path(path: str) -> None:
    payload = make_payload(a_record(Path(path)), ROWS, {"tags": ["x"]})
    again = json.loads(json.dumps(payload).encode())
    assert again == payload
    assert path_of(again) == Path(path)
    assert again["source"]["mtime_ns"] == 2**60 + 1


def test_a_video_of_a_payload() -> None:
    video = library_video("a", make_payload(a_record(), ROWS, {"title": "T", "tags": ["x"]}))
    assert (video.path, video.duration, video.title) == (Path("/films/a b.mp4"), 4.25, "T")
    assert video.metadata == {"title": "T", "tags": ["x"]}
    assert metadata_of({}) == {}


def test_rows_decide_whether_vectors_are_the_same() -> None:
    first = make_payload(a_record(), ROWS, {})
    assert same_vectors(first, make_payload(a_record(Path("/b.mp4")), ROWS, {"title": "T"}))
    assert not same_vectors(first, make_payload(a_record(), ROWS + 1e-6 * ROWS, {}))
    assert not same_vectors(first, make_payload(a_record(), ROWS.reshape(6, 2), {}))


def test_the_timeline() -> None:
    found = timeline_of(make_payload(a_record(), ROWS, {}), SETTINGS)
    assert found == Timeline(4, 0.5, 1.0, 1.0, 4.25)
