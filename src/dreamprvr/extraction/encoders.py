"""Find encoders of videos and sentences by their names.

A name is one that was given to `register`, an entry point of the group `dreamprvr.encoders`, or
`transformers:` followed by the folder of a saved model. This module does not import torch, which
takes a second: the command line needs the names without it.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

from dreamprvr.core.errors import UserError, first_line
from dreamprvr.core.plugins import installed
from dreamprvr.core.pretrained import INSTALL, TRANSFORMERS, fetch, load_part
from dreamprvr.core.text import quote
from dreamprvr.extraction.encoder import Encoder

GROUP = "dreamprvr.encoders"
HUB = {
    "clip-b32": "openai/clip-vit-base-patch32",
    "clip-l14": "openai/clip-vit-large-patch14",
    "siglip2-base": "google/siglip2-base-patch16-224",
    "resnet152": "microsoft/resnet-152",
}
"""Names on the hub of the models that have a short name here."""

Factory = Callable[[str], Encoder]
"""Makes an encoder for a device: "cpu", "cuda", "cuda:1", "mps"."""

_registered: dict[str, Factory] = {}


def register(name: str, factory: Factory) -> None:
    """Add an encoder for this process; it hides an installed one of the same name."""
    _registered[name] = factory


def encoder_names() -> list[str]:
    """Names that `load_encoder` knows, without those of the form `transformers:FOLDER`."""
    return sorted({*_registered, *installed(GROUP)})


def is_missing(encoder: str) -> bool:
    """Return whether an encoder's name gives a folder that does not exist."""
    folder = encoder.removeprefix(TRANSFORMERS)
    return folder != encoder and os.path.isabs(folder) and not os.path.isdir(folder)


def load_encoder(name: str, device: str = "auto") -> Encoder:
    """Load an encoder by its name. A model of the hub is fetched the first time.

    Args:
        name: one of `encoder_names()`, or `transformers:` with a folder or a model's name on the
            hub.
        device: a device of torch, or "auto" for a GPU if there is one.

    Raises:
        UserError: there is no such encoder, device or model, or a package is missing.
    """
    encoder = _factory(name)(pick_device(device))
    if not isinstance(encoder, Encoder):
        raise UserError(f"encoder {quote(name)} is broken: it lacks what an Encoder must have")
    return encoder


def pick_device(device: str) -> str:
    """Return the device to use, after checking that it works.

    Args:
        device: a device of torch, or "auto" for a GPU if there is one.

    Raises:
        UserError: torch does not know the device, or cannot reach it.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"--device {device}: {first_line(error)}") from None
    return device


def _factory(name: str) -> Factory:
    if name in _registered:
        return _registered[name]
    if name.startswith(TRANSFORMERS):
        source = name.removeprefix(TRANSFORMERS)
        if not source:
            raise UserError(f"encoder {quote(name)} names no model: write {TRANSFORMERS}FOLDER")
        return lambda device: open_model(source, device)
    points = installed(GROUP)
    if name not in points:
        known = ", ".join(encoder_names()) or "none"
        raise UserError(
            f"no encoder {quote(name)}; there are: {known}; or {TRANSFORMERS}FOLDER for a saved "
            "model"
        )
    point = points[name]
    try:
        return cast(Factory, point.load())
    except ImportError as error:
        raise UserError(
            f"encoder {point.name} ({point.value}) needs a package that is not here ({error}): "
            f"{INSTALL}"
        ) from None
    except Exception as error:  # a package of others may fail in any way
        raise UserError(f"encoder {point.name} ({point.value}) is broken: {error}") from error


def open_model(source: str, device: str, name: str | None = None) -> Encoder:
    """Load a saved model as an encoder. No code of a model is run.

    Args:
        source: a folder, or the name of a model on the hub, which is fetched the first time.
        device: a device of torch.
        name: the encoder's name; by default `transformers:` and the source.

    Raises:
        UserError: the model is not there, cannot be read, or is of an unknown family.
    """
    try:
        import transformers

        from dreamprvr.extraction.image_encoders import FAMILIES
    except ImportError as error:
        raise UserError(
            f"encoder {name or source} needs a package that is not here ({error}): {INSTALL}"
        ) from None
    folder = Path(source).expanduser()
    if folder.is_dir():
        source = os.path.abspath(folder)
    name = name or f"{TRANSFORMERS}{source}"
    source = fetch(source)
    config = load_part(transformers.AutoConfig, source)
    if config.model_type not in FAMILIES:
        raise UserError(
            f"{source} holds a model of the family {config.model_type!r}; as encoders there are "
            f"{', '.join(FAMILIES)}"
        )
    return FAMILIES[config.model_type](name, source, device)


def _of_hub(name: str, device: str) -> Encoder:
    return open_model(HUB[name], device, name)


# The entry points of setup.cfg, with the numbers in a row of each model.
clip_b32 = partial(_of_hub, "clip-b32")  # 512 numbers, 151 million weights
clip_l14 = partial(_of_hub, "clip-l14")  # 768 numbers, 428 million weights
siglip2_base = partial(_of_hub, "siglip2-base")  # 768 numbers, 375 million weights; multilingual
resnet152 = partial(_of_hub, "resnet152")  # 2048 numbers; it reads no text
