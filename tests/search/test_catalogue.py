import os
from pathlib import Path

import numpy as np
from search.libraries import SETTINGS

from dreamprvr.extraction.feature_file import VideoRecord
from dreamprvr.search.catalogue import (
    library_video,
    make_payload,
    metadata_of,
    path_of,
    same_vectors,
    timeline_of,
)
from dreamprvr.search.timeline import Timeline

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
RECORD = VideoRecord("pan", 0.5, 3.25, Path("/films/pan.mp4"), 10, 20, "")


def test_round_trip():
    payload = make_payload(RECORD, ROWS, {"title": "Pan"})
    video = library_video("pan", payload)
    assert (video.video_id, video.path, video.duration) == ("pan", RECORD.path, 3.25)
    assert video.metadata == metadata_of(payload) == {"title": "Pan"}
    expected = Timeline(3, 0.5, SETTINGS.stride, SETTINGS.window, 3.25)
    assert timeline_of(payload, SETTINGS) == expected


def test_a_path_need_not_be_unicode():
    odd = Path(os.fsdecode(b"/films/\xff %41\n.mp4"))
    record = VideoRecord("odd", 0.0, 1.0, odd, 1, 1, "")
    payload = make_payload(record, ROWS, {})
    assert path_of(payload) == odd
    str(payload).encode("utf-8")


def test_the_vectors_are_the_same_if_the_rows_are():
    payload = make_payload(RECORD, ROWS, {})
    moved = VideoRecord("pan", 0.5, 3.25, Path("/other.mp4"), 10, 99, "late")
    assert same_vectors(payload, make_payload(moved, ROWS, {"title": "x"}))
    assert not same_vectors(payload, make_payload(RECORD, ROWS + 1e-3, {}))
    assert not same_vectors(payload, make_payload(RECORD, ROWS.reshape(2, 3), {}))
