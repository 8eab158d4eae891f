"""What an encoder of videos and queries is; entry points `dreamprvr.encoders` name such classes."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from dreamprvr.core.errors import UserError


class QueryFeatures(NamedTuple):
    """What an encoder makes of one sentence."""

    words: Tensor  # (L, E) float32, a row a token: what a trained model reads
    sentence: Tensor | None  # (F,) float32 in the space of the video rows; None if there is none


@runtime_checkable
class Encoder(Protocol):
    """Turns windows of frames into rows of F numbers, and sentences into tokens of E.

    Attributes:
        name: what `--encoder` was given, so that a library can load it again.
        fingerprint: hex digest of weights and preprocessing; features of two encoders are
            comparable only if it is the same.
        video_dim: F.
        text_dim: E; 0 if the encoder reads no text.
        searches_untrained: whether video rows and `QueryFeatures.sentence` share one space.
        frames_per_window: frames that `encode_windows` wants of each window, spread evenly; 0 for
            all that are looked at, whose number may differ from window to window.
        fps, window, stride: how the encoder likes its videos cut, unless the user says
            otherwise: frames a second that are looked at, seconds of a window, seconds from the
            start of one to the next.
    """

    name: str
    fingerprint: str
    video_dim: int
    text_dim: int
    searches_untrained: bool
    frames_per_window: int
    fps: float
    window: float
    stride: float

    def encode_windows(self, windows: Sequence[np.ndarray]) -> Tensor:
        """Encode B windows, possibly of different videos.

        Args:
            windows: each (n, H, W, 3) uint8 RGB, upright, n the frames a window;
                sizes may differ.

        Returns:
            (B, F) float32 on the CPU, not normalised.
        """
        ...

    def encode_query(self, text: str) -> QueryFeatures:
        """Encode one sentence; a longer one than the encoder reads is cut, never refused."""
        ...


@runtime_checkable
class BatchEncoder(Protocol):
    """An `Encoder` that also reads several sentences at once, as many of them as fit."""

    def encode_queries(self, texts: Sequence[str]) -> list[QueryFeatures]:
        """What `encode_query` gives for each sentence, up to rounding."""
        ...


def encode_sentences(encoder: Encoder, texts: Sequence[str]) -> list[QueryFeatures]:
    """What `encode_query` gives for each sentence, at once if the encoder can do that."""
    if isinstance(encoder, BatchEncoder):
        return encoder.encode_queries(texts)
    return [encoder.encode_query(text) for text in texts]


def no_text(name: str) -> UserError:
    """That an encoder reads no sentences."""
    return UserError(
        f"encoder {name} reads no text, so a library of its features cannot be searched by "
        "sentences: extract with an encoder that does (clip-b32, siglip2-base); these features are "
        "for training and testing a DreamPRVR through a data set whose captions have the words of "
        "such an encoder (`lightning extract-text`)"
    )
