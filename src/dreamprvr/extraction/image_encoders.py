"""Encoders of single pictures (ResNet, CLIP, SigLIP); a window is the mean of its pictures."""

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
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from dreamprvr.core.pretrained import load_model, load_part
from dreamprvr.extraction.encoder import QueryFeatures, no_text

PREPROCESSING = 1  # to be raised when the same model gives other numbers for the same pictures
# Settings of an image processor that change its numbers; the others name classes and versions.
PREPARATION = frozenset({
    "size", "crop_size", "crop_pct", "resample", "image_mean", "image_std", "rescale_factor",
    "do_resize", "do_center_crop", "do_rescale", "do_normalize", "max_num_patches", "patch_size",
})  # fmt: skip


class ImageEncoder(ABC):
    """An `Encoder` of single pictures. The row of a window is the mean over its pictures.

    Args:
        name: the encoder's name.
        source: folder of the model.
        device: a device of torch.

    Raises:
        UserError: the model is missing or damaged, or its files lack some of its weights.
    """

    frames_per_window = 0
    fps = window = stride = 1.0
    video_dim: int
    text_dim = 0
    searches_untrained = False
    unused: tuple[str, ...] = ()  # prefixes of the names of weights that are not needed

    def __init__(self, name: str, source: str, device: str) -> None:
        self.name, self.device = name, torch.device(device)
        # Through Pillow: torchvision is no requirement, and scales pictures differently
        self.processor = load_part(AutoImageProcessor, source, backend="pil")
        model = load_model(AutoModel, source, self.unused, dtype=torch.float32)
        self.fingerprint = fingerprint(model, self.processor)
        self.model: Any = model.to(self.device).eval()

    @abstractmethod
    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Encode P pictures.

        Args:
            inputs: output of the image processor, on the model's device.

        Returns:
            (P, F), a row for each picture.
        """

    @torch.inference_mode()
    def encode_windows(self, windows: Sequence[np.ndarray]) -> Tensor:
        """Encode windows as the means of their pictures, (B, F) float32 on the CPU."""
        pictures = [Image.fromarray(frame) for window in windows for frame in window]
        inputs = self.processor(images=pictures, return_tensors="pt")
        embedded = self.embed({key: value.to(self.device) for key, value in inputs.items()})
        parts = embedded.float().cpu().split([len(window) for window in windows])  # (n, F) each
        return torch.stack([reduce(part, "n f -> f", "mean") for part in parts])  # (B, F)


def fingerprint(model: nn.Module, processor: Any) -> str:
    """Return a digest of all weights and of the preparation of pictures."""
    digest = hashlib.blake2b(digest_size=16)
    settings = {key: value for key, value in processor.to_dict().items() if key in PREPARATION}
    digest.update(json.dumps([PREPROCESSING, settings], sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()


class ResNetEncoder(ImageEncoder):
    """Last feature map of a ResNet, averaged over the picture (2048 numbers for ResNet-152)."""

    unused = ("classifier.",)

    def __init__(self, name: str, source: str, device: str) -> None:
        super().__init__(name, source, device)
        self.video_dim = int(self.model.config.hidden_sizes[-1])

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Encode P pictures, (P, F): see the base class."""
        pooled: Tensor = self.model(**inputs).pooler_output  # (P, F, 1, 1)
        return pooled.flatten(1)

    def encode_query(self, text: str) -> QueryFeatures:
        """Refuse the sentence.

        Raises:
            UserError: always, since a ResNet reads no text.
        """
        raise no_text(self.name)


class JointEncoder(ImageEncoder):
    """CLIP or SigLIP: pictures and sentences in one space, and token states of a sentence."""

    searches_untrained = True

    def __init__(self, name: str, source: str, device: str) -> None:
        super().__init__(name, source, device)
        self.tokenizer = load_part(AutoTokenizer, source)
        config = self.model.config
        # SigLIP was trained on lower-case sentences, always padded, and without a mask
        self.padded = config.model_type != "clip"
        self.max_tokens = int(config.text_config.max_position_embeddings)
        self.text_dim = int(config.text_config.hidden_size)
        self.video_dim = int(
            config.vision_config.hidden_size if self.padded else config.projection_dim
        )
        self.fingerprint = _with_words(self.fingerprint, self.tokenizer.get_vocab())

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """Encode P pictures, (P, F): see the base class."""
        embedded: Tensor = self.model.get_image_features(**inputs).pooler_output  # (P, F)
        return embedded

    def encode_query(self, text: str) -> QueryFeatures:
        """Encode a sentence as token states (L, E) without padding, and one vector (F,)."""
        return self.encode_queries([text])[0]

    @torch.inference_mode()
    def encode_queries(self, texts: Sequence[str]) -> list[QueryFeatures]:
        """Encode sentences as `encode_query` does; a long one is cut at its end."""
        tokens = self.tokenizer(
            [text.lower() if self.padded else text for text in texts], return_tensors="pt",
            truncation=True, max_length=self.max_tokens, return_attention_mask=True,
            padding="max_length" if self.padded else "longest", padding_side="right",
        )  # fmt: skip
        ids, real = tokens["input_ids"].to(self.device), tokens["attention_mask"].bool()
        mask = {} if self.padded else {"attention_mask": tokens["attention_mask"].to(self.device)}
        output = self.model.get_text_features(input_ids=ids, **mask)
        states = output.last_hidden_state.float().cpu()  # (B, T, E)
        sentences = output.pooler_output.float().cpu()  # (B, F)
        rows = zip(states, real, sentences, strict=True)
        return [QueryFeatures(state[kept], sentence) for state, kept, sentence in rows]


def _with_words(fingerprint: str, vocabulary: dict[str, int]) -> str:
    """Extend a fingerprint by the vocabulary, since a model with other words is another model."""
    digest = hashlib.blake2b(fingerprint.encode(), digest_size=16)
    for word, place in sorted(vocabulary.items()):
        digest.update(f"{word}\0{place}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


FAMILIES: dict[str, type[ResNetEncoder | JointEncoder]] = {
    "clip": JointEncoder, "siglip": JointEncoder, "siglip2": JointEncoder, "resnet": ResNetEncoder,
}  # fmt: skip
"""Encoders by the family of a model, `model_type` in its config.json."""
