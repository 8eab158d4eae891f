"""Files that are no released checkpoint: other parameters, damage, something else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import SAMPLE, variant
from shared import needs_reference

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import DreamPRVR, DreamPRVRConfig
from dreamprvr.training.published_checkpoint import import_checkpoint, read_published


def _drop(state: dict[str, Any]) -> None:
    del state["frame_encoder.layer1.bias"]


def _add(state: dict[str, Any]) -> None:
    state["frame_encoder.layer3.bias"] = torch.zeros(2)


def _resize(state: dict[str, Any]) -> None:
    state["frame_encoder.layer1.bias"] = torch.zeros(7)


def _rename(state: dict[str, Any]) -> None:
    state["Frame.bias"] = state.pop("frame_encoder.layer1.bias")


@needs_reference
@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (_drop, ["1 missing: frame_encoder.aggregation.hidden.bias"]),
        (_add, ["1 extra: frame_encoder.layer3.bias"]),
        (
            _resize,
            ["1 of another size: frame_encoder.aggregation.hidden.bias is (7,), not (32,)"],
        ),
        (
            _rename,
            ["1 missing: frame_encoder.aggregation.hidden.bias", "1 extra: Frame.bias"],
        ),
    ],
)
def test_other_parameters_are_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], messages: list[str]
) -> None:
    path = variant(tmp_path / "a.ckpt", lambda content: change(content["state_dict"]))
    with pytest.raises(UserError) as caught:
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert str(path) in str(caught.value)
    for message in messages:
        assert message in str(caught.value)
    assert not (tmp_path / "out.ckpt").exists()


@needs_reference
@pytest.mark.parametrize(
    ("key", "what"),
    [("query_input_proj.net.1.weight", "text"), ("clip_input_proj.net.1.weight", "video")],
)
def test_a_weight_that_tells_a_size_is_missing(tmp_path: Path, key: str, what: str) -> None:
    path = variant(tmp_path / "a.ckpt", lambda content: content["state_dict"].pop(key))
    with pytest.raises(UserError, match=f"no {key}, which tells the {what} feature size"):
        read_published(path, DreamPRVR, DreamPRVRConfig(hidden_size=32))


@needs_reference
def test_a_size_that_no_network_has(tmp_path: Path) -> None:
    """Heads that do not divide the width."""
    path = variant(tmp_path / "a.ckpt", lambda content: content["config"].update(n_heads=5))
    with pytest.raises(UserError, match="not a multiple"):
        read_published(path, DreamPRVR, DreamPRVRConfig())


@needs_reference
@pytest.mark.parametrize("kept", [0, 10, 1000, -1, -1000])
def test_a_truncated_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(SAMPLE.read_bytes()[:kept])
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        read_published(path, DreamPRVR, DreamPRVRConfig())


@needs_reference
def test_a_file_damaged_in_its_pickle(tmp_path: Path) -> None:
    content = bytearray(SAMPLE.read_bytes())
    where = content.index(b"state_dict")
    content[where - 40 : where + 40] = bytes(80)
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.ckpt is damaged"):
        read_published(path, DreamPRVR, DreamPRVRConfig())


@pytest.mark.parametrize("content", [b"", b"hello\n", "déjà vu\n".encode(), bytes(range(256))])
def test_no_checkpoint_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        read_published(path, DreamPRVR, DreamPRVRConfig())


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.ckpt: no such file"):
        import_checkpoint(tmp_path / "nowhere.ckpt", tmp_path / "out.ckpt", DreamPRVR)
    with pytest.raises(UserError, match="no such file"):
        read_published(tmp_path, DreamPRVR, DreamPRVRConfig())  # a folder


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, {"state_dict": [1]}, torch.ones(3)])
def test_a_torch_file_of_something_else(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="no state_dict"):
        read_published(tmp_path / "a.ckpt", DreamPRVR, DreamPRVRConfig())


@needs_reference
def test_a_checkpoint_of_ours_is_sent_back(tmp_path: Path) -> None:
    import_checkpoint(SAMPLE, tmp_path / "ours.ckpt", DreamPRVR)
    with pytest.raises(UserError, match="this framework already"):
        import_checkpoint(tmp_path / "ours.ckpt", tmp_path / "again.ckpt", DreamPRVR)
    assert not (tmp_path / "again.ckpt").exists()


def _config(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["config"].update(values)


@needs_reference
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_config(n_heads="4"), "num_heads is '4'; it must be a whole number"),
        (_config(n_heads=4.0), "num_heads is 4.0; it must be a whole number"),
        (_config(n_heads=-4), "num_heads is -4; at least 1"),
        (_config(n_heads=10**400), "num_heads is 10+.*; at most 1,000,000"),
        (_config(n_heads=True), "num_heads is True"),
        (_config(drop="0.1"), "dropout is '0.1'; it must be a number"),
        (_config(drop=float("nan")), "dropout is nan; from 0 to below 1"),
        (_config(input_drop=-1), "input_dropout is -1.0; from 0 to below 1"),
        (_config(sft_factor=10**300), "softmax_temperature is 10+.*; at most 1,000,000"),
        (_config(sft_factor=float("inf")), "softmax_temperature is inf; at most"),
        (_config(sft_factor=0), "softmax_temperature 0.0 must be > 0"),
        (_config(clip_scale_w=None), "clip_weight is None; it must be a number"),
        (_config(frame_scale_w=[0.4]), r"frame_weight is \[0.4\]; it must be a number"),
        (lambda content: content.update(config=[1]), "its configuration is no dictionary"),
        (
            lambda content: content["state_dict"]["frame_encoder.layer1.bias"].fill_(torch.nan),
            "1 weights are not finite: frame_encoder.layer1.bias",
        ),
        (
            lambda content: content["state_dict"].update({"frame_encoder.layer1.bias": 3}),
            "1 weights are no plain tensors: frame_encoder.layer1.bias",
        ),
    ],
)
def test_odd_values_are_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = variant(tmp_path / "a.ckpt", change)
    with pytest.raises(UserError, match=message) as caught:
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.ckpt").exists()
