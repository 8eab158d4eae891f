from dataclasses import dataclass

import numpy as np
import pytest

from dreamprvr.evaluation.moments import Timeline
from dreamprvr.search.curve import clip_rows, register_cosines, score_curve
from dreamprvr.search.engine import Record
from dreamprvr.search.vectors import unit

RANDOM = np.random.default_rng(0)
QUERY = unit(RANDOM.standard_normal(4))


@dataclass
class Cut:
    clip_weight: float = 0.6
    frame_weight: float = 0.4
    section: int = 8
    clips: int = 4
    registers: int = 2
    dim: int = 4


def record(rows: int, clips: int, registers: int = 0) -> Record:
    def part(count: int) -> np.ndarray:
        return unit(RANDOM.standard_normal((count, 4)).reshape(count, 4))

    return Record("a", part(clips), part(rows), part(1), part(registers), {})


def test_untrained_the_curve_is_the_cosine_of_each_row():
    video = record(5, 0)
    found = score_curve(video, QUERY, Cut(0.0, 1.0, 8, 0, 0), Timeline(5, 1.0, 2.0, 2.0, 11.0))
    np.testing.assert_allclose(found.scores, video.frames @ QUERY, atol=1e-6)
    assert found.starts == (1, 3, 5, 7, 9)
    assert found.ends == (3, 5, 7, 9, 11)


@pytest.mark.parametrize("rows", [1, 3, 8, 9, 21])
def test_each_row_has_its_frame_and_its_best_clip(rows: int):
    model = Cut()
    cut = clip_rows(rows, model.section, model.clips)
    video = record(rows, len(cut))
    found = score_curve(video, QUERY, model, Timeline(rows, 0.0, 1.0, 1.0, float(rows)))
    for row in range(rows):
        mine = [float(video.clips[i] @ QUERY) for i, part in enumerate(cut)
                if part.start <= row < part.stop]  # fmt: skip
        expected = 0.6 * max(mine) + 0.4 * float(video.frames[row] @ QUERY)
        assert found.scores[row] == pytest.approx(expected, abs=1e-6)
    best = 0.6 * (video.clips @ QUERY).max() + 0.4 * (video.frames @ QUERY).max()
    assert max(found.scores) <= best + 1e-6


def test_registers_show_the_best_of_all_sections():
    video = record(4, 0, registers=6)
    products = video.registers @ QUERY
    expected = [max(products[0], products[2], products[4]), max(products[1::2])]
    np.testing.assert_allclose(register_cosines(video, QUERY, 2), expected, atol=1e-6)
    assert register_cosines(record(4, 0), QUERY, 0) == ()
