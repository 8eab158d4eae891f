from itertools import pairwise

import numpy as np
import pytest
from shared import REFERENCE, needs_reference

from data_modules.loading.pooling import clips, frames, normalise, pool
from dreamprvr.core.errors import UserError


def slow_pool(features: np.ndarray, length: int) -> np.ndarray:
    total = len(features)
    bounds = [min(round(i / length * total), total - 1) for i in range(length + 1)]
    rows = [
        features[start:stop].mean(0) if start < stop else features[start]
        for start, stop in pairwise(bounds)
    ]
    return np.stack(rows)


@needs_reference
def test_golden_vectors():
    from safetensors.numpy import load_file

    golden = load_file(REFERENCE / "pooling.safetensors")
    sizes = sorted(int(name.split("/")[1]) for name in golden if name.startswith("in/"))
    assert len(sizes) > 15
    for size in sizes:
        video = golden[f"in/{size}"]
        np.testing.assert_allclose(clips(video), golden[f"clip/{size}"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(frames(video), golden[f"frame/{size}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 7, 24, 32, 100, 128])
def test_pool_equals_the_slow_reference(length: int):
    generator = np.random.default_rng(length)
    for total in [*range(1, 70), 127, 128, 129, 300, 1001]:
        video = generator.normal(size=(total, 3))
        pooled = pool(video, length)
        assert pooled.shape == (length, 3)
        assert pooled.dtype == np.float32
        np.testing.assert_allclose(pooled, slow_pool(video, length), rtol=0, atol=1e-6)


def test_single_row_is_repeated():
    row = np.array([[1.5, -2.0]], np.float32)
    np.testing.assert_array_equal(clips(row), np.repeat(row, 32, axis=0))
    np.testing.assert_array_equal(frames(row), row)


@pytest.mark.parametrize("total", [2, 31, 32, 33, 500])
def test_constant_video_pools_to_the_constant(total: int):
    np.testing.assert_array_equal(pool(np.full((total, 4), 0.25), 32), np.full((32, 4), 0.25))


def test_last_row_only_counts_where_its_range_would_be_empty():
    video = np.zeros((64, 1), np.float32)
    video[-1] = 1.0  # the last boundary is clamped to N - 1, so this row is left out
    assert not clips(video).any()
    assert clips(np.arange(32.0)[:, None])[-1] == 31.0


def test_sums_do_not_lose_small_rows_to_large_ones():
    video = np.full((20_001, 1), 0.1, np.float32)
    video[0] = 1e7
    expected = (1e7 + 0.1 * 19_999) / 20_000
    assert pool(video, 1)[0, 0] == pytest.approx(expected, rel=1e-7)


def test_half_precision_input_is_accumulated_in_full():
    video = np.full((4097, 1), 1.0, np.float16)
    assert pool(video, 1)[0, 0] == 1.0


def test_frames_keep_short_videos_as_they_are():
    video = np.random.default_rng(0).normal(size=(128, 5)).astype(np.float32)
    np.testing.assert_array_equal(frames(video), video)
    assert frames(np.repeat(video, 2, axis=0)).shape == (128, 5)
    assert frames(video, max_length=16).shape == (16, 5)


def test_normalise_divides_by_norm_plus_epsilon():
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [3e-5, 4e-5]], np.float32)
    expected = np.array([[3 / 5.00001, 4 / 5.00001], [0, 0], [3 / 6, 4 / 6]])
    np.testing.assert_allclose(normalise(rows), expected, rtol=1e-6)
    assert normalise(rows).dtype == np.float32


def test_normalise_survives_values_whose_squares_overflow():
    np.testing.assert_allclose(normalise(np.array([[1e30, 0.0]], np.float32)), [[1.0, 0.0]])


@pytest.mark.parametrize("shape", [(0, 4), (4,), (2, 3, 4)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]):
    for view in (clips, frames):
        with pytest.raises(UserError, match="at least one row"):
            view(np.zeros(shape))


def test_length_must_be_positive():
    with pytest.raises(UserError, match="at least 1"):
        pool(np.zeros((3, 2)), 0)
