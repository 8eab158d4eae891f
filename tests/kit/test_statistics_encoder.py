from itertools import pairwise

import numpy as np
import pytest

from dreamprvr.extraction.encoder import Encoder
from tests.kit.film_plan import COLOURS
from tests.kit.render import Placed, draw, inside
from tests.kit.statistics_encoder import (
    DIRECTIONS,
    HUES,
    MOST,
    Blobs,
    StatisticsEncoder,
    find_blobs,
    hue_statistics,
    label,
    layout_statistics,
    motion_statistics,
    shape_statistics,
    word_rows,
)

LENGTH = 8
NET_X, NET_Y, MOVED, GROWTH, SHRINKING = range(DIRECTIONS, DIRECTIONS + 5)
SPIN, GONE = DIRECTIONS + 5, DIRECTIONS + 8


def window(colour: str = "red", step: float = 0.0, height: int = 120) -> np.ndarray:
    frames = np.full((8, height, height * 4 // 3, 3), 80, np.uint8)
    for number, frame in enumerate(frames):
        placed = Placed(0.3 + step * number, 0.5, 0.11, 0.0)
        draw(frame, "circle", np.array(COLOURS[colour], np.uint8), placed)
    return frames


def test_it_is_an_encoder() -> None:
    assert isinstance(StatisticsEncoder(), Encoder)


def test_a_row_a_window_of_any_size() -> None:
    encoder = StatisticsEncoder()
    rows = encoder.encode_windows([window(), window(height=90)])
    assert rows.shape == (2, encoder.video_dim)
    # the same picture in fewer pixels is nearly the same row
    assert (rows[0] - rows[1]).abs().mean() < 0.05


def test_colour_and_motion_change_the_row() -> None:
    still, moving, blue = StatisticsEncoder().encode_windows(
        [window(), window(step=0.05), window("blue")]
    )
    assert (still - moving).abs().max() > 0.3
    assert (still - blue).abs().max() > 0.3


def test_an_empty_window_has_a_finite_row() -> None:
    rows = StatisticsEncoder().encode_windows([np.zeros((8, 60, 80, 3), np.uint8)])
    assert np.isfinite(rows.numpy()).all()


@pytest.mark.parametrize("colour", [name for name in COLOURS if name != "white"])
def test_hues_give_different_features(colour: str) -> None:
    def best(name: str) -> int:
        return int(hue_statistics(np.array([COLOURS[name]], np.float32)).argmax())

    assert best(colour) < HUES
    assert best("white") == HUES


def test_forms_of_a_word_are_alike_and_order_counts() -> None:
    square, squares, meadow = (
        word_rows("square")[0],
        word_rows("squares")[0],
        word_rows("meadow")[0],
    )
    assert square @ squares > square @ meadow + 0.1
    assert not np.allclose(word_rows("left to right")[-1], word_rows("to left right")[-1])


def test_no_word_is_still_a_row() -> None:
    assert word_rows("?!").shape == (1, StatisticsEncoder.text_dim)


def test_a_query_has_words_and_no_sentence() -> None:
    features = StatisticsEncoder().encode_query("two red circles")
    assert features.words.shape == (3, StatisticsEncoder.text_dim)
    assert features.sentence is None


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


def test_frames_give_different_features() -> None:
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


def test_an_empty_mask_has_no_blob() -> None:
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


def blobs(steps: list[list[Placed]], shape: str = "square") -> Blobs:
    frames = np.zeros((len(steps), 66, 88, 3), np.uint8)
    for frame, placed in zip(frames, steps, strict=True):
        for one in placed:
            draw(frame, shape, np.array((255, 0, 0), np.uint8), one)
    return find_blobs(frames[..., 0] > 0)


def moving(dx: float, dy: float) -> Blobs:
    return blobs([[Placed(0.65 + dx * i, 0.5 + dy * i, 0.1, 0)] for i in range(-4, 4)])


@pytest.mark.parametrize(("dx", "dy"), [(0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)])
def test_net_motion_has_the_direction(dx: float, dy: float) -> None:
    row = motion_statistics(moving(dx, dy), LENGTH)
    assert row[NET_X] == pytest.approx(np.sign(dx), abs=0.05)
    assert row[NET_Y] == pytest.approx(np.sign(dy), abs=0.05)
    assert row[MOVED] > 0.9


def test_blobs_at_rest_have_no_motion() -> None:
    assert np.abs(motion_statistics(moving(0, 0), LENGTH)).max() < 0.05


def test_growing_and_shrinking_differ() -> None:
    steps = [[Placed(0.65, 0.5, 0.05 + 0.01 * i, 0)] for i in range(LENGTH)]
    grows, shrinks = (motion_statistics(blobs(s), LENGTH) for s in (steps, steps[::-1]))
    assert grows[GROWTH] > 0.5
    assert grows[SHRINKING] == 0
    assert shrinks[SHRINKING] > 0.5
    assert shrinks[GROWTH] == 0


def test_rotation_is_measured() -> None:
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


def test_statistics_of_empty_frames_are_zero() -> None:
    empty = blobs([[]] * LENGTH)
    assert not shape_statistics(empty).any()
    assert not layout_statistics(empty, LENGTH).any()
    assert not motion_statistics(empty, LENGTH).any()
