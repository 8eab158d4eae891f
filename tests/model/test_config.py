from typing import Any

import pytest

from dreamprvr.errors import UserError
from dreamprvr.model.config import NetworkConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 10, "num_heads": 4}, "hidden_size 10 is not a multiple of .*num_heads 4"),
        ({"hidden_size": 9, "num_heads": 3}, "hidden_size 9 must be even"),
        ({"hidden_size": 0}, "hidden_size is 0; at least 2"),
        ({"num_heads": 0}, "num_heads is 0; at least 1"),
        ({"num_registers": -1}, "num_registers is -1; at least 0"),
        ({"diffusion_steps": 0}, "diffusion_steps is 0; at least 1"),
        ({"num_clips": 0}, "num_clips is 0; at least 1"),
        ({"max_frames": 0}, "max_frames is 0; at least 1"),
        ({"max_words": -3}, "max_words is -3; at least 1"),
        ({"denoiser_blocks": 0}, "denoiser_blocks is 0; at least 1"),
        ({"softmax_temperature": 0.0}, "softmax_temperature 0.0 must be > 0"),
        ({"softmax_temperature": -0.5}, "softmax_temperature -0.5 must be > 0"),
    ],
)
def test_what_makes_no_network_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        NetworkConfig(**changes)


def test_smallest_values_are_taken() -> None:
    config = NetworkConfig(
        hidden_size=2, num_heads=1, num_registers=0, diffusion_steps=1, num_clips=1, max_frames=1
    )
    assert config.hidden_size == 2
