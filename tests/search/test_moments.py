import itertools

import numpy as np
import pytest

from dreamprvr.search.moments import MomentRule, find_moments
from dreamprvr.search.results import Curve

PLAIN = MomentRule(smoothing=0.0, share=0.5, shortest=2.0, longest=90.0, gap=1.0, least=0.3)


def curve(scores: list[float], step: float = 1.0) -> Curve:
    starts = [step * i for i in range(len(scores))]
    return Curve(tuple(starts), tuple(s + step for s in starts), tuple(scores))


def test_a_plateau_is_found_to_the_second():
    scores = [0.0] * 30
    scores[10:16] = [0.8, 0.9, 1.0, 0.9, 0.8, 0.7]
    (moment,) = find_moments(curve(scores), 3, PLAIN)
    assert (moment.start, moment.end) == (10, 16)
    assert moment.peak == 12.5
    assert moment.score == 1.0


def test_the_next_best_moments_come_by_height_and_do_not_touch():
    scores = [0.0] * 60
    scores[5:9] = [0.6] * 4
    scores[30:34] = [1.0] * 4
    scores[50:52] = [0.2] * 2  # below `least` of the first
    found = find_moments(curve(scores), 5, PLAIN)
    assert [(m.start, m.end) for m in found] == [(30, 34), (5, 9)]
    assert len(find_moments(curve(scores), 1, PLAIN)) == 1


def test_a_short_peak_is_widened_evenly_and_stays_in_the_video():
    scores = [0.0] * 20
    scores[10] = 1.0
    rule = MomentRule(smoothing=0.0, shortest=4.0)
    (moment,) = find_moments(curve(scores), 1, rule)
    assert (moment.start, moment.end) == (8.5, 12.5)
    scores = [1.0, *[0.0] * 19]
    (moment,) = find_moments(curve(scores), 1, rule)
    assert (moment.start, moment.end) == (0, 4)
    (moment,) = find_moments(curve([1.0, 0.0]), 1, rule)  # a video shorter than that
    assert (moment.start, moment.end) == (0, 2)


def test_no_moment_is_longer_than_the_longest():
    scores = [0.0] * 100 + [1.0] * 60
    (moment, *_) = find_moments(curve(scores), 1, MomentRule(smoothing=0.0, longest=20.0))
    assert moment.end - moment.start == 20


def test_a_flat_curve_still_has_one_moment():
    found = find_moments(curve([0.4] * 10), 3, PLAIN)
    assert len(found) == 1
    assert 0 <= found[0].start < found[0].end <= 10
    assert len(find_moments(curve([0.4]), 3, PLAIN)) == 1


def test_smoothing_passes_over_a_single_spike():
    scores = [0.0] * 40
    scores[5] = 1.0
    scores[20:26] = [0.8] * 6
    (best, *_) = find_moments(curve(scores), 1, MomentRule(smoothing=5.0))
    assert best.start >= 17
    assert best.end <= 29


@pytest.mark.parametrize("seed", range(20))
def test_moments_of_random_curves_keep_the_rules(seed: int):
    random = np.random.default_rng(seed)
    length, step = int(random.integers(1, 200)), float(random.choice([0.5, 1.0, 3.0]))
    line = curve(random.standard_normal(length).cumsum().tolist(), step)
    rule = MomentRule()
    found = find_moments(line, 4, rule)
    assert 1 <= len(found) <= 4
    for moment in found:
        assert 0 <= moment.start < moment.end <= line.ends[-1]
        assert moment.start <= moment.peak <= moment.end
        assert moment.end - moment.start <= max(rule.longest, rule.shortest, step) + 1e-9
        assert moment.score in line.scores
    spans = sorted((m.start, m.end) for m in found)
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start >= end


def test_the_gap_between_moments_is_kept():
    scores = [0.0] * 40
    scores[10:14] = [1.0] * 4
    scores[14] = 0.4  # below the level of the first moment
    scores[15:19] = [0.8] * 4
    for gap, start in ((1.0, 15), (3.0, 17)):
        rule = MomentRule(smoothing=0.0, share=0.5, shortest=2.0, longest=90.0, gap=gap, least=0.3)
        first, second = find_moments(curve(scores), 2, rule)
        assert (first.start, first.end) == (10, 14)
        assert (second.start, second.end) == (start, 19)
