import pickle
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamprvr.checkpoint import read_checkpoint
from dreamprvr.errors import UserError
from dreamprvr.model.config import NetworkConfig
from dreamprvr.published_checkpoint import read_published

CONFIG = NetworkConfig()


def test_ours_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    content = {"hyper_parameters": {"top_k": 3}, "state_dict": {"w": torch.arange(4.0)}}
    torch.save(content, path)
    for given in (path, str(path)):
        found = read_checkpoint(given)
        assert found["hyper_parameters"] == {"top_k": 3}
        assert torch.equal(found["state_dict"]["w"], torch.arange(4.0))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^checkpoint \S*a\.ckpt: no such file$"):
        read_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="no such file"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1], torch.ones(2), {}])
def test_another_programs_file(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"not written by this framework.*import-checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_objects_are_refused_and_not_built(tmp_path: Path) -> None:
    evil = tmp_path / "evil"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (evil,)  # type: ignore[return-value]

    for stranger in (Fraction(1, 2), Evil()):
        torch.save({"hyper_parameters": {}, "x": stranger}, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match=r"other than tensors and builtins.*import-checkpoint"):
            read_checkpoint(tmp_path / "a.ckpt")
    assert not evil.exists()
    torch.load(tmp_path / "a.ckpt", weights_only=False)  # what the refusal prevents
    assert evil.exists()


@pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)), pickle.dumps({"a": 1})])
def test_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.ckpt is damaged or not a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("kept", [10, 500, -1, -500])
def test_truncated(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"hyper_parameters": {}, "state_dict": {"w": torch.ones(1000)}}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"a\.ckpt is damaged or not a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("read", [read_checkpoint, partial(read_published, configured=CONFIG)])
def test_damage_inside_is_one_line(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"hyper_parameters": {"n": 1}, "state_dict": {"w": torch.ones(10)}}, path)
    whole = path.read_bytes()
    messages = set()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        try:
            read(path)
        except UserError as error:
            messages.add(str(error))
    assert any("damaged" in message for message in messages)
    assert all("\n" not in message for message in messages)
