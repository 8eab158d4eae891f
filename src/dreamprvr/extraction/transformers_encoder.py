"""CLIP, SigLIP and SigLIP 2: pictures and sentences in one space."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from dreamprvr.extraction.encoder import QueryFeatures
from dreamprvr.extraction.image_models import ImageEncoder
from dreamprvr.extraction.transformers_models import load_part


class JointEncoder(ImageEncoder):
    """The embedding of a picture, and of a sentence with the states of its tokens."""

    searches_untrained = True

    def __init__(self, name: str, source: str, device: str) -> None:
        from transformers import AutoTokenizer

        super().__init__(name, source, device)
        self.tokenizer = load_part(AutoTokenizer, source)
        config = self.model.config
        # SigLIP was trained on lower-case sentences, always padded, and without a mask
        self.padded = config.model_type != "clip"
        self.max_tokens = int(config.text_config.max_position_embeddings)
        self.text_dim = int(config.text_config.hidden_size)
        self.video_dim = self._video_dim()
        self.fingerprint = _with_words(self.fingerprint, self.tokenizer.get_vocab())

    def _video_dim(self) -> int:
        config = self.model.config
        if config.model_type == "clip":
            return int(config.projection_dim)
        return int(config.vision_config.hidden_size)

    def embed(self, inputs: dict[str, Tensor]) -> Tensor:
        """(P, F) of P pictures: see the base class."""
        embedded: Tensor = self.model.get_image_features(**inputs).pooler_output  # (P, F)
        return embedded

    def encode_query(self, text: str) -> QueryFeatures:
        """Token states (L, E), padding left out, and the sentence (F,); the end may be cut off."""
        return self.encode_queries([text])[0]

    @torch.inference_mode()
    def encode_queries(self, texts: Sequence[str]) -> list[QueryFeatures]:
        """The same of several sentences."""
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
    """A model with other words is another model."""
    digest = hashlib.blake2b(fingerprint.encode(), digest_size=16)
    for word, place in sorted(vocabulary.items()):
        digest.update(f"{word}\0{place}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
