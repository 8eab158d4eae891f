import numpy as np
import pytest

from data_modules.loading.pooling import clips
from dreamprvr.search.timeline import Timeline, clip_rows, sections


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


@pytest.mark.parametrize("rows", [1, 5, 31, 32, 33, 100, 300])
def test_clips_know_the_rows_that_they_were_pooled_from(rows: int):
    values = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    cut = clip_rows(rows, 128, 32)
    places = [part for part in sections(rows, 128)]
    pooled = np.concatenate([clips(values[part], 32) for part in places])
    assert len(cut) == len(pooled) == 32 * len(places)
    covered = np.zeros(rows, dtype=bool)
    for number, (part, row) in enumerate(zip(cut, pooled, strict=True)):
        covered[part] = True
        last = number % 32 == 31  # was given a row that pooling leaves out
        if not last:
            np.testing.assert_allclose(values[part].mean(axis=0), row, atol=1e-6)
    assert covered.all()
