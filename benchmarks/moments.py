"""Compare rules of moments with the true moments of the generated benchmark.

    python -m benchmarks.moments --ckpt_path FILE [--root data]

searches for each caption in its own video, as a library does, with a checkpoint of
`lightning fit --config synthetic.yaml`. It tries a grid of rules on the validation split and
chooses the one with the best mean intersection over union. On the test split it compares this rule
with the default rule and with the middle third of the video.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import cast

import numpy as np
import torch

from benchmarks.measuring import table
from data_modules.readers.store import FeatureStore
from data_modules.synthetic import Synthetic
from dreamprvr.evaluation.moments import Curve, MomentRule, Timeline, find_moments
from dreamprvr.extraction.encoder import Encoder, QueryFeatures
from dreamprvr.search.encoding import SearchModel
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.model import read_model

SMOOTHING, SHARE, SHORTEST = (0.0, 3.0, 5.0), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (2.0, 4.0)
Span = tuple[float, float]


@dataclass(frozen=True)
class Caption:
    """Scores of a caption over the time of its own video, and its true moments in seconds."""

    curve: Curve
    truth: tuple[Span, ...]


class StoredWords:
    """An encoder that takes the id of a caption and returns its stored word features."""

    name = "stored"

    def __init__(self, words: FeatureStore) -> None:
        self.words = words

    def encode_query(self, text: str) -> QueryFeatures:
        return QueryFeatures(torch.from_numpy(self.words[text]), None)


def search(data: Synthetic, model: SearchModel, split: str) -> list[Caption]:
    """Score all captions of a split that have moments."""
    films, words = data.stores()
    encoder = cast(Encoder, StoredWords(words))
    tables = data.annotations(split)
    durations = dict(zip(tables.videos["video_id"], tables.videos["duration"], strict=True))
    rows = [films[name] for name in durations]
    vectors = dict(zip(durations, zip(rows, model.encode_videos(rows), strict=True), strict=True))
    captions = []
    for query in tables.queries.itertuples(index=False):
        if not query.moments:
            continue
        name = query.video_ids[0]
        features, tokens = vectors[name]
        step = durations[name] / len(features)
        starts, ends = Timeline(len(features), 0.0, step, step, durations[name]).pieces()
        scores = model.over_time(
            model.encode_query(encoder, query.query_id),
            Record(name, tokens.tokens, tokens.segments, tokens.extras, {}),
            len(features),
        )
        curve = Curve(tuple(starts.tolist()), tuple(ends.tolist()), tuple(scores.tolist()))
        captions.append(Caption(curve, tuple(query.moments)))
    return captions


def overlap(span: Span, truth: Sequence[Span]) -> float:
    """Return the intersection over union with the true moment that fits best."""
    best = 0.0
    for start, end in truth:
        shared = max(0.0, min(span[1], end) - max(span[0], start))
        best = max(best, shared / (span[1] - span[0] + end - start - shared))
    return best


def measure(captions: Sequence[Caption], rule: MomentRule | None) -> dict[str, float]:
    """Compare the first moment of each caption with the truth; shares in %, errors in seconds.

    Args:
        captions: at least one caption.
        rule: rule that finds the moments; None takes the middle third of each video.
    """
    overlaps, errors = [], []
    for caption in captions:
        if rule is None:
            length = caption.curve.ends[-1]
            span, peak = (length / 3, length * 2 / 3), length / 2
        else:
            moment = find_moments(caption.curve, 1, rule)[0]
            span, peak = (moment.start, moment.end), moment.peak
        overlaps.append(overlap(span, caption.truth))
        errors.append(min(abs(peak - (start + end) / 2) for start, end in caption.truth))
    return {
        "mean IoU %": 100 * float(np.mean(overlaps)),
        "IoU 0.3 %": 100 * float(np.mean(np.array(overlaps) >= 0.3)),
        "IoU 0.5 %": 100 * float(np.mean(np.array(overlaps) >= 0.5)),
        "peak, median error s": float(np.median(errors)),
    }


def choose(captions: Sequence[Caption]) -> MomentRule:
    """Return the rule of the grid with the best mean overlap."""
    rules = [
        MomentRule(smoothing=smoothing, share=share, shortest=shortest)
        for smoothing, share, shortest in product(SMOOTHING, SHARE, SHORTEST)
    ]
    return max(rules, key=lambda rule: measure(captions, rule)["mean IoU %"])


def main(arguments: list[str] | None = None) -> None:
    """Choose a rule on val, measure on test, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moments", description=__doc__)
    parser.add_argument("--ckpt_path", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path("data"))
    options = parser.parse_args(arguments)
    model = SearchModel(read_model(options.ckpt_path).network, "cpu")
    data = Synthetic(root=options.root, num_workers=0)
    data.prepare_data()
    rule = choose(search(data, model, "val"))
    captions = search(data, model, "test")
    print(f"{len(captions)} captions of the test split; chosen on val: {rule}\n")
    rules = {"middle third": None, "default": MomentRule(), "chosen on val": rule}
    print(table([{"rule": name, **measure(captions, each)} for name, each in rules.items()]))


if __name__ == "__main__":
    main()
