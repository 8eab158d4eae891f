from itertools import pairwise

import numpy as np
import pytest

from tests.kit.blobs import Blobs, find_blobs
from tests.kit.drawing import Placed, draw
from tests.kit.motion_statistics import (
    DIRECTIONS,
    MOST,
    layout_statistics,
    motion_statistics,
    shape_statistics,
)

LENGTH = 8
NET_X, NET_Y, MOVED, GROWTH, SHRINKING = range(DIRECTIONS, DIRECTIONS + 5)
SPIN, GONE = DIRECTIONS + 5, DIRECTIONS + 8


def blobs(steps: list[list[Placed]], shape: str = "square") -> Blobs:
    frames = np.zeros((len(steps), 66, 88, 3), np.uint8)
    for frame, placed in zip(frames, steps, strict=True):
        for one in placed:
            draw(frame, shape, np.array((255, 0, 0), np.uint8), one)
    return find_blobs(frames[..., 0] > 0)


def moving(dx: float, dy: float) -> Blobs:
    return blobs([[Placed(0.65 + dx * i, 0.5 + dy * i, 0.1, 0)] for i in range(-4, 4)])


@pytest.mark.parametrize(("dx", "dy"), [(0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)])
def test_net_way_has_the_direction(dx: float, dy: float) -> None:
    row = motion_statistics(moving(dx, dy), LENGTH)
    assert row[NET_X] == pytest.approx(np.sign(dx), abs=0.05)
    assert row[NET_Y] == pytest.approx(np.sign(dy), abs=0.05)
    assert row[MOVED] > 0.9


def test_what_stands_has_no_motion() -> None:
    assert np.abs(motion_statistics(moving(0, 0), LENGTH)).max() < 0.05


def test_growing_and_shrinking_differ() -> None:
    steps = [[Placed(0.65, 0.5, 0.05 + 0.01 * i, 0)] for i in range(LENGTH)]
    grows, shrinks = (motion_statistics(blobs(s), LENGTH) for s in (steps, steps[::-1]))
    assert grows[GROWTH] > 0.5
    assert grows[SHRINKING] == 0
    assert shrinks[SHRINKING] > 0.5
    assert shrinks[GROWTH] == 0


def test_turning_is_seen() -> None:
    steps = [[Placed(0.65, 0.5, 0.15, 0.2 * i)] for i in range(LENGTH)]
    assert motion_statistics(blobs(steps), LENGTH)[SPIN] > 0.3


def test_frames_without_blobs_are_counted() -> None:
    steps = [[Placed(0.65, 0.5, 0.1, 0)] if i % 4 else [] for i in range(LENGTH)]
    assert motion_statistics(blobs(steps), LENGTH)[GONE] == pytest.approx(0.25)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_blobs_are_counted_and_their_layout_seen(count: int) -> None:
    places = [Placed(0.3 + 0.3 * i, 0.5, 0.1, 0) for i in range(count)]
    row = layout_statistics(blobs([places] * LENGTH), LENGTH)
    assert row[:MOST].argmax() == count - 1
    wide, tall = row[MOST : MOST + 2]
    assert wide > tall + 0.3 if count > 1 else wide == tall == 0


def test_shapes_differ() -> None:
    still = [[Placed(0.65, 0.5, 0.2, 0)]]
    rows = [shape_statistics(blobs(still, shape)) for shape in ("square", "triangle", "ring")]
    assert min(np.abs(a - b).max() for a, b in pairwise(rows)) > 0.3


def test_nothing_is_zero() -> None:
    empty = blobs([[]] * LENGTH)
    assert not shape_statistics(empty).any()
    assert not layout_statistics(empty, LENGTH).any()
    assert not motion_statistics(empty, LENGTH).any()
