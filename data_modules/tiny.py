"""A benchmark of a few videos with random features, in the layout of the published ones."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from data_modules.base import PRVRDataModule
from data_modules.captions import write_captions
from data_modules.generated import generator


def write_tiny_benchmark(
    root: str | os.PathLike[str],
    collection: str,
    video_path: str,
    text_path: str,
    video_dim: int,
    text_dim: int,
    group: str | None = None,
    train: int = 6,
    val: int = 4,
    captions: int = 3,
    max_rows: int = 12,
    max_words: int = 6,
    caption_ids: str = "{video}#enc#{number}",
    one_vector: bool = False,
    seed: int = 0,
) -> Path:
    """Write `<root>/<collection>/` in the MS-SL layout; val and test are the same.

    Args:
        root: folder of all data sets.
        collection: name of the folder and prefix of its files.
        video_path: where the video features lie below the folder: an HDF5 file, or a folder in
            which feature.hdf5 is written.
        text_path: HDF5 file of the text features below the folder.
        video_dim, text_dim: feature sizes.
        group: name of the dataset in each video's group; None writes a dataset per video.
        train, val: videos of the splits.
        captions: largest number of captions a video.
        max_rows: largest number of rows a video.
        max_words: largest number of words a caption.
        caption_ids: how the text features spell a caption's id; caption files always hold `#enc#`.
        one_vector: store a caption as one vector (text_dim,) rather than words (L, text_dim).
        seed: same seed, same files.

    Returns:
        The folder.
    """
    folder = Path(root) / collection
    videos = folder / video_path
    videos = videos if videos.suffix in (".hdf5", ".h5") else videos / "feature.hdf5"
    texts = folder / text_path
    for path in (videos, texts, folder / "TextData" / "captions"):
        path.parent.mkdir(parents=True, exist_ok=True)
    random = generator(seed, collection)

    def rows(most: int, dim: int) -> np.ndarray:
        return random.standard_normal((random.integers(1, most + 1), dim)).astype(np.float32)

    with h5py.File(videos, "w") as video_file, h5py.File(texts, "w") as text_file:
        for splits, count in ((("train",), train), (("val", "test"), val)):
            table = []
            for video in (f"{splits[0]}-{index}" for index in range(count)):
                video_file[f"{video}/{group}" if group else video] = rows(max_rows, video_dim)
                for number in range(random.integers(1, captions + 1)):
                    words = rows(max_words, text_dim)
                    key = caption_ids.format(video=video, number=number)
                    text_file[key] = words[0] if one_vector else words
                    table.append((f"{video}#enc#{number}", f"sentence {number} of {video}"))
            written = pd.DataFrame(table, columns=["query_id", "text"])
            for split in splits:
                path = folder / "TextData" / f"{collection}{split}.caption.txt"
                write_captions(path, written)
    return folder


def write_tiny(
    dataset: type[PRVRDataModule],
    root: str | os.PathLike[str],
    features: str = "standard",
    **options: Any,
) -> Path:
    """Write a tiny benchmark where a data set class looks for its own.

    Args:
        dataset: gives the collection, paths and sizes.
        root: folder of all data sets.
        features: one of its feature sets.
        options: further arguments of `write_tiny_benchmark`.
    """
    chosen = dataset.feature_sets[features]
    return write_tiny_benchmark(
        root, dataset.collection, chosen.video, chosen.text, chosen.video_dim, chosen.text_dim,
        chosen.group, **options,
    )  # fmt: skip
