"""Files that are no released checkpoint: other parameters, damage, something else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import SAMPLE, variant
from shared import needs_reference

from dreamprvr.errors import UserError
from dreamprvr.model.config import NetworkConfig
from dreamprvr.published_checkpoint import import_checkpoint, read_published


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
        import_checkpoint(path, tmp_path / "out.ckpt")
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
        read_published(path, NetworkConfig(hidden_size=32))


@needs_reference
def test_a_size_that_no_network_has(tmp_path: Path) -> None:
    """Heads that do not divide the width."""
    path = variant(tmp_path / "a.ckpt", lambda content: content["config"].update(n_heads=5))
    with pytest.raises(UserError, match="not a multiple"):
        read_published(path, NetworkConfig())


@needs_reference
@pytest.mark.parametrize("kept", [0, 10, 1000, -1, -1000])
def test_a_truncated_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(SAMPLE.read_bytes()[:kept])
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        read_published(path, NetworkConfig())


@needs_reference
def test_a_file_damaged_in_its_pickle(tmp_path: Path) -> None:
    content = bytearray(SAMPLE.read_bytes())
    where = content.index(b"state_dict")
    content[where - 40 : where + 40] = bytes(80)
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.ckpt is damaged"):
        read_published(path, NetworkConfig())


@pytest.mark.parametrize("content", [b"", b"hello\n", "déjà vu\n".encode(), bytes(range(256))])
def test_no_checkpoint_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        read_published(path, NetworkConfig())


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.ckpt: no such file"):
        import_checkpoint(tmp_path / "nowhere.ckpt", tmp_path / "out.ckpt")
    with pytest.raises(UserError, match="no such file"):
        read_published(tmp_path, NetworkConfig())  # a folder


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, {"state_dict": [1]}, torch.ones(3)])
def test_a_torch_file_of_something_else(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="no state_dict"):
        read_published(tmp_path / "a.ckpt", NetworkConfig())


@needs_reference
def test_a_checkpoint_of_ours_is_sent_back(tmp_path: Path) -> None:
    import_checkpoint(SAMPLE, tmp_path / "ours.ckpt")
    with pytest.raises(UserError, match="this framework already"):
        import_checkpoint(tmp_path / "ours.ckpt", tmp_path / "again.ckpt")
    assert not (tmp_path / "again.ckpt").exists()
