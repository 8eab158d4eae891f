"""Search without training: the best cosine of the encoder's own space."""

from collections.abc import Sequence

import numpy as np

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.encoders import Encoder
from dreamprvr.search.vectors import VideoVectors, segment_means, unit


class UntrainedModel:
    """Every row of a video is a token, the sentence's own vector is the query.

    Args:
        video_dim: F, of the feature file.
    """

    clip_weight = 0.0
    frame_weight = 1.0
    section = 128
    clips = 0
    registers = 0

    def __init__(self, video_dim: int) -> None:
        self.dim = video_dim

    def encode_videos(self, videos: Sequence[np.ndarray]) -> list[VideoVectors]:
        """Rows as they are, of unit length."""
        nothing = np.empty((0, self.dim), dtype=np.float32)
        found = []
        for rows in videos:
            frames = unit(rows)
            found.append(
                VideoVectors(nothing, frames, segment_means(frames, self.section), nothing)
            )
        return found

    def encode_query(self, encoder: Encoder, text: str) -> np.ndarray:
        """The sentence in the space of the rows."""
        sentence = encoder.encode_query(text).sentence
        if sentence is None:
            raise UserError(
                f"encoder {encoder.name} does not put sentences into the space of its videos, so "
                "this library can only be searched with a trained model: index with --ckpt_path"
            )
        return unit(sentence.detach().cpu().numpy())
