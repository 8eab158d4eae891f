"""A file of labels for a tiny benchmark, and the measures by it, computed in the slow way."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_modules.readers.tables import Annotations


def write_labels(path: Path, table: Annotations, leave_out: int = 0) -> dict[str, list[str]]:
    """Give the captions of a split one to three true videos, their own first.

    Args:
        path: file to write.
        table: tables of the split.
        leave_out: number of captions at the beginning that get no row.

    Returns:
        The true videos of each caption that has a row.
    """
    videos = table.videos["video_id"].tolist()
    rows = {}
    for number, (query, own) in enumerate(
        zip(table.queries["query_id"], table.queries["video_ids"], strict=True)
    ):
        others = [video for video in videos if video not in own]
        if number >= leave_out:
            first = number % len(others)
            rows[query] = [*own, *(others * 2)[first : first + number % 3]]
    lines = [json.dumps({"query_id": query, "gt_video_ids": true}) for query, true in rows.items()]
    path.write_text("\n".join(lines) + "\n")
    return rows


def slow_measures(
    scores: Sequence[Sequence[float]],
    queries: Sequence[str],
    videos: Sequence[str],
    true: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """Rank the videos of each labelled query by a sort, and count by hand, in %."""
    totals = dict.fromkeys(["R@1", "R@5", "R@10", "R@100", "mAP", "nDCG@10", "R-precision"], 0.0)
    for row, query in zip(scores, queries, strict=True):
        if query not in true:
            continue
        order = sorted(range(len(videos)), key=lambda v, row=row: -row[v])
        hits = [videos[v] in true[query] for v in order]
        places = [place for place, hit in enumerate(hits, 1) if hit]
        for k in (1, 5, 10, 100):
            totals[f"R@{k}"] += min(places) <= k
        count = len(places)
        totals["mAP"] += sum(i / place for i, place in enumerate(places, 1)) / count
        gain = sum(1 / math.log2(place + 1) for place in places if place <= 10)
        best = sum(1 / math.log2(place + 1) for place in range(1, min(count, 10) + 1))
        totals["nDCG@10"] += gain / best
        totals["R-precision"] += sum(hits[:count]) / count
    means = {name: 100 * total / len(true) for name, total in totals.items()}
    return means | {"SumR": sum(means[f"R@{k}"] for k in (1, 5, 10, 100))}
