"""The score of a query along a video."""

import numpy as np

from data_modules.loading.pooling import boundaries
from dreamprvr.evaluation.moments import Curve, Timeline, sections
from dreamprvr.search.engine import Record
from dreamprvr.search.vectors import Model


def score_curve(record: Record, query: np.ndarray, model: Model, timeline: Timeline) -> Curve:
    """A value a row: w_c times the clip that the row belongs to, plus w_f times its frame.

    The video's own score takes the best clip and the best frame, wherever each is, so it is at
    least the curve's maximum, and equal to it where both lie together.

    Args:
        record: of the video.
        query: (D,) of unit length.
        model: says how the video was cut.
        timeline: of its rows.
    """
    scores = model.frame_weight * (record.frames @ query)
    if len(record.clips):
        products = record.clips @ query
        best = np.full(len(scores), -np.inf)
        cut = clip_rows(len(scores), model.section, model.clips)
        for rows, product in zip(cut, products, strict=True):
            best[rows] = np.maximum(best[rows], product)
        scores = scores + model.clip_weight * best
    starts, ends = timeline.pieces()
    return Curve(tuple(starts.tolist()), tuple(ends.tolist()), tuple(map(float, scores)))


def register_cosines(record: Record, query: np.ndarray, registers: int) -> tuple[float, ...]:
    """Cosine of the query with each register, the best over the sections of a video."""
    if not len(record.registers):
        return ()
    products = (record.registers @ query).reshape(-1, registers)  # (sections, R)
    return tuple(map(float, products.max(axis=0)))


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
