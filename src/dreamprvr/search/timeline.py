"""Which seconds of a video its rows and tokens stand for.

Row i of a feature file covers [start + i stride, start + i stride + window), cut at the end. Where
windows overlap, a row's *piece* ends halfway between its middle and the next one's, so that pieces
follow each other and no second counts twice.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from data_modules.loading.pooling import boundaries

LEAST = 1e-3  # seconds of a piece: what a file says of the end may cut the last row to nothing


@dataclass(frozen=True)
class Timeline:
    """The seconds of a video's rows.

    Args:
        rows: N.
        start: second at which the first row begins.
        stride: seconds from one row to the next.
        window: seconds of a row.
        duration: second at which the video ends.
    """

    rows: int
    start: float
    stride: float
    window: float
    duration: float

    def pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends in seconds, (N,) each; they ascend and do not overlap."""
        starts = self.start + self.stride * np.arange(self.rows)
        ends = np.minimum(starts + self.window, max(self.duration, self.start + LEAST))
        ends = np.maximum(ends, starts + LEAST)
        if self.window > self.stride and self.rows > 1:
            cuts = starts[1:] + (self.window - self.stride) / 2
            cuts = np.minimum(cuts, ends[1:] - LEAST)
            ends[:-1] = np.maximum(cuts, starts[:-1] + LEAST)
            starts[1:] = ends[:-1]
            ends[-1] = max(ends[-1], starts[-1] + LEAST)
        return starts, ends


def sections(rows: int, longest: int) -> list[slice]:
    """Cut a video of N rows into as few equal sections as have at most `longest` rows."""
    count = -(-rows // longest)
    cuts = np.round(np.linspace(0, rows, count + 1)).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(cuts)]


def clip_rows(rows: int, longest: int, clips: int) -> list[slice]:
    """The rows that each clip of a video was pooled from.

    Args:
        rows: N.
        longest: rows of a section.
        clips: of a section.

    Returns:
        A slice a clip, in the order of the clips' tokens. The last clip of a section is given the
        section's last row, which pooling leaves out.
    """
    found = []
    for section in sections(rows, longest):
        length = section.stop - section.start
        bounds = boundaries(length, clips)
        stops = np.maximum(bounds[1:], bounds[:-1] + 1)
        stops[-1] = length
        found += [
            slice(section.start + int(a), section.start + int(b))
            for a, b in zip(bounds[:-1], stops, strict=True)
        ]
    return found
