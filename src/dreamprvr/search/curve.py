"""The score of a query along a video."""

import numpy as np

from dreamprvr.search.engine import Record
from dreamprvr.search.results import Curve
from dreamprvr.search.timeline import Timeline, clip_rows
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
