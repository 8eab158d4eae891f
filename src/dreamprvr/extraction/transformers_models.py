"""Models of `transformers` that lie on this machine, as encoders."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.pretrained import INSTALL, TRANSFORMERS, load_part
from dreamprvr.extraction.encoder import Encoder

# The hub's names of the models that have a short name here: the entry points of setup.cfg.
HUB = {
    "clip-b32": "openai/clip-vit-base-patch32",
    "clip-l14": "openai/clip-vit-large-patch14",
    "siglip2-base": "google/siglip2-base-patch16-224",
    "resnet152": "microsoft/resnet-152",
}


def clip_b32(device: str) -> Encoder:
    """CLIP ViT-B/32 of OpenAI: 512 numbers, 151 million weights."""
    return open_model(HUB["clip-b32"], device, "clip-b32")


def clip_l14(device: str) -> Encoder:
    """CLIP ViT-L/14 of OpenAI: 768 numbers, 428 million weights."""
    return open_model(HUB["clip-l14"], device, "clip-l14")


def siglip2_base(device: str) -> Encoder:
    """SigLIP 2 base of Google, 224 pixels: 768 numbers, 375 million weights; many languages."""
    return open_model(HUB["siglip2-base"], device, "siglip2-base")


def resnet152(device: str) -> Encoder:
    """ResNet-152 of Microsoft, trained on ImageNet: 2048 numbers; reads no text."""
    return open_model(HUB["resnet152"], device, "resnet152")


def open_model(source: str, device: str, name: str | None = None) -> Encoder:
    """The encoder of a saved model. Nothing is downloaded, and no code of a model is run.

    Args:
        source: a folder, or the hub's name of a model in the local cache.
        device: as torch names it.
        name: by which `load_encoder` finds it again; by default `transformers:` and the source.

    Raises:
        UserError: it is not there, cannot be read, or is of a family that is not known here.
    """
    transformers = _package()
    folder = Path(source).expanduser()
    if folder.is_dir():
        source = os.path.abspath(folder)
    name = name or f"{TRANSFORMERS}{source}"
    config = load_part(transformers.AutoConfig, source)
    # Late, because it imports torch and transformers
    from dreamprvr.extraction.image_encoders import JointEncoder, ResNetEncoder

    families: dict[str, Callable[[str, str, str], Encoder]] = {
        "clip": JointEncoder, "siglip": JointEncoder, "siglip2": JointEncoder,
        "resnet": ResNetEncoder,
    }  # fmt: skip
    if config.model_type not in families:
        raise UserError(
            f"{source} holds a model of the family {config.model_type!r}; as encoders there are "
            f"{', '.join(families)}"
        )
    return families[config.model_type](name, source, device)


def _package() -> Any:
    try:
        import transformers
    except ImportError:
        raise UserError(f"this encoder needs transformers, which is not here: {INSTALL}") from None
    return transformers
