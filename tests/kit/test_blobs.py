import numpy as np
import pytest

from tests.kit.blobs import find_blobs, label
from tests.kit.drawing import inside


def picture(shape: str, radius: float = 12.0, turn: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:60, :80] + 0.5
    u, v = (x - 40) / radius, (y - 30) / radius
    cos, sin = np.cos(turn), np.sin(turn)
    return inside(shape, cos * u + sin * v, cos * v - sin * u)[None]


def test_neighbours_share_a_label_and_corners_do_not() -> None:
    mask = np.array([[[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]]], dtype=bool)
    assert label(mask).tolist() == [0, 0, 0, 1, 1, 1]


def test_a_bent_blob_is_one() -> None:
    mask = np.array([[[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]]], dtype=bool)
    assert set(label(mask).tolist()) == {0}


def test_frames_are_told_apart() -> None:
    mask = np.ones((2, 4, 4), dtype=bool)
    assert find_blobs(mask).frame.tolist() == [0, 1]


def test_centre_and_area_are_in_units_of_the_height() -> None:
    blobs = find_blobs(picture("circle"))
    assert blobs.x == pytest.approx([(40 - 0.5) / 60])
    assert blobs.y == pytest.approx([(30 - 0.5) / 60])
    assert blobs.area == pytest.approx([np.pi * (12 / 60) ** 2], rel=0.02)


def test_specks_are_left_out() -> None:
    mask = np.zeros((1, 20, 20), dtype=bool)
    mask[0, 3, 3:6] = True
    assert len(find_blobs(mask).frame) == 0


def test_nothing_is_no_blob() -> None:
    assert len(find_blobs(np.zeros((3, 8, 8), dtype=bool)).frame) == 0


def test_border_cuts_a_blob() -> None:
    assert find_blobs(picture("square")).whole.tolist() == [True]
    assert find_blobs(picture("square")[:, 22:]).whole.tolist() == [False]


@pytest.mark.parametrize(("shape", "symmetry"), [("triangle", 1), ("cross", 2)])
def test_symmetry_of_a_turned_shape(shape: str, symmetry: int) -> None:
    for turn in (0.0, 0.4):
        assert abs(find_blobs(picture(shape, 20, turn)).harmonics[0]).argmax() == symmetry


def test_a_ring_has_no_middle() -> None:
    assert find_blobs(picture("ring")).radial[0, :2].sum() == 0
    assert find_blobs(picture("circle")).radial[0, :2].sum() > 0.1
