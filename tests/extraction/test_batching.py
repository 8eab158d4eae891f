import numpy as np
import pytest
import torch
from extraction.clock_encoder import ClockEncoder
from extraction.movies import picture

from dreamprvr.core.errors import UserError
from dreamprvr.extraction import batching
from dreamprvr.extraction.batching import Batcher


def window(seconds: float) -> np.ndarray:
    return picture(seconds)[None]


def test_a_batch_holds_windows_of_several_videos() -> None:
    encoder = ClockEncoder()
    batcher = Batcher(encoder, 4)
    for name, seconds in [("a", 1), ("a", 2), ("b", 3), ("b", 4), ("b", 5)]:
        batcher.add(name, window(seconds))
    assert encoder.batches == [4]
    assert batcher.is_complete("a")
    assert not batcher.is_complete("b")
    batcher.flush()
    assert encoder.batches == [4, 1]
    assert batcher.is_complete("b")
    assert batcher.take("b")[:, 0].tolist() == [3, 4, 5]
    assert batcher.take("a")[:, 0].tolist() == [1, 2]
    batcher.flush()
    assert encoder.batches == [4, 1]


def test_a_failed_video_leaves_nothing() -> None:
    encoder = ClockEncoder()
    batcher = Batcher(encoder, 3)
    for name in "aabab":
        batcher.add(name, window(1))
    batcher.forget("a")
    batcher.flush()
    assert encoder.batches == [3, 1]
    assert len(batcher.take("b")) == 2
    batcher.add("a", window(7))
    batcher.flush()
    assert batcher.take("a")[:, 0].tolist() == [7]


def test_large_windows_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BATCH_BYTES", 2 * window(0).nbytes)
    encoder = ClockEncoder()
    batcher = Batcher(encoder, 100)
    for seconds in range(5):
        batcher.add("a", window(seconds))
    batcher.flush()
    assert encoder.batches == [2, 2, 1]
    assert batcher.take("a")[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_an_encoder_that_breaks_its_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    batcher = Batcher(ClockEncoder(), 1)
    monkeypatch.setattr(ClockEncoder, "encode_windows", lambda self, w: torch.zeros(1, 2))
    with pytest.raises(UserError, match=r"clock gave rows of shape \(1, 2\), not \(1, 3\)"):
        batcher.add("a", window(0))


def test_a_full_device() -> None:
    def full(count: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(UserError, match=r"a batch of 1 windows does not fit .* --batch_size"):
        Batcher(ClockEncoder(full), 1).add("a", window(0))
