"""Map-style datasets of one split, and how their items become batches."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from data_modules.loading.pooling import clips, frames, normalise
from data_modules.readers.store import FeatureStore
from dreamprvr.core.batch import Queries, TrainBatch, Videos

if TYPE_CHECKING:  # it needs pandas, and a search does without
    from data_modules.readers.tables import Annotations


class InputSizes(NamedTuple):
    """Lengths of the network's inputs (docs/model.md, section 1)."""

    num_clips: int = 32
    max_frames: int = 128
    max_words: int = 30


class VideoItem(NamedTuple):
    """One video: its row, clips (M_c, F) and frames (up to M_f, F)."""

    row: int
    clips: Tensor
    frames: Tensor


class QueryItem(NamedTuple):
    """One caption: its row, words (up to L, E) and the rows of its true videos."""

    row: int
    words: Tensor
    positives: Tensor


class VideoDataset(Dataset[VideoItem]):
    """The gallery of a split, in the order of its video table."""

    def __init__(self, table: "Annotations", store: FeatureStore, sizes: InputSizes) -> None:
        self.ids = list(table.videos["video_id"])
        self.store = store
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> VideoItem:
        features = self.store[self.ids[row]]
        pooled = (clips(features, self.sizes.num_clips), frames(features, self.sizes.max_frames))
        return VideoItem(row, *(torch.from_numpy(normalise(view)) for view in pooled))


class QueryDataset(Dataset[QueryItem]):
    """The captions of a split, in the order of its query table."""

    def __init__(self, table: "Annotations", store: FeatureStore, sizes: InputSizes) -> None:
        row_of = {video: row for row, video in enumerate(table.videos["video_id"])}
        self.ids = list(table.queries["query_id"])
        self.positives = [
            torch.tensor([row_of[video] for video in videos], dtype=torch.int64)
            for videos in table.queries["video_ids"]
        ]
        self.store = store
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> QueryItem:
        words = normalise(self.store[self.ids[row]][: self.sizes.max_words])
        return QueryItem(row, torch.from_numpy(words), self.positives[row])


class TrainDataset(Dataset[tuple[VideoItem, list[QueryItem]]]):
    """One item for each captioned video: the video with all its captions.

    A caption with several true videos is trained with each of them.
    """

    def __init__(self, videos: VideoDataset, queries: QueryDataset) -> None:
        self.videos = videos
        self.queries = queries
        captions: dict[int, list[int]] = {}
        for row, positives in enumerate(queries.positives):
            for video in positives.tolist():
                captions.setdefault(video, []).append(row)
        self.captions = sorted(captions.items())

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> tuple[VideoItem, list[QueryItem]]:
        video, rows = self.captions[index]
        return self.videos[video], [self.queries[row] for row in rows]


def collate_videos(items: list[VideoItem], max_frames: int) -> Videos:
    """Batch videos; frames are always padded to `max_frames`, the frame encoder's length."""
    frames_ = torch.zeros(len(items), max_frames, items[0].frames.shape[1])
    mask = torch.zeros(len(items), max_frames)
    for place, item in enumerate(items):
        frames_[place, : len(item.frames)] = item.frames
        mask[place, : len(item.frames)] = 1
    rows = torch.tensor([item.row for item in items])
    return Videos(rows, torch.stack([item.clips for item in items]), frames_, mask)


def collate_queries(items: list[QueryItem]) -> Queries:
    """Batch captions, padded to the longest."""
    lengths = torch.tensor([len(item.words) for item in items])
    words = pad_sequence([item.words for item in items], batch_first=True)
    mask = (torch.arange(words.shape[1]) < lengths[:, None]).float()
    positives = pad_sequence([i.positives for i in items], batch_first=True, padding_value=-1)
    return Queries(torch.tensor([item.row for item in items]), words, mask, positives)


def collate_train(items: list[tuple[VideoItem, list[QueryItem]]], max_frames: int) -> TrainBatch:
    """Batch videos with all their captions."""
    queries = collate_queries([query for _, queries in items for query in queries])
    counts = np.array([len(queries) for _, queries in items])
    labels = torch.from_numpy(np.repeat(np.arange(len(items)), counts))
    return TrainBatch(collate_videos([video for video, _ in items], max_frames), queries, labels)
