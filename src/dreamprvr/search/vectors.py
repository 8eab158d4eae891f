"""What search keeps of a video, and what it asks with."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from data_modules.loading.pooling import pool
from dreamprvr.evaluation.moments import sections
from dreamprvr.extraction.encoders import Encoder

SEGMENTS = 16  # of each section; docs/search.md has what fewer lose


class VideoVectors(NamedTuple):
    """The vectors of a video, all of unit length, float32."""

    clips: np.ndarray  # (C, D); C = 0 if untrained
    frames: np.ndarray  # (N, D), a row of the feature file each
    segments: np.ndarray  # (S, D)
    registers: np.ndarray  # (R, D); R = 0 if untrained


class Model(Protocol):
    """Turns rows of features and sentences into vectors of one space.

    Attributes:
        dim: D.
        clip_weight: w_c of the score.
        frame_weight: w_f of the score.
        section: rows of a section, at most; a longer video is cut into equal sections.
        clips: clips of a section; 0 if there is no clip scale.
        registers: registers of a section; 0 if there are none.
    """

    dim: int
    clip_weight: float
    frame_weight: float
    section: int
    clips: int
    registers: int

    def encode_videos(self, videos: Sequence[np.ndarray]) -> list[VideoVectors]:
        """Vectors of videos, each (N, F) float32."""
        ...

    def encode_query(self, encoder: Encoder, text: str) -> np.ndarray:
        """(D,) float32 of unit length.

        Raises:
            UserError: the encoder reads no text, or finds no word in it.
        """
        ...


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their length, float32; a row of zeros stays zero."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)


def segment_means(frames: np.ndarray, section: int) -> np.ndarray:
    """(N, D) -> (S, D): means of equal parts of each section, of unit length."""
    parts = [
        pool(frames[rows], min(SEGMENTS, rows.stop - rows.start))
        for rows in sections(len(frames), section)
    ]
    return unit(np.concatenate(parts))
