"""Writes a few videos and queries in the form of the QVHighlights release."""

import json
from pathlib import Path
from typing import Any

import numpy as np

SLOWFAST, CLIP = 2304, 512
SECONDS = 2  # of a row


def row(qid: int, vid: str, windows: list[list[int]] | None, duration: int = 24) -> dict[str, Any]:
    """A line of an annotation file; without windows, as in the release of the test split."""
    line: dict[str, Any] = {
        "qid": qid, "query": f"Somebody does thing {qid}.", "duration": duration, "vid": vid,
    }  # fmt: skip
    if windows is not None:
        clips = [i for start, end in windows for i in range(start // SECONDS, end // SECONDS)]
        line |= {
            "relevant_clip_ids": clips, "saliency_scores": [[3, 4, 2]] * len(clips),
            "relevant_windows": windows,
        }  # fmt: skip
    return line


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in rows), encoding="utf-8")


def write_features(folder: Path, rows: list[dict[str, Any]], seed: int = 0) -> None:
    """The features of the videos and queries of some lines, where they are not there yet."""
    random = np.random.default_rng(seed)
    parts = {"slowfast_features": SLOWFAST, "clip_features": CLIP, "clip_text_features": CLIP}
    for name in parts:
        (folder / name).mkdir(exist_ok=True)
    for line in rows:
        count = line["duration"] // SECONDS
        for name, dim in (("slowfast_features", SLOWFAST), ("clip_features", CLIP)):
            # SlowFast's file may have a row more
            shape = (count + (name == "slowfast_features"), dim)
            features = random.standard_normal(shape).astype(np.float32)
            np.savez_compressed(folder / name / f"{line['vid']}.npz", features=features)
        words = random.standard_normal((random.integers(4, 12), CLIP)).astype(np.float16)
        path = folder / "clip_text_features" / f"qid{line['qid']}.npz"
        np.savez(path, last_hidden_state=words, pooler_output=words[-1])


def write_qvhighlights(root: Path, train: int = 6, val: int = 4, test: int = 3) -> Path:
    """Write `<root>/qvhighlights/`, and return this folder.

    The first video of a split has two queries, and the first query two moments.
    """
    folder, qid = root / "qvhighlights", 0
    for split, count in (("train", train), ("val", val), ("test", test)):
        rows = []
        for number in range(count):
            vid = f"-{split}_{number}aB3_60.0_210.0"
            windows = [[2, 6], [10, 24]] if number == 0 else [[0, 8]]
            for _ in range(2 if number == 0 else 1):
                rows.append(row(qid, vid, None if split == "test" else windows))
                qid += 1
        write_lines(folder / f"highlight_{split}_release.jsonl", rows)
        write_features(folder, rows, seed=qid)
    return folder
