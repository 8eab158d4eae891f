"""Compare ways to load training batches at the size of Charades-STA, from generated features.

    python -m benchmarks.loading [--folder DIR] [--rounds N]

It needs 5 GB of disk. The files stay in `--folder`; without it they lie in a temporary folder. All
ways take turns, a few batches each, so other work of the machine slows all of them. The features
are in the system's cache before the first round that counts.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from benchmarks.baseline import data as baseline
from benchmarks.measuring import begin, comparison, parser, publish
from data_modules.charades import Charades
from data_modules.readers.captions import write_captions

VIDEOS, CAPTIONS, BATCH = 5_338, 12_408, 128
ROWS, WORDS = (30, 90), (4, 14)  # shortest and longest video and caption
SETTLE = 2.0  # seconds until the worker of the way before has filled its queue and waits
PER_ITEM = "per-item HDF5 (baseline), 1 worker"


def generate(root: Path) -> None:
    """Write random features with the published numbers, sizes and layout, if they are missing."""
    data = Charades(root)
    folder = data.folder
    captions = folder / "TextData" / "charadestrain.caption.txt"
    if captions.exists():
        return
    video_folder, text_file = data.feature_set.single()
    videos, texts = folder / video_folder / "feature.hdf5", folder / text_file
    for path in (videos, texts):
        path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    owner = np.sort(np.r_[np.arange(VIDEOS), random.integers(0, VIDEOS, CAPTIONS - VIDEOS)])
    number = np.arange(CAPTIONS) - np.searchsorted(owner, owner)
    names = [f"V{v:05d}#enc#{n}" for v, n in zip(owner.tolist(), number.tolist(), strict=True)]
    with h5py.File(videos, "w") as file:
        for video in range(VIDEOS):
            size = (random.integers(ROWS[0], ROWS[1] + 1), data.video_dim)
            file[f"V{video:05d}"] = random.standard_normal(size, dtype=np.float32)
    with h5py.File(texts, "w") as file:
        for name in names:
            size = (random.integers(WORDS[0], WORDS[1] + 1), data.text_dim)
            file[name] = random.standard_normal(size, dtype=np.float32)
    write_captions(captions, pd.DataFrame({"query_id": names, "text": "someone does something"}))


def per_item(data: Charades) -> DataLoader[Any]:
    """Make the baseline's loader, which opens, pools and normalises one item at a time."""
    table, sizes, files = data.annotations("train"), data.sizes, data.files("train")
    ids = table.videos["video_id"].tolist()
    row = {name: number for number, name in enumerate(ids)}
    positives = [[row[name] for name in names] for names in table.queries["video_ids"]]
    videos = baseline.VideoDataset(
        files["video features"] / "feature.hdf5", ids, sizes.num_clips, sizes.max_frames
    )
    queries = baseline.QueryDataset(
        files["text features"], table.queries["query_id"].tolist(), positives, sizes.max_words
    )
    return DataLoader(
        baseline.TrainDataset(videos, queries),
        batch_size=BATCH,
        shuffle=True,
        collate_fn=partial(baseline.collate_train, max_frames=sizes.max_frames),
        num_workers=1,
        persistent_workers=True,
    )


def loaders(root: Path) -> dict[str, DataLoader[Any]]:
    """Make a loader for each way, by name; features that are not packed yet are packed."""

    def product(**options: Any) -> DataLoader[Any]:
        data = Charades(root, batch_size=BATCH, **options)
        start = time.perf_counter()
        loader = data.train_dataloader()
        print(f"opened {options} in {time.perf_counter() - start:.1f} s", flush=True)
        return loader

    return {
        PER_ITEM: per_item(Charades(root)),
        "per-item HDF5, 1 worker": product(num_workers=1),
        "packed float32, 1 worker": product(num_workers=1, packed="float32"),
        "packed float32, no worker": product(num_workers=0, packed="float32"),
        "packed float16, 1 worker": product(num_workers=1, packed="float16"),
        "packed float32, device_resident (CPU)": product(packed="float32", device_resident=True),
    }


def endless(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the batches of one epoch after another, without end."""
    while True:
        yield from loader


def measure(ways: dict[str, DataLoader[Any]], rounds: int) -> dict[str, list[float]]:
    """Measure the seconds for a batch, for each way and round."""
    batches = {name: endless(loader) for name, loader in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, ready in batches.items():
            count = 6 if "HDF5" in name else 20
            time.sleep(SETTLE)
            for _ in range(3):  # a worker has prepared these already
                next(ready)
            start = time.perf_counter()
            for _ in range(count):
                next(ready)
            if turn:  # the first round fills caches
                taken[name].append((time.perf_counter() - start) / count)
    return taken


def main(arguments: Sequence[str] | None = None) -> None:
    """Generate, pack, measure, print, write."""
    options = parser(__doc__, "loading", rounds=7)
    options.add_argument("--folder", type=Path, help="keep generated and packed files here")
    args = begin(options, arguments)
    with tempfile.TemporaryDirectory() as temporary:
        root = args.folder or Path(temporary)
        generate(root)
        taken = measure(loaders(root), args.rounds)
    rows = [
        {"way of loading": name, "batches a second": 1 / cells["seconds"],
         "x baseline": cells[f"x {PER_ITEM}"]}
        for name, cells in comparison(taken).items()
    ]  # fmt: skip
    sizes = {"videos": VIDEOS, "captions": CAPTIONS, "batch": BATCH, "rows": ROWS, "words": WORDS}
    publish(args, rows, sizes=sizes, seconds_a_batch=taken)


if __name__ == "__main__":
    main()
