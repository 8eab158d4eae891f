import numpy as np
import pytest

from dreamprvr.search.vectors import segment_means, unit


def test_unit_keeps_zero_rows() -> None:
    found = unit(np.array([[0.0, 0.0], [3.0, -4.0]]))
    np.testing.assert_allclose(found, [[0, 0], [0.6, -0.8]], rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("rows", "section", "segments"), [(3, 128, 3), (20, 128, 16), (40, 20, 32)]
)
def test_segments_of_each_section(rows: int, section: int, segments: int) -> None:
    frames = unit(np.random.default_rng(0).standard_normal((rows, 5)))
    found = segment_means(frames, section)
    assert found.shape == (segments, 5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_a_segment_is_the_mean_direction_of_its_rows() -> None:
    frames = np.repeat(np.eye(8, dtype=np.float32), 4, axis=0)
    expected = np.repeat(np.eye(8), 2, axis=0)
    np.testing.assert_allclose(segment_means(frames, 128)[:15], expected[:15], atol=1e-6)
