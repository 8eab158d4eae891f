"""A training split of random features that lie on the device which trains."""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.inputs import SHORTEST_VIDEO, WORDS, Settings
from data_modules.loading.gather import (
    Buffers,
    Field,
    gather_queries,
    gather_videos,
    offsets_of,
    on_device,
)
from dreamprvr.core.batch import TrainBatch

PART = 100_000  # rows generated at once


class ResidentSplit:
    """Videos with captions, gathered as `device_resident` does: rows lie on the device as float16.

    Args:
        chosen: feature sizes and lengths.
        videos: V.
        captions: of each video.
        device: where the rows are generated and gathered.
    """

    def __init__(self, chosen: Settings, videos: int, captions: int, device: str) -> None:
        self.videos = videos
        self.captions = captions
        self.max_frames = chosen.network.max_frames
        self._device = device
        random = np.random.default_rng(0)
        shortest = max(1, min(SHORTEST_VIDEO, self.max_frames // 2))
        longest = min(WORDS[1], chosen.network.max_words)
        frames = random.integers(shortest, self.max_frames + 1, videos)
        words = random.integers(min(WORDS[0], longest), longest + 1, videos * captions)
        clips = np.full(videos, chosen.network.num_clips)
        self._fields = {
            "clips": self._field(clips, chosen.video_dim),
            "frames": self._field(frames, chosen.video_dim),
            "words": self._field(words, chosen.text_dim),
        }
        # the true video of each caption, and the padding
        self._true = np.append(np.arange(videos).repeat(captions), -1)
        self._true_offsets = offsets_of(np.ones(videos * captions, np.int64))
        self._buffers = Buffers()

    def field(self, name: str) -> Field:
        """`clips`, `frames` or `words`."""
        return self._fields[name]

    @property
    def bytes(self) -> int:
        """Of all rows."""
        return sum(field.rows.nbytes for field in self._fields.values())

    def batch(self, rows: np.ndarray) -> TrainBatch:
        """Videos (B,) int64 by row, with all captions of each; nothing waits for the device."""
        captions = (rows[:, None] * self.captions + np.arange(self.captions)).reshape(-1)
        videos = gather_videos(self, rows, self.max_frames, self._buffers)
        queries = gather_queries(self, captions, self._true, self._true_offsets, self._buffers)
        labels = torch.from_numpy(np.arange(len(rows)).repeat(self.captions))
        return TrainBatch(videos, queries, on_device(labels, torch.device(self._device)))

    def epoch(self, size: int, seed: int = 0) -> Iterator[TrainBatch]:
        """All videos in random order, a number at a time; the last batch may be smaller."""
        order = np.random.default_rng(seed).permutation(self.videos)
        for start in range(0, self.videos, size):
            yield self.batch(order[start : start + size])

    def _field(self, lengths: np.ndarray, size: int) -> Field:
        """Random rows of about unit length, and a row of zeros."""
        offsets = offsets_of(lengths)
        rows = torch.empty(int(offsets[-1]) + 1, size, dtype=torch.float16, device=self._device)
        for part in rows.split(PART):  # fewer entries than a kernel can count with 32 bits
            part.normal_(std=size**-0.5)
        rows[-1] = 0
        return Field(rows, offsets)


def endless(split: ResidentSplit, size: int) -> Iterator[TrainBatch]:
    """Whole batches for ever, each epoch in another order; `size` is at most all videos."""
    seed = 1
    while True:
        for batch in split.epoch(size, seed):
            if len(batch.labels) == size * split.captions:
                yield batch
        seed += 1
