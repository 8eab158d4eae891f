"""Windows against an obvious reference, on random times."""

from dataclasses import dataclass

import numpy as np
import pytest

from dreamprvr.extraction.windows import cut


@dataclass(eq=False)
class Still:
    """A picture of one pixel, whose values are its number."""

    begin: float
    end: float
    number: int
    size: tuple[int, int] = (1, 1)

    def pixels(self) -> np.ndarray:
        return np.full((*self.size, 3), self.number, np.uint8)


def stills(begins: list[float], end: float) -> list[Still]:
    ends = [*begins[1:], end]
    return [Still(b, e, i) for i, (b, e) in enumerate(zip(begins, ends, strict=True))]


def reference(begins, end, fps, window, stride, count):
    """Windows as (begin, end, numbers of pictures), all of the video at hand."""
    start, found, i = begins[0], [], 0
    looks = [start + (j + 0.5) / fps for j in range(int((end - start) * fps) + 2)]
    looks = [t for t in looks if t < end - 1e-4]
    while i == 0 or (start + i * stride < end - 1e-3 and found[-1][1] < end - 1e-3):
        a, b = start + i * stride, min(start + i * stride + window, end)
        inside = [t for t in looks if a - 1e-4 <= t < b - 1e-4]
        if not inside:
            inside = [b - 1e-3]
        seen = [max(n for n, x in enumerate(begins) if x <= t + 1e-4) for t in inside]
        if count:
            seen = [seen[int((k + 0.5) * len(seen) / count)] for k in range(count)]
        found.append((a, b, seen))
        i += 1
    return found


def numbers(windows):
    return [(w.begin, w.end, w.frames[:, 0, 0, 0].tolist()) for w in windows]


@pytest.mark.parametrize("seed", range(60))
def test_random_videos(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.choice([0.02, 0.04, 0.1, 0.5, 2.7], size=rng.integers(1, 60))
    begins = (rng.choice([0.0, 3.2]) + np.cumsum(steps)).round(3).tolist()
    end = begins[-1] + float(rng.choice([0.04, 0.5, 3.0]))
    window = float(rng.choice([0.5, 1.0, 2.5]))
    stride = float(rng.choice([0.25, 0.5, 1.0, 4.0]))
    fps = float(rng.choice([2.0, 3.0, 25.0]))
    count = int(rng.choice([0, 1, 3, 8]))
    found = numbers(cut(stills(begins, end), fps, window, stride, count))
    wanted = reference(begins, end, fps, window, stride, count)
    assert [w[2] for w in found] == [w[2] for w in wanted]
    np.testing.assert_allclose([w[:2] for w in found], [w[:2] for w in wanted], atol=1e-9)


def test_ten_seconds_by_the_second() -> None:
    windows = list(cut(stills([i / 10 for i in range(100)], 10.0), 1.0, 1.0, 1.0, 0))
    assert [(w.begin, w.end) for w in windows] == [(i, i + 1) for i in range(10)]
    assert [w.frames[:, 0, 0, 0].tolist() for w in windows] == [[10 * i + 5] for i in range(10)]


def test_windows_overlap_until_the_end_is_reached() -> None:
    windows = list(cut(stills([i / 2 for i in range(20)], 10.0), 2.0, 4.0, 1.0, 0))
    assert [w.begin for w in windows] == [0, 1, 2, 3, 4, 5, 6]
    assert all(w.frames.shape == (8, 1, 1, 3) for w in windows)


def test_one_picture_is_one_window() -> None:
    (window,) = cut(stills([2.0], 2.0005), 1.0, 1.0, 1.0, 0)
    assert (window.begin, window.end) == (2.0, 2.0005)
    assert window.frames.shape == (1, 1, 1, 3)


def test_a_window_is_given_before_the_next_begins() -> None:
    """No more than a window is ever held."""
    taken = []

    def watched():
        for still in stills([i / 10 for i in range(100)], 10.0):
            taken.append(still.begin)
            yield still

    for window in cut(watched(), 5.0, 1.0, 1.0, 0):
        assert taken[-1] <= window.end + 0.11


def test_pictures_of_another_size_are_scaled_to_the_first() -> None:
    pictures = [Still(0, 0.5, 10, (4, 6)), Still(0.5, 1, 20, (8, 3)), Still(1, 2, 30, (2, 2))]
    first, second = cut(pictures, 2.0, 1.0, 1.0, 0)
    assert first.frames.shape == (2, 4, 6, 3)
    assert first.frames[1].min() == first.frames[1].max() == 20
    assert second.frames.shape == (2, 2, 2, 3)
