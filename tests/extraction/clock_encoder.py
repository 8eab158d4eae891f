"""An encoder whose rows say which seconds its pictures show."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from extraction.movies import seconds_of
from torch import Tensor

from dreamprvr.extraction.encoder import QueryFeatures


class ClockEncoder:
    """Rows (first, last, number) of the seconds that the pictures of a window show.

    Args:
        before: called before each batch with the number of windows in it.
    """

    name, fingerprint, video_dim, text_dim = "clock", "c10c", 3, 0
    searches_untrained = False
    frames_per_window, fps, window, stride = 0, 2.0, 1.0, 1.0

    def __init__(self, before: Callable[[int], None] = lambda count: None) -> None:
        self.before = before
        self.batches: list[int] = []

    def encode_windows(self, windows: Sequence[np.ndarray]) -> Tensor:
        self.before(len(windows))
        self.batches.append(len(windows))
        rows = [[seconds_of(w[0]), seconds_of(w[-1]), len(w)] for w in windows]
        return torch.tensor(rows, dtype=torch.float32)

    def encode_query(self, text: str) -> QueryFeatures:
        raise NotImplementedError
