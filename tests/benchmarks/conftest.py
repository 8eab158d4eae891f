"""The product's tiny network and the baseline with the same weights."""

from collections.abc import Callable

import pytest
from models.tiny import TEXT_DIM, VIDEO_DIM, network

from benchmarks.baseline.network import Baseline
from dreamprvr.models.dreamprvr.network import DreamPRVR

Pair = tuple[DreamPRVR, Baseline]


@pytest.fixture
def pair() -> Callable[..., Pair]:
    """Makes both, in float64; takes changes of the configuration."""

    def make(**changes: object) -> Pair:
        product = network(**changes)
        baseline = Baseline(VIDEO_DIM, TEXT_DIM, product.config).double()
        baseline.load_state_dict(product.state_dict())
        return product, baseline

    return make
