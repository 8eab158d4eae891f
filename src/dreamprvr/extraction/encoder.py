"""The interface of an encoder of videos and sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from dreamprvr.core.errors import UserError

if TYPE_CHECKING:  # the names of encoders are listed without torch
    from torch import Tensor


class QueryFeatures(NamedTuple):
    """The features of one sentence."""

    words: "Tensor"  # (L, E) float32, a row for each token: what a trained model reads
    sentence: "Tensor | None"  # (F,) float32 in the space of the video rows, if there is such one


@runtime_checkable
class Encoder(Protocol):
    """Turns windows of frames into rows of F numbers, and sentences into tokens of E numbers.

    Attributes:
        name: the name given to `--encoder`, by which a library loads the encoder again.
        fingerprint: hex digest of the weights and of the preprocessing. Features of two encoders
            are comparable only if their fingerprints are equal.
        video_dim: F.
        text_dim: E; 0 if the encoder reads no text.
        searches_untrained: True if video rows and `QueryFeatures.sentence` share one space.
        frames_per_window: number of frames that `encode_windows` needs of each window, spread
            evenly; 0 for all sampled frames, whose number may differ between windows.
        fps: frames to sample in a second, unless the user gives another number.
        window: length of a window in seconds, unless the user gives another one.
        stride: seconds from the start of a window to the start of the next one, unless the user
            gives another number.
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

    def encode_windows(self, windows: Sequence[np.ndarray]) -> "Tensor":
        """Encode B windows, which may be of different videos.

        Args:
            windows: arrays (n, H, W, 3) uint8 RGB, upright, with the n frames of a window; the
                sizes may differ between windows.

        Returns:
            (B, F) float32 on the CPU, not normalised.
        """
        ...

    def encode_query(self, text: str) -> QueryFeatures:
        """Encode one sentence. A sentence that is too long is cut, never refused."""
        ...


@runtime_checkable
class BatchEncoder(Protocol):
    """An `Encoder` that can also read several sentences at once."""

    def encode_queries(self, texts: Sequence[str]) -> list[QueryFeatures]:
        """Encode sentences as `encode_query` does, up to rounding."""
        ...


def no_text(name: str) -> UserError:
    """Make the error for searching by sentences with an encoder that reads no text.

    Args:
        name: name of the encoder.
    """
    return UserError(
        f"encoder {name} reads no text, so a library of its features cannot be searched by "
        "sentences: extract with an encoder that does (clip-b32, siglip2-base); these features are "
        "for training and testing a DreamPRVR through a data set whose captions have the words of "
        "such an encoder (`lightning extract-text`)"
    )
