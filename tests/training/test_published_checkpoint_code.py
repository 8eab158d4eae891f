"""Code that a file brings along is never run."""

import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published import SAMPLE, variant
from shared import needs_reference

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import DreamPRVR, DreamPRVRConfig
from dreamprvr.models.dreamprvr.published import FORMAT
from dreamprvr.training.published_checkpoint import _load, import_checkpoint, read_published


class Marker:
    """Makes a file or folder when it is unpickled."""

    def __init__(self, path: Path, function: Callable[..., Any]) -> None:
        self.path, self.function = path, function

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.function is os.system:
            return os.system, (f"touch '{self.path}'",)
        if self.function is eval:
            return eval, (f"__import__('os').mkdir({str(self.path)!r})",)
        return os.mkdir, (str(self.path),)


@needs_reference
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, "system"), (eval, "eval"), (os.mkdir, "mkdir")]
)
def test_code_in_a_file_is_named_and_does_not_run(
    tmp_path: Path, function: Callable[..., Any], name: str
) -> None:
    evil = tmp_path / "evil"
    path = variant(tmp_path / "a.ckpt", lambda content: content.update(x=Marker(evil, function)))
    with pytest.raises(UserError, match=rf"names \S*{name}, .*not opened"):
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert not evil.exists()
    assert not (tmp_path / "out.ckpt").exists()
    torch.load(path, weights_only=False)  # what the refusal prevents
    assert evil.exists()


def test_code_in_torchs_old_file_format_is_named_and_does_not_run(tmp_path: Path) -> None:
    evil, path = tmp_path / "evil", tmp_path / "a.ckpt"
    content = {"state_dict": {}, "x": Marker(evil, os.system)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"names \S*system, .*not opened"):
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert not evil.exists()
    torch.load(path, weights_only=False)  # what the refusal prevents
    assert evil.exists()


@pytest.mark.parametrize("kept", [100, 300, -1, -30])
def test_torchs_old_file_format_cut_short(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.ckpt"
    content = {"state_dict": {"x": torch.ones(9)}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)


def test_code_in_a_bare_pickle_does_not_run(tmp_path: Path) -> None:
    evil, path = tmp_path / "evil", tmp_path / "a.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {}, "x": Marker(evil, os.system)}))
    with pytest.raises(UserError, match=r"a\.ckpt"):
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert not evil.exists()


@needs_reference
def test_a_class_of_the_authors_is_never_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where their package can be imported, a stand-in takes its place."""
    package, module = types.ModuleType("Opts"), types.ModuleType("Opts.optimization")

    def refuse(self: object, state: object) -> None:
        raise AssertionError("ran")

    schedule = type(
        "WarmupLinearSchedule", (), {"__module__": module.__name__, "__setstate__": refuse}
    )
    module.WarmupLinearSchedule = schedule  # type: ignore[attr-defined]
    package.optimization = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "Opts", package)
    monkeypatch.setitem(sys.modules, "Opts.optimization", module)
    stranger = schedule()
    stranger.warmup = 1
    path = variant(tmp_path / "a.ckpt", lambda content: content.update(optimizer=[stranger]))
    assert type(_load(path, FORMAT)["optimizer"][0]) is not schedule
    assert type(_load(SAMPLE, FORMAT)["optimizer"]["param_groups"][0]["schedule"]) is not schedule


@needs_reference
def test_an_allowed_class_does_not_excuse_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stranger: ...

    Stranger.__module__, Stranger.__qualname__ = "Options.x", "Stranger"
    module = types.ModuleType("Options.x")
    module.Stranger = Stranger  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "Options", types.ModuleType("Options"))
    monkeypatch.setitem(sys.modules, "Options.x", module)
    path = variant(tmp_path / "a.ckpt", lambda content: content.update(x=Stranger()))
    with pytest.raises(UserError, match=r"names Options\.x\.Stranger,"):
        read_published(path, DreamPRVR, DreamPRVRConfig())
