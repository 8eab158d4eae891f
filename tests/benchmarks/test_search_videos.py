from dataclasses import replace

import numpy as np
import pytest

from benchmarks import search_videos
from benchmarks.search_videos import Videos, records, shelf, video_id

SMALL = Videos(11, dim=24, clips=4, frames=16, concepts=5, events=3, shortest=2)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_videos, "PART", 4)


def test_parts_hold_every_video_once_in_order() -> None:
    parts = list(SMALL.parts())
    assert [(part.start, len(part.frames)) for part in parts] == [(0, 4), (4, 4), (8, 3)]
    for part in parts:
        assert part.clips.shape[1:] == (4, 24)
        assert part.frames.shape[1:] == (16, 24)
        for rows in part[1:]:
            np.testing.assert_allclose(np.linalg.norm(rows, axis=-1), 1, rtol=1e-5)


def test_the_same_videos_again() -> None:
    for first, second in zip(SMALL.parts(), SMALL.parts(), strict=True):
        np.testing.assert_array_equal(first.frames, second.frames)


def test_every_event_is_shown() -> None:
    random = np.random.default_rng(0)
    timeline = SMALL._timeline(random, np.zeros((50, 3, 24)))
    lengths = (timeline[..., None] == np.arange(3)).sum(axis=1)
    assert lengths.min() >= 2
    assert (np.diff(timeline, axis=1) >= 0).all()


def test_queries_are_nearest_to_their_own_video() -> None:
    videos = Videos(11, concepts=200, query_own=1.0, query_noise=0.3)
    frames = np.concatenate([part.frames for part in videos.parts()])
    queries = videos.queries(20)
    best = np.einsum("vmd,qd->qvm", frames, queries.vectors).max(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(best, queries.true)
    assert len(set(queries.true.tolist())) > 3


def test_records() -> None:
    *_, part = replace(SMALL, frames=32).parts()
    made = records(part)
    assert [record.video_id for record in made] == [video_id(v) for v in (8, 9, 10)]
    assert made[1].payload["metadata"] == shelf(9)
    means = part.frames[1].reshape(16, 2, 24).mean(axis=1)
    means[-1] = part.frames[1, -2]  # pooling leaves a video's last row out
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(made[1].segments, expected, rtol=1e-4, atol=1e-6)
