import numpy as np
import pytest

from benchmarks.moments import Caption, choose, measure, overlap
from dreamprvr.evaluation.moments import MomentRule
from dreamprvr.search.results import Curve


def caption(low: float = 0.0) -> Caption:
    """An event from second 40 to 50, its edges at a quarter of its height."""
    scores = np.full(90, low)
    scores[40:50], scores[43:47] = low + 0.25, low + 1.0
    starts = tuple(map(float, range(90)))
    return Caption(Curve(starts, tuple(s + 1 for s in starts), tuple(scores.tolist())), ((40, 50),))


def test_overlap_takes_the_best_of_several_moments() -> None:
    assert overlap((0, 4), [(10, 12), (2, 6)]) == pytest.approx(2 / 6)
    assert overlap((0, 1), [(2, 3)]) == 0


def test_an_exact_rule_is_right_to_the_second() -> None:
    row = measure([caption()], MomentRule(smoothing=0, share=0.2))
    assert row["mean IoU %"] == row["IoU 0.5 %"] == 100
    assert row["peak, median error s"] < 2


def test_a_higher_share_finds_the_core_only() -> None:
    assert measure([caption()], MomentRule(smoothing=0, share=0.5))["mean IoU %"] == pytest.approx(
        40
    )


def test_without_a_rule_it_is_the_middle_third() -> None:
    assert measure([caption()], None)["mean IoU %"] == pytest.approx(100 / 3)


def test_the_rule_that_fits_is_chosen() -> None:
    rule = choose([caption(), caption(0.1)])
    assert rule.smoothing == 0
    assert rule.share < 0.25
