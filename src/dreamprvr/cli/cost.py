"""Cost of models: parameters, a training step, encoding, storage and a query.

`lightning compare` starts this file as a process of its own. All models take turns, so that other
work of the machine slows all of them, and their ratios are fair.
"""

import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from dreamprvr.cli.processes import follow_parent
from dreamprvr.cli.trainer_cli import configured
from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import write_text
from dreamprvr.evaluation.comparison import Cost
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.models.encoded import EncodedVideos, map_tensors
from dreamprvr.search.encoding import SearchModel
from dreamprvr.training.compilation import compile_step

NAME = "cost.json"
ROUNDS = 5  # measured rounds
WARM_UP = 2  # rounds before these, which fill caches
LOOKED_AT = 200  # videos whose numbers of rows stand for those of all
HALF_BYTES = 2  # bytes of a number that a library stores


class Subject:
    """A model with batches of its data set, whose weights are random.

    Args:
        configuration: path of the configuration of a run.
    """

    def __init__(self, configuration: Path) -> None:
        torch.manual_seed(0)  # the same videos for all models
        cli = configured(["--config", str(configuration)])
        self.data, module, trainer = cli.datamodule, cli.model, cli.config.trainer
        self.data.packed = None  # what is measured does not read features
        self.data.prepare_data()
        wants_gpu = trainer.accelerator in ("auto", "gpu", "cuda")
        self.device = torch.device("cuda" if wants_gpu and torch.cuda.is_available() else "cpu")
        self.half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(
            str(trainer.precision)
        )
        self.epoch = max(0, int(trainer.max_epochs or 1) - 1)
        self.model = module.network.to(self.device)
        self.optimizer = module.make_optimizer(self.model.parameter_groups())
        if module.compiled:
            compile_step(self.model, half=self.half is not None, fused=module.fused_attention)
        self.gallery_dtype, self.memory = module.gallery_dtype, 1e9 * module.score_memory
        self.rescored = module.rescored
        videos, queries = self.data.test_dataloader()
        self.batch: TrainBatch = self._first(self.data.train_dataloader())
        self.videos: Videos = self._first(videos)
        self.queries: Queries = self._first(queries)

    def _first(self, loader: Any) -> Any:
        return map_tensors(lambda tensor: tensor.to(self.device), next(iter(loader)))

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, self.half) if self.half else nullcontext()

    def step(self) -> float:
        """Train on a batch, with the loss of the last epoch; return the seconds."""
        self.model.train()

        def work() -> None:
            with self._precision():
                encoded = self.model.encode_batch(self.batch)
                total = self.model.losses(encoded, self.epoch)["total"]
            self.optimizer.zero_grad()
            total.backward()
            self.optimizer.step()

        return self._seconds(work)

    @torch.inference_mode()
    def encode(self) -> float:
        """Encode a batch of videos; return the seconds of one video."""
        self.model.eval()
        with self._precision():
            taken = self._seconds(lambda: self._gallery().add(self.videos))
        return taken / len(self.videos.row)

    @torch.inference_mode()
    def query(self) -> float:
        """Encode a batch of queries and score as many videos as there are; return those of one.

        The gallery holds the same few videos again and again: the work is that of different ones.
        """
        self.model.eval()
        gallery, count = self._gallery(), len(self.data.annotations("test").videos)
        with self._precision():
            some = self.model.encode_videos(*self.videos[1:])
            for start in range(0, count, len(self.videos.row)):
                here = min(len(self.videos.row), count - start)
                part: EncodedVideos = map_tensors(itemgetter(slice(here)), some)
                rows = torch.arange(start, start + here, device=self.device)
                gallery.add_encoded(rows, part, self.videos.frame_mask[:here].sum(dim=1))
            taken = self._seconds(lambda: [gallery.scores(b) for b in gallery.blocks(self.queries)])
        return taken / len(self.queries.row)

    def _gallery(self) -> Gallery:
        return Gallery(self.model, self.gallery_dtype, self.memory, self.rescored)

    def _seconds(self, work: Callable[[], object]) -> float:
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def stored(self) -> float | None:
        """Count the bytes that a library stores of a video, on average; the model is frozen after.

        They are the tokens without padding and the extras that the model needs, in float16.

        Returns:
            None if a library cannot keep what the model makes.
        """
        try:
            kept = SearchModel(self.model, str(self.device))
        except UserError:
            return None
        features = self.data.video_features()
        videos = self.data.annotations("test").videos["video_id"]
        some = videos.iloc[:: max(1, len(videos) // LOOKED_AT)]
        shapes = [kept.shapes_of(len(features.load(video))) for video in some]
        return HALF_BYTES * statistics.mean(sum(map(prod, s.values())) for s in shapes)


def measure(configurations: Mapping[str, Path], rounds: int) -> dict[str, Cost]:
    """Measure models in turn.

    Args:
        configurations: path of a run's configuration by the name of the model.
        rounds: how often everything is measured.

    Returns:
        Medians by the name of the model.
    """
    subjects = {name: Subject(path) for name, path in configurations.items()}
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in subjects}
    for turn in range(WARM_UP + rounds):
        for name, subject in subjects.items():
            taken = (subject.step(), subject.encode(), subject.query())
            if turn >= WARM_UP:
                found[name].append(taken)
    costs = {}
    for name, subject in subjects.items():
        step, encode, query = map(statistics.median, zip(*found[name], strict=True))
        trained = [p.numel() for p in subject.model.parameters() if p.requires_grad]
        costs[name] = Cost(sum(trained), step, encode, subject.stored(), query)
    return costs


def machine() -> dict[str, Any]:
    """Describe the device to measure on, and how busy it is: call this before."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"gpu": gpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "load": load, "torch": torch.__version__}  # fmt: skip


def main() -> None:
    """Measure the models of a comparison: its folder, then the names of the models."""
    follow_parent()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    described = machine()
    try:
        costs = measure({name: folder / f"{name}.yaml" for name in names}, ROUNDS)
    except UserError as error:
        sys.exit(f"error: {error}")
    content = {
        "machine": described,
        "models": {name: cost._asdict() for name, cost in costs.items()},
    }
    write_text(folder / NAME, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
