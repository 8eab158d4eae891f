import pytest
from torch import Tensor

from benchmarks.accelerated import Training, matmul_ceiling, step_flops
from benchmarks.inputs import settings
from benchmarks.resident import ResidentSplit
from dreamprvr.core.batch import TrainBatch

CHOSEN = settings("synthetic")


@pytest.fixture
def split() -> ResidentSplit:
    return ResidentSplit(CHOSEN, videos=3, captions=2, device="cpu")


def test_operations_grow_with_the_batch(split: ResidentSplit) -> None:
    one, two = (step_flops(CHOSEN, split, batch, "cpu") for batch in (1, 2))
    # all of a step but the pooling's GRU is done for each video
    assert 1.8 * one < two < 2.2 * one
    # each video passes forwards once and backwards twice through the input projections, at least
    network, rows = CHOSEN.network, CHOSEN.network.num_clips + CHOSEN.network.max_frames
    assert one > 3 * 2 * rows * CHOSEN.video_dim * network.hidden_size * 0.6


def test_ceiling() -> None:
    assert matmul_ceiling("cpu", 16, repeats=2) > 0


def test_what_is_timed(split: ResidentSplit) -> None:
    training = Training(CHOSEN, split, 2, "cpu")
    seen: list[int] = []
    step = training.step

    def counted(batch: TrainBatch) -> Tensor:
        seen.append(len(batch.videos.row))
        return step(batch)

    training.step = counted
    assert training.warmup_seconds > 0
    assert training.seconds_a_step(2) > 0
    assert seen == [2, 2]
    assert training.epoch_seconds() > 0
    assert seen == [2, 2, 2, 1]
    assert training.synchronisation() is None  # the CPU cannot tell
