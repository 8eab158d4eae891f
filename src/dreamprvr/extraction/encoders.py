"""Finds encoders by name: `register`, the entry points `dreamprvr.encoders`, `transformers:...`."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from dreamprvr.core.errors import UserError
from dreamprvr.core.pretrained import INSTALL, TRANSFORMERS
from dreamprvr.core.text import quote
from dreamprvr.extraction.encoder import Encoder

GROUP = "dreamprvr.encoders"

Factory = Callable[[str], Encoder]
"""Makes an encoder for a device: "cpu", "cuda", "cuda:1", "mps"."""

_registered: dict[str, Factory] = {}


def register(name: str, factory: Factory) -> None:
    """Make an encoder known to this process; it goes before an installed one of the same name."""
    _registered[name] = factory


def encoder_names() -> list[str]:
    """Names that `load_encoder` knows, apart from `transformers:...`."""
    return sorted({*_registered, *_installed()})


def load_encoder(name: str, device: str = "auto") -> Encoder:
    """The encoder of a name, ready to use. Nothing is downloaded.

    Args:
        name: one of `encoder_names()`, or `transformers:` with a folder or a model of the cache.
        device: as torch names it, or "auto": a GPU if there is one.

    Raises:
        UserError: no such encoder, device or model, or a package is missing.
    """
    encoder = _factory(name)(pick_device(device))
    if not isinstance(encoder, Encoder):
        raise UserError(f"encoder {quote(name)} is broken: it lacks what an Encoder must have")
    return encoder


def pick_device(device: str) -> str:
    """The device to use, checked to be there.

    Raises:
        UserError: torch does not know it, or cannot reach it.
    """
    # torch takes a second to import, and the command line needs names and help without it
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"--device {device}: {reason}") from None
    return device


def _factory(name: str) -> Factory:
    if name in _registered:
        return _registered[name]
    if name.startswith(TRANSFORMERS):
        return _transformers(name)
    installed = _installed()
    if name not in installed:
        known = ", ".join(encoder_names()) or "none"
        raise UserError(
            f"no encoder {quote(name)}; there are: {known}; or {TRANSFORMERS}FOLDER for a saved "
            "model"
        )
    return _load(installed[name])


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> Factory:
    try:
        return cast(Factory, point.load())
    except ImportError as error:
        raise UserError(
            f"encoder {point.name} ({point.value}) needs a package that is not here ({error}): "
            f"{INSTALL}"
        ) from None
    except Exception as error:  # a stranger's package may fail in any way
        raise UserError(f"encoder {point.name} ({point.value}) is broken: {error}") from error


def _transformers(name: str) -> Factory:
    from dreamprvr.extraction.transformers_models import open_model

    if not name.removeprefix(TRANSFORMERS):
        raise UserError(f"encoder {quote(name)} names no model: write {TRANSFORMERS}FOLDER")
    return lambda device: open_model(name.removeprefix(TRANSFORMERS), device)
