import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_modules.generation.simulated_video import (
    Event,
    Mixture,
    SimulatedVideos,
    Simulation,
    orthonormal,
    unit,
)
from dreamprvr.core.errors import UserError

E, F = 12, 40
NOTHING = Mixture(0, 0, 0, 0, 0, 4, 0)
SETTINGS = Simulation(video_dim=F, mixture=NOTHING)
PROJECTION = orthonormal(E, F, 0, "test")
MEANINGS = unit(np.random.default_rng(0).standard_normal((20, E)).astype(np.float32))


def rows(mixture: Mixture, events: list[Event], name: str = "v", **sizes: Any) -> np.ndarray:
    videos = SimulatedVideos(PROJECTION, replace(SETTINGS, mixture=mixture, **sizes))
    return videos.rows(name, 20.0, events, MEANINGS)


@pytest.mark.parametrize(("rows", "columns"), [(12, 40), (40, 12), (8, 8)])
def test_orthonormal(rows: int, columns: int) -> None:
    matrix = orthonormal(rows, columns, 0, "a")
    assert matrix.shape == (rows, columns)
    gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(min(rows, columns)), atol=1e-5)
    assert not np.allclose(matrix, orthonormal(rows, columns, 0, "b"))
    assert not np.allclose(matrix, orthonormal(rows, columns, 1, "a"))


def test_a_moment_shows_its_sentence_and_overlaps_average() -> None:
    signal = replace(NOTHING, signal=1)
    video = rows(signal, [Event(2, 10, MEANINGS[0]), Event(8, 12, MEANINGS[1])])
    assert video.shape == (20, F)
    assert video.dtype == np.float32
    expected = np.zeros((20, E), np.float32)
    expected[2:8], expected[8:10], expected[10:12] = (
        MEANINGS[0],
        (MEANINGS[0] + MEANINGS[1]) / 2,
        MEANINGS[1],
    )
    np.testing.assert_allclose(video, expected @ PROJECTION, atol=1e-6)


@pytest.mark.parametrize(("start", "end", "row"), [(5.6, 5.9, 5), (20, 20, 19), (9, 8, 8)])
def test_a_moment_between_two_rows_still_shows(start: float, end: float, row: int) -> None:
    video = rows(replace(NOTHING, signal=1), [Event(start, end, MEANINGS[0])])
    assert np.abs(video).sum(axis=1).nonzero()[0].tolist() == [row]


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ({}, 20),
        ({"rows_per_second": 2.5}, 50),
        ({"max_rows": 7}, 7),
        ({"rows_per_second": 0.01}, 1),
    ],
)
def test_row_count(sizes: dict[str, Any], count: int) -> None:
    assert rows(Mixture(), [Event(0, 5, MEANINGS[0])], **sizes).shape == (count, F)


def test_distractors_are_elsewhere_and_come_from_the_pool() -> None:
    video = rows(replace(NOTHING, distractor=0.5), [Event(5, 10, MEANINGS[0])])
    assert not video[5:10].any()
    others = np.delete(video, range(5, 10), axis=0) @ PROJECTION.T  # back to meanings
    distance = np.linalg.norm(others[:, None] - 0.5 * MEANINGS, axis=2).min(axis=1)
    assert distance.max() < 1e-5
    assert 1 < len(np.unique(others.round(4), axis=0)) < 12  # stretches, not single rows


@pytest.mark.parametrize("name", ["scene", "nuisance", "noise"])
def test_nuisances_add_their_norm(name: str) -> None:
    video = rows(replace(NOTHING, **{name: 3}), [])
    assert 2.5 < np.linalg.norm(video, axis=1).mean() < 3.5


def test_nuisances_share_a_subspace() -> None:
    scene = rows(replace(NOTHING, scene=3), [])
    assert (scene == scene[0]).all()
    assert not np.allclose(scene[0], rows(replace(NOTHING, scene=3), [], "w")[0])
    names = [f"v{i}" for i in range(6)]
    shared = np.concatenate([rows(replace(NOTHING, nuisance=3), [], name) for name in names])
    assert np.linalg.matrix_rank(shared, tol=1e-3) == 4


def test_confusion_is_one_direction_a_moment() -> None:
    video = rows(
        replace(NOTHING, confusion=2), [Event(0, 5, MEANINGS[0]), Event(8, 9, MEANINGS[0])]
    )
    np.testing.assert_allclose(np.linalg.norm(video[[0, 8]], axis=1), 2, rtol=1e-5)
    assert (video[:5] == video[0]).all()
    assert not np.allclose(video[0], video[8])


def test_videos_do_not_depend_on_each_other() -> None:
    event = [Event(0, 5, MEANINGS[0])]
    videos = SimulatedVideos(PROJECTION, Simulation(video_dim=F))
    first = videos.rows("a", 20.0, event, MEANINGS)
    videos.rows("b", 20.0, event, MEANINGS)
    assert videos.rows("a", 20.0, event, MEANINGS).tobytes() == first.tobytes()
    other = SimulatedVideos(PROJECTION, Simulation(video_dim=F, seed=1))
    assert not np.allclose(other.rows("a", 20.0, event, MEANINGS), first)


@pytest.mark.parametrize("wrong", [{"dtype": "int8"}, {"rows_per_second": 0}, {"text_dim": -1}])
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="Simulation"):
        Simulation(**wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"rows_per_second": value} for value in (0, -1, math.nan, math.inf, 1e-300, 1e300)
    ] + [{"seed": -1}, {"max_rows": 0}, {"max_tokens": 1.5}, {"mixture": Mixture(noise=math.nan)}],
)  # fmt: skip
def test_settings_have_limits(options: dict) -> None:
    with pytest.raises(UserError, match=r"^Simulation\..*; it must be a"):
        Simulation(**options)
