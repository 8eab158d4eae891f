import math
from typing import Any

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 10, "num_heads": 4}, "hidden_size 10 is not a multiple of .*num_heads 4"),
        ({"hidden_size": 9, "num_heads": 3}, "hidden_size 9 must be even"),
        ({"hidden_size": 0}, "hidden_size is 0; at least 2"),
        ({"num_heads": 0}, "num_heads is 0; at least 1"),
        ({"num_registers": -1}, "num_registers is -1; at least 0"),
        (
            {"num_registers": 0, "registers": "my_lab.LastClips"},
            "network.registers my_lab.LastClips would never be used, since .*num_registers is 0",
        ),
        ({"diffusion_steps": 0}, "diffusion_steps is 0; at least 1"),
        ({"num_clips": 0}, "num_clips is 0; at least 1"),
        ({"max_frames": 0}, "max_frames is 0; at least 1"),
        ({"max_words": -3}, "max_words is -3; at least 1"),
        ({"denoiser_blocks": 0}, "denoiser_blocks is 0; at least 1"),
        ({"softmax_temperature": 0.0}, "softmax_temperature 0.0 must be > 0"),
        ({"softmax_temperature": -0.5}, "softmax_temperature -0.5 must be > 0"),
        ({"softmax_temperature": math.nan}, "softmax_temperature nan must be > 0"),
        ({"dropout": -0.1}, "network.dropout is -0.1; from 0 to below 1"),
        ({"dropout": 1.0}, "network.dropout is 1.0; from 0 to below 1"),
        ({"input_dropout": math.nan}, "network.input_dropout is nan; from 0 to below 1"),
        ({"clip_weight": -0.6}, "clip_weight is -0.6; at least 0"),
        ({"frame_weight": math.nan}, "frame_weight is nan; at least 0"),
        ({"text_perturbation": -1.0}, "text_perturbation is -1.0; at least 0"),
        ({"gaussian_widths": (1.0, 0.0)}, r"gaussian_widths \(1.0, 0.0\) must all be > 0"),
        ({"initial_register": "Mean"}, "initial_register is 'Mean'; one of mean, sample"),
        ({"reverse_noise": "normal"}, "reverse_noise is 'normal'; one of register, gaussian"),
        ({"training_noise": None}, "training_noise is None; one of register, gaussian"),
        ({"time_table": ""}, "time_table is ''; one of random, sinusoidal"),
        ({"padded_frames": ["zero"]}, r"padded_frames is \['zero'\]; one of zero, ignore"),
    ],
)
def test_settings_that_make_no_network_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DreamPRVRConfig(**changes)


def test_smallest_values_are_taken() -> None:
    config = DreamPRVRConfig(
        hidden_size=2, num_heads=1, num_registers=0, diffusion_steps=1, num_clips=1, max_frames=1
    )
    assert config.hidden_size == 2


@pytest.mark.parametrize(
    "choices",
    [
        {"initial_register": "sample", "reverse_noise": "gaussian", "training_noise": "gaussian"},
        {"time_table": "sinusoidal", "padded_frames": "ignore"},
        {"gaussian_widths": [], "dropout": 0, "clip_weight": 0},  # as a checkpoint gives them
    ],
)
def test_all_other_settings_are_taken(choices: dict[str, Any]) -> None:
    config = DreamPRVRConfig(**choices)
    assert {name: getattr(config, name) for name in choices} == choices
