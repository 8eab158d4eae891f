import numpy as np
import pytest

from dreamprvr.extraction.encoders import Encoder
from tests.kit.drawing import Placed, draw
from tests.kit.statistics_encoder import HUES, StatisticsEncoder, hue_statistics, word_rows
from tests.kit.vocabulary import COLOURS


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
def test_hues_are_told_apart(colour: str) -> None:
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
