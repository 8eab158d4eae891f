"""What encoders of single pictures have in common: a window is the mean of its pictures."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import reduce
from PIL import Image
from torch import Tensor, nn

from dreamprvr.extraction.transformers_models import load_model, load_part

PREPROCESSING = 1  # raise it when the same model gives other numbers for the same pictures


class ImageEncoder(ABC):
    """An `Encoder` (see there) that looks at single pictures.

    Args:
        name: see `Encoder`.
        source: folder or hub name of the model.
        device: as torch names it.

    Raises:
        UserError: the model is not there or damaged, or its files lack some of its weights.
    """

    frames_per_window = 0
    fps = window = stride = 1.0
    video_dim: int
    text_dim = 0
    searches_untrained = False
    unused: tuple[str, ...] = ()  # beginnings of names of weights that are there and not needed

    def __init__(self, name: str, source: str, device: str) -> None:
        from transformers import AutoImageProcessor, AutoModel

        self.name, self.device = name, torch.device(device)
        # Through Pillow: torchvision is no requirement, and scales pictures differently
        self.processor = load_part(AutoImageProcessor, source, backend="pil")
        model = load_model(AutoModel, source, self.unused, dtype=torch.float32)
        self.fingerprint = fingerprint(model, self.processor)
        self.model: Any = model.to(self.device).eval()

    @abstractmethod
    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """(P, F) of P pictures that the image processor has prepared."""

    @torch.inference_mode()
    def encode_windows(self, windows: Sequence[np.ndarray]) -> Tensor:
        """(B, F) float32 on the CPU: of each window the mean of its pictures."""
        pictures = [Image.fromarray(frame) for window in windows for frame in window]
        inputs = self.processor(images=pictures, return_tensors="pt")
        embedded = self.embed({key: value.to(self.device) for key, value in inputs.items()})
        parts = embedded.float().cpu().split([len(window) for window in windows])  # (n, F) each
        return torch.stack([reduce(part, "n f -> f", "mean") for part in parts])  # (B, F)


def fingerprint(model: nn.Module, processor: Any) -> str:
    """Digest of all weights, and of how pictures are prepared."""
    digest = hashlib.blake2b(digest_size=16)
    settings = {key: value for key, value in processor.to_dict().items() if key in PREPARATION}
    digest.update(json.dumps([PREPROCESSING, settings], sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()


# The rest of a processor's settings names classes, versions and backends.
PREPARATION = frozenset({
    "size", "crop_size", "crop_pct", "resample", "image_mean", "image_std", "rescale_factor",
    "do_resize", "do_center_crop", "do_rescale", "do_normalize", "max_num_patches", "patch_size",
})  # fmt: skip
