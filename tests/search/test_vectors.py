import numpy as np

from dreamprvr.search.vectors import SEGMENTS, segment_means, unit


def test_rows_get_unit_length_and_zeros_stay():
    rows = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(unit(rows), [[0.6, 0.8], [0, 0]], atol=1e-7)
    assert unit(rows).dtype == np.float32


def test_segments_are_means_of_equal_parts_of_each_section():
    frames = np.random.default_rng(0).standard_normal((48, 5)).astype(np.float32)
    found = segment_means(frames, 24)
    assert found.shape == (2 * SEGMENTS, 5)
    # 24 rows in 8 parts of 3; pooling leaves out a section's last row
    for number in (0, 3, SEGMENTS, SEGMENTS + 2):
        np.testing.assert_allclose(
            found[number], unit(frames[3 * number : 3 * number + 3].mean(axis=0)), atol=1e-6
        )


def test_a_short_video_has_no_more_segments_than_rows():
    frames = unit(np.random.default_rng(0).standard_normal((3, 5)))
    found = segment_means(frames, 128)
    np.testing.assert_allclose(found, frames, atol=1e-6)
