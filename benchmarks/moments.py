"""The rule of moments against true moments: chosen on val, reported on test.

    python -m benchmarks.moments --ckpt_path FILE [--root data]

asks each caption of the generated benchmark along its own video, with a network that
`lightning fit --config synthetic.yaml` trained, as a library would. All rules of a grid are tried
on the validation split; the best by mean intersection over union is then reported on the test
split beside the default rule and the middle third of the video.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from data_modules.readers.features import FeatureStore
from data_modules.synthetic import Synthetic
from dreamprvr.evaluation.moments import Curve, MomentRule, Timeline, find_moments
from dreamprvr.extraction.encoder import Encoder, QueryFeatures
from dreamprvr.search.encoding import SearchModel
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.model import read_model

SMOOTHING, SHARE, SHORTEST = (0.0, 3.0, 5.0), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (2.0, 4.0)
Span = tuple[float, float]


@dataclass(frozen=True)
class Asked:
    """A caption along its own video: the curve, and the true moments in seconds."""

    curve: Curve
    truth: tuple[Span, ...]


class StoredWords:
    """Stands for an encoder: a caption's stored word features, asked for by its id."""

    name = "stored"

    def __init__(self, words: FeatureStore) -> None:
        self.words = words

    def encode_query(self, text: str) -> QueryFeatures:
        return QueryFeatures(torch.from_numpy(self.words[text]), None)


def ask(data: Synthetic, model: SearchModel, split: str) -> list[Asked]:
    """All captions of a split that have moments."""
    films, words = data.stores()
    encoder = cast(Encoder, StoredWords(words))
    table = data.annotations(split)
    durations = dict(zip(table.videos["video_id"], table.videos["duration"], strict=True))
    rows = [films[name] for name in durations]
    vectors = dict(zip(durations, zip(rows, model.encode_videos(rows), strict=True), strict=True))
    asked = []
    for query in table.queries.itertuples(index=False):
        if not query.moments:
            continue
        name = query.video_ids[0]
        features, tokens = vectors[name]
        step = durations[name] / len(features)
        starts, ends = Timeline(len(features), 0.0, step, step, durations[name]).pieces()
        asking = model.encode_query(encoder, query.query_id)
        scores = model.over_time(
            asking, Record(name, tokens.tokens, tokens.segments, tokens.extras, {}), len(features)
        )
        curve = Curve(tuple(starts.tolist()), tuple(ends.tolist()), tuple(scores.tolist()))
        asked.append(Asked(curve, tuple(query.moments)))
    return asked


def overlap(span: Span, truth: Sequence[Span]) -> float:
    """Intersection over union with the true moment that fits best."""
    best = 0.0
    for start, end in truth:
        shared = max(0.0, min(span[1], end) - max(span[0], start))
        best = max(best, shared / (span[1] - span[0] + end - start - shared))
    return best


def measure(asked: Sequence[Asked], rule: MomentRule | None) -> dict[str, float]:
    """Shares in %, errors in seconds.

    Args:
        asked: at least one.
        rule: None takes the middle third of each video.
    """
    spans, errors = [], []
    for one in asked:
        if rule is None:
            length = one.curve.ends[-1]
            span, peak = (length / 3, length * 2 / 3), length / 2
        else:
            moment = find_moments(one.curve, 1, rule)[0]
            span, peak = (moment.start, moment.end), moment.peak
        spans.append(overlap(span, one.truth))
        errors.append(min(abs(peak - (start + end) / 2) for start, end in one.truth))
    found = np.array(spans)
    return {
        "mean IoU": 100 * float(found.mean()),
        "IoU 0.3": 100 * float((found >= 0.3).mean()),
        "IoU 0.5": 100 * float((found >= 0.5).mean()),
        "peak, median error (s)": float(np.median(errors)),
    }


def choose(asked: Sequence[Asked]) -> MomentRule:
    """The rule of the grid with the best mean overlap."""
    rules = [
        MomentRule(smoothing=smoothing, share=share, shortest=shortest)
        for smoothing, share, shortest in product(SMOOTHING, SHARE, SHORTEST)
    ]
    return max(rules, key=lambda rule: measure(asked, rule)["mean IoU"])


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Results as Markdown, a line for each."""
    columns = list(next(iter(rows.values())))
    lines = [f"| rule | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[key]:.1f}" for key in columns) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moments", description=__doc__)
    parser.add_argument("--ckpt_path", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path("data"))
    options: Any = parser.parse_args(arguments)
    model = SearchModel(read_model(options.ckpt_path).network, "cpu")
    data = Synthetic(root=options.root, num_workers=0)
    data.prepare_data()
    rule = choose(ask(data, model, "val"))
    asked = ask(data, model, "test")
    print(f"{len(asked)} captions of the test split; chosen on val: {rule}\n")
    rows = {"middle third": None, "default": MomentRule(), "chosen on val": rule}
    print(table({name: measure(asked, each) for name, each in rows.items()}))


if __name__ == "__main__":
    main()
