"""Putting annotations together and taking them apart into splits."""

from collections.abc import Iterable

import pandas as pd

from data_modules.generated import LARGEST_SEED, generator
from data_modules.schema import Annotations
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.text import quote


def join(parts: Iterable[Annotations]) -> Annotations:
    """The annotations of several files (say, one a split) as one."""
    parts = list(parts)
    return Annotations(
        pd.concat([part.videos for part in parts], ignore_index=True),
        pd.concat([part.queries for part in parts], ignore_index=True),
    )


def with_test(annotations: Annotations) -> Annotations:
    """Give the rows of "val" to "test" as well, as the published files do, if test has none."""
    if not annotations.split("test").queries.empty:
        return annotations
    val = annotations.split("val")
    test = Annotations(val.videos.assign(split="test"), val.queries.assign(split="test"))
    return join([annotations, test])


def hold_out(annotations: Annotations, fraction: float = 0.2, seed: int = 0) -> Annotations:
    """Split the videos of a single annotation file into "train" and "val".

    Args:
        annotations: its splits are replaced. A caption goes where its first video goes.
        fraction: share of the videos that go to "val".
        seed: decides, with a video's id, where it goes.

    Raises:
        UserError: one of the two would be empty, or a caption has videos in both.
    """
    check_range("hold_out", fraction, 0, 1)
    check_range("seed", seed, 0, LARGEST_SEED, whole=True)
    ids = annotations.videos["video_id"].tolist()
    count = round(fraction * len(ids))
    if not 0 < count < len(ids):
        raise UserError(f"a hold-out of {fraction} puts {count} of {len(ids)} videos in val")
    order = sorted(ids, key=lambda name: (generator(seed, "hold out", name).random(), name))
    held = set(order[:count])
    videos, queries = annotations.videos.copy(), annotations.queries.copy()
    videos["split"] = ["val" if name in held else "train" for name in ids]
    splits = []
    for query_id, names in zip(queries["query_id"], queries["video_ids"], strict=True):
        if len({name in held for name in names}) != 1:
            raise UserError(
                f"caption {quote(query_id)} has videos in both train and val; drop some"
            )
        splits.append("val" if names[0] in held else "train")
    queries["split"] = splits
    return Annotations(videos, queries)
