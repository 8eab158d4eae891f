"""Print the results of the newest synthetic run, as the second half of `make demo`.

A table compares its test results with chance and mean pooling. Then three captions of the test
split are answered with ranked videos and seconds. This file is also an example of the framework in
Python.
"""

import argparse
import contextlib
import io
import logging
import warnings
from pathlib import Path

from lightning import Trainer

from data_modules.synthetic import Synthetic
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.baselines import evaluate_baselines
from dreamprvr.evaluation.metrics import COLUMNS, results_table
from dreamprvr.training.callbacks.predictions import Record, VideoTimes, records
from dreamprvr.training.module import PRVRModule

SHOWN_VIDEOS = 3


def newest_checkpoint(runs: Path) -> Path:
    """Return the best checkpoint of the newest run in a folder of runs."""
    checkpoints = sorted(
        runs.glob("version_*/checkpoints/best.ckpt"), key=lambda p: p.stat().st_mtime
    )
    if not checkpoints:
        raise UserError(f"no run in {runs}: train first, with `make demo`")
    return checkpoints[-1]


def main() -> None:
    """Evaluate, compare and answer."""
    parser = argparse.ArgumentParser(prog="python -m dreamprvr.cli.demo", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/synthetic"))
    parser.add_argument("--root", type=Path, default=Path("data"))
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")

    checkpoint = newest_checkpoint(options.runs)
    module = PRVRModule.load_from_checkpoint(checkpoint)
    network = module.network.config
    data = Synthetic(
        root=options.root, num_workers=0, max_frames=network.max_frames,
        num_clips=network.num_clips, max_words=network.max_words,
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    with contextlib.redirect_stdout(io.StringIO()):  # Lightning's own table
        metrics = trainer.test(module, datamodule=data, verbose=False)[0]
    model = {column: metrics[f"test/{column}"] for column in COLUMNS}
    print(f"\nTest split of the generated benchmark, {checkpoint}:\n")
    print(results_table(evaluate_baselines(data) | {type(module.network).__name__: model}))

    module.top_k = SHOWN_VIDEOS
    _, hits = trainer.predict(module, datamodule=data) or ([], [])  # no answers for the gallery
    table = data.annotations("test")
    answers = records(hits[0], table, VideoTimes(table, data.video_features().path))
    show_answers(data, answers)


def show_answers(data: Synthetic, answers: list[Record]) -> None:
    """Print three captions of different videos, the best videos, and the true moments."""
    queries = data.annotations("test").queries.set_index("query_id")
    for answer in answers[:: max(1, len(answers) // 3)][:3]:
        query = queries.loc[answer["query_id"]]
        start, end = query["moments"][0]
        print(f'\n"{query["text"]}"   (truth: {query["video_ids"][0]}, {start:.0f}-{end:.0f} s)')
        for rank, hit in enumerate(answer["hits"], start=1):
            print(
                f"  {rank}. {hit['video_id']}  {hit['start']:.0f}-{hit['end']:.0f} s"
                f"  score {hit['score']:.2f}"
            )


if __name__ == "__main__":
    main()
