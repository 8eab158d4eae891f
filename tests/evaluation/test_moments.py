"""Moments: the seconds of the score over time, and the spans around its peaks."""

import itertools

import numpy as np
import pytest

from dreamprvr.evaluation.moments import (
    Curve,
    MomentRule,
    Timeline,
    best_moments,
    find_moments,
    milliseconds,
    sections,
)

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


def slow_moment(line: Curve, rule: MomentRule) -> tuple[float, float]:
    """Find the best moment of a curve piece by piece, as `find_moments` describes it."""
    scores, last = np.array(line.scores), len(line.scores) - 1
    length = float(np.median(np.subtract(line.ends, line.starts)))
    half = int(rule.smoothing / length) // 2
    smooth = [scores[max(0, i - half) : i + half + 1].mean() for i in range(last + 1)]
    ground, peak = float(np.median(smooth)), int(np.argmax(smooth))
    level = ground + rule.share * (smooth[peak] - ground)
    low = high = peak
    while True:  # the better neighbour first
        left = smooth[low - 1] if low > 0 and smooth[low - 1] >= level else -np.inf
        right = smooth[high + 1] if high < last and smooth[high + 1] >= level else -np.inf
        wider = (low - 1, high) if left >= right else (low, high + 1)
        if (
            max(left, right) == -np.inf
            or line.ends[wider[1]] - line.starts[wider[0]] > rule.longest
        ):
            break
        low, high = wider
    start, end = line.starts[low], line.ends[high]
    if end - start < rule.shortest:
        start = max(line.starts[0], start - (rule.shortest - (end - start)) / 2)
        end = min(line.ends[last], start + rule.shortest)
        start = max(line.starts[0], end - rule.shortest)
    return start, end


@pytest.mark.parametrize(
    "rule", [PLAIN, MomentRule(smoothing=7.0, share=0.3, shortest=4.0, longest=20.0)]
)
def test_moments_of_many_curves_are_those_of_each(rule: MomentRule) -> None:
    random = np.random.default_rng(0)
    starts, ends = np.full((2, 300, 150), np.nan)
    scores = np.full((300, 150), -np.inf)
    lines = []
    for number, length in enumerate(random.integers(1, 151, 300)):
        cuts = random.uniform(0.3, 3.0, length + 1).cumsum()
        values = random.standard_normal(length)
        lines.append(Curve(*map(tuple, (cuts[:-1], cuts[1:], values.cumsum()))))
        starts[number, :length], ends[number, :length] = cuts[:-1], cuts[1:]
        scores[number, :length] = lines[-1].scores
    found = np.stack(best_moments(starts, ends, scores, rule), axis=1)
    expected = [slow_moment(line, rule) for line in lines]
    np.testing.assert_allclose(found, np.array(expected) - 0.0005, rtol=0, atol=0.0005 + 1e-9)
    if rule.longest == 20:
        assert sum(end - start > 18 for start, end in expected) > 20  # some were shortened
    for line, (start, end) in zip(lines, found.tolist(), strict=True):
        moment = find_moments(line, 1, rule)[0]
        assert (moment.start, moment.end) == (start, end)


def test_seconds_are_cut_to_milliseconds() -> None:
    found = milliseconds(np.array([20.400000000000002, 20.399999999999999, 7.0, 9.9996, 0.0004]))
    assert found.tolist() == [20.4, 20.4, 7.0, 9.999, 0.0]


# Seconds


def test_rows_that_follow_each_other_are_their_own_pieces():
    starts, ends = Timeline(4, 3.0, 2.0, 2.0, 10.5).pieces()
    assert starts.tolist() == [3, 5, 7, 9]
    assert ends.tolist() == [5, 7, 9, 10.5]


def test_overlapping_windows_meet_halfway():
    starts, ends = Timeline(3, 0.0, 1.0, 3.0, 5.0).pieces()
    assert starts.tolist() == [0, 2, 3]
    assert ends.tolist() == [2, 3, 5]


def test_windows_with_gaps_keep_their_seconds():
    starts, ends = Timeline(2, 0.0, 4.0, 1.0, 9.0).pieces()
    assert starts.tolist() == [0, 4]
    assert ends.tolist() == [1, 5]


@pytest.mark.parametrize("rows", [1, 2, 7, 50])
@pytest.mark.parametrize("window", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("duration", [0.0, 3.2, 60.0])
def test_pieces_ascend_and_none_is_empty(rows: int, window: float, duration: float):
    starts, ends = Timeline(rows, 0.25, 1.0, window, duration).pieces()
    assert (ends > starts).all()
    assert (starts[1:] >= ends[:-1] - 1e-9).all()


@pytest.mark.parametrize(("rows", "longest"), [(1, 128), (128, 128), (129, 128), (1000, 128)])
def test_sections_are_as_few_and_as_equal_as_can_be(rows: int, longest: int):
    found = sections(rows, longest)
    sizes = [part.stop - part.start for part in found]
    assert found[0].start == 0
    assert sum(sizes) == rows == found[-1].stop
    assert max(sizes) <= longest
    assert max(sizes) - min(sizes) <= 1
    assert len(found) == -(-rows // longest)


@pytest.mark.parametrize("rows", [128, 129, 300])
def test_pooled_frames_share_the_seconds_of_their_rows(rows: int) -> None:
    timeline = Timeline(rows, 1.0, 2.0, 3.0, 2.0 * rows + 2)
    starts, ends = timeline.pieces(128)
    assert len(starts) == 128
    assert (starts[0], ends[-1]) == (1.0, timeline.pieces()[1][-1])
    np.testing.assert_allclose(starts[1:], ends[:-1])
    assert np.diff(starts).max() - np.diff(starts).min() <= 2.0
    assert timeline.pieces(rows)[0].tolist() == timeline.pieces()[0].tolist()
