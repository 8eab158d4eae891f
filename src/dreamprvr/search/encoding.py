"""Videos and sentences as a library keeps and asks them, for any model.

A video of more rows than the model reads frames is cut into equal sections. Each is encoded on its
own, and the tokens of all are kept together. Padding is not kept, so it never takes part in the
score, whatever the model's settings say: a moment is always a piece of the video.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from data_modules.loading.dataset import VideoItem, collate_videos
from data_modules.loading.pooling import clips, frames, normalise, pool
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.evaluation.moments import FrameScores, sections
from dreamprvr.extraction.encoder import Encoder
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import (
    EncodedQueries,
    EncodedVideos,
    QueryRows,
    Scale,
    map_tensors,
)
from dreamprvr.models.layers.basic import unit
from dreamprvr.models.scoring import combine, scale_scores, unit_rows, unit_tokens
from dreamprvr.search.engine.interface import Layout, Record

SEGMENTS = 16  # of each section; docs/search.md has what fewer lose
BATCH = {"cpu": 16}  # sections encoded at once; on the CPU, what fits its cache
ACCELERATOR_BATCH = 128
REGISTERS = "registers"  # an extra that results show, as cosines


@dataclass(frozen=True)
class RowSettings:
    """Lengths of the inputs of `Untrained`."""

    num_clips: int = 1
    max_frames: int = 128
    max_words: int = 1


class Untrained(RetrievalModel):
    """Search without training: every row of a video is a token, and a sentence is one row.

    Args:
        video_dim: F, size of a row of the feature file.
    """

    Network = Objective = RowSettings
    scales: ClassVar[tuple[str, ...]] = ("frames",)
    padding = "ignore"

    def __init__(self, video_dim: int) -> None:
        super().__init__(video_dim, video_dim, RowSettings(), RowSettings())

    @property
    def scale_weights(self) -> dict[str, float]:
        """Give the frames the whole weight: the score is the best cosine."""
        return {"frames": 1.0}

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Give the rows as they are."""
        return EncodedVideos({"frames": Scale(frames, frame_mask)}, {})

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Give the one row as it is."""
        rows = QueryRows(words, word_mask)
        return EncodedQueries(words[:, 0], {"frames": rows}, {})


class VideoVectors(NamedTuple):
    """The vectors of a video, as in `Record`."""

    tokens: dict[str, np.ndarray]
    segments: np.ndarray
    extras: dict[str, np.ndarray]


class SearchModel:
    """Encodes videos and sentences with a model, and scores what a library gives back.

    Args:
        network: the model, in any mode, on any device.
        device: name of the device on which it is to run.

    Raises:
        UserError: a library cannot keep what the model makes.
    """

    def __init__(self, network: RetrievalModel, device: str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)
        self.sizes = network.config
        self.section: int = network.config.max_frames
        self.frame_scores = FrameScores(network)
        self.spans = {scale: network.token_spans(scale) for scale in network.scales}
        # candidates are found by the frames, or by the last scale of a model that has none
        self.segmented = "frames" if "frames" in network.scales else network.scales[-1]
        nothing = np.zeros((1, network.video_dim), np.float32)
        example = self._encode([self._item(nothing)])
        self.shapes = {name: extra.shape[1:] for name, extra in example.extras.items()}
        dims = {scale.tokens.shape[2] for scale in example.scales.values()}
        if len(dims) > 1:
            raise UserError(f"a library cannot keep tokens of several sizes: {sorted(dims)}")
        matrices = {name: _matrix_shape(shape) for name, shape in self.shapes.items()}
        self.extra_rows = {name: rows for name, (rows, _) in matrices.items()}
        extras = {name: size for name, (_, size) in matrices.items()}
        self.layout = Layout(dims.pop(), network.scales, extras)

    # Videos

    def encode_videos(self, videos: Sequence[np.ndarray]) -> list[VideoVectors]:
        """Encode videos.

        Args:
            videos: rows of features of each, (N, F) float32.
        """
        cut = [[rows[part] for part in sections(len(rows), self.section)] for rows in videos]
        items = [self._item(rows) for parts in cut for rows in parts]
        size = BATCH.get(self.device.type, ACCELERATOR_BATCH)
        encoded = (
            section
            for start in range(0, len(items), size)
            for section in self._encode_sections(items[start : start + size])
        )
        return [_joined([next(encoded) for _ in parts]) for parts in cut]

    def _item(self, rows: np.ndarray) -> VideoItem:
        views = clips(rows, self.sizes.num_clips), frames(rows, self.section)
        return VideoItem(0, *(torch.from_numpy(normalise(view)) for view in views))

    @torch.inference_mode()
    def _encode(self, items: list[VideoItem]) -> EncodedVideos:
        batch = collate_videos(items, self.section)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a network may start its registers from a sample
            videos = self.network.encode_videos(*(part.to(self.device) for part in batch[1:]))
        extras = {
            name: videos.extras[name].float() for name in self.network.kept if name in videos.extras
        }
        if REGISTERS in extras:
            extras[REGISTERS] = unit(extras[REGISTERS])
        kept = unit_tokens(EncodedVideos(videos.scales, extras))
        return map_tensors(Tensor.cpu, kept)  # type: ignore[no-any-return]

    def _encode_sections(self, items: list[VideoItem]) -> list[VideoVectors]:
        videos = self._encode(items)
        found = []
        for place, item in enumerate(items):
            count = len(item.frames)
            tokens = {
                name: scale.tokens[place, self._kept_tokens(name, count)].numpy()
                for name, scale in videos.scales.items()
            }
            extras = {
                name: extra[place].numpy().reshape(_matrix_shape(extra.shape[1:]))
                for name, extra in videos.extras.items()
            }
            found.append(VideoVectors(tokens, self._segments(tokens, count), extras))
        return found

    def _kept_tokens(self, scale: str, count: int) -> list[int]:
        """List the tokens of a section of some frames that are no padding."""
        items, spans = self.spans[scale]
        return [
            token for token, (first, _) in enumerate(spans) if items == "clips" or first < count
        ]

    def _segments(self, tokens: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Average the tokens of single clips or frames of a section over equal parts, (S, D)."""
        spans = self.spans[self.segmented].spans
        kept = [spans[token] for token in self._kept_tokens(self.segmented, count)]
        single = [place for place, (first, stop) in enumerate(kept) if stop - first == 1]
        rows = tokens[self.segmented][single or slice(None)]
        return unit(torch.from_numpy(pool(rows, min(SEGMENTS, len(rows))))).numpy()

    def shapes_of(self, rows: int) -> dict[str, tuple[int, int]]:
        """Give the shape of the tokens of each scale, and of each extra, of a video of N rows."""
        lengths = [part.stop - part.start for part in sections(rows, self.section)]
        tokens = {
            scale: (sum(len(self._kept_tokens(scale, n)) for n in lengths), self.layout.dim)
            for scale in self.layout.scales
        }
        extras = {
            name: (len(lengths) * self.extra_rows[name], size)
            for name, size in self.layout.extras.items()
        }
        return {**tokens, **extras}

    def encoded(self, record: Record, rows: int) -> tuple[EncodedVideos, Tensor]:
        """Make of a video what the model gives for its sections.

        Args:
            record: the video.
            rows: number of its rows.

        Returns:
            The S sections as a batch, and the number of frames of each, (S,).
        """
        lengths = [part.stop - part.start for part in sections(rows, self.section)]
        scales = {}
        for name, tokens in record.tokens.items():
            count = len(self.spans[name].spans)
            padded = torch.zeros(len(lengths), count, self.layout.dim)
            mask = torch.zeros(len(lengths), count)
            start = 0
            for section, length in enumerate(lengths):
                kept = self._kept_tokens(name, length)
                stop = start + len(kept)
                padded[section, kept] = torch.from_numpy(tokens[start:stop])
                mask[section, kept] = 1
                start = stop
            scales[name] = Scale(padded, mask)
        extras = {
            name: torch.from_numpy(found).reshape(len(lengths), *self.shapes[name])
            for name, found in record.extras.items()
        }
        return EncodedVideos(scales, extras), torch.tensor(lengths)

    # Queries

    @torch.inference_mode()
    def encode_query(self, encoder: Encoder, text: str) -> EncodedQueries:
        """Encode a sentence as a batch of one query, its rows of unit length.

        Raises:
            UserError: the encoder reads no text, or finds no word in it.
        """
        features = encoder.encode_query(text)
        words = features.words
        if isinstance(self.network, Untrained):
            if features.sentence is None:
                raise UserError(
                    f"encoder {encoder.name} does not put sentences into the space of its videos, "
                    "so this library can only be searched with a trained model: index with "
                    "--ckpt_path"
                )
            words = features.sentence[None]
        rows = words.detach().cpu().numpy()[: self.sizes.max_words]
        if not len(rows):
            raise UserError(f"encoder {encoder.name} finds no word in {quote(text)}: say more")
        batch = rearrange(torch.from_numpy(normalise(rows)), "l e -> 1 l e").to(self.device)
        mask = torch.ones(batch.shape[:2], device=self.device)
        query = unit_rows(self.network.encode_queries(batch, mask))
        query = map_tensors(lambda part: part.float().cpu(), query)
        if any((rows.weights < 0).any() for rows in query.rows.values()):
            raise UserError(
                f"{type(self.network).__name__} gives a row of the query a weight below 0, which "
                "an engine cannot search for"
            )
        return query._replace(embedding=unit(query.embedding))

    def engine_rows(self, query: EncodedQueries) -> dict[str, np.ndarray]:
        """Give the rows of a query by scale, (W, D), times their weights and the scale's."""
        found = {}
        for scale, weight in self.network.scale_weights.items():
            rows = query.rows[scale]
            weights = weight * rows.weights[0]
            found[scale] = (weights[:, None] * rows.vectors[0])[weights > 0].numpy()
        return found

    def segment_rows(self, query: EncodedQueries) -> np.ndarray:
        """Give the rows of a query that segments are asked with, (W, D)."""
        rows = query.rows[self.segmented]
        weighted: np.ndarray = (rows.weights[0, :, None] * rows.vectors[0]).numpy()
        return weighted[rows.weights[0].numpy() > 0]

    # Scores

    @torch.inference_mode()
    def rescore(self, query: EncodedQueries, record: Record, rows: int) -> float:
        """Score a video as the model does, beyond the sum of maxima; its best section counts."""
        videos, _ = self.encoded(record, rows)
        query, videos = (map_tensors(lambda x: x.to(self.device), each) for each in (query, videos))
        scores = combine(scale_scores(query, videos, "ignore"), self.network.scale_weights)
        return float(self.network.rescore(query, videos, scores).max())

    def over_time(self, query: EncodedQueries, record: Record, rows: int) -> np.ndarray:
        """Score each row of a video, (N,); see `dreamprvr.evaluation.moments`."""
        videos, frame_counts = self.encoded(record, rows)
        count = len(frame_counts)
        pairs = torch.zeros(count, dtype=torch.long), torch.arange(count)
        scores = self.frame_scores(query, videos, frame_counts, pairs)
        return scores[torch.isfinite(scores)].numpy()

    def register_cosines(self, query: EncodedQueries, record: Record) -> tuple[float, ...]:
        """Give the cosine of the query with each register, the best over the sections."""
        if REGISTERS not in record.extras:
            return ()
        products = record.extras[REGISTERS] @ query.embedding[0].numpy()
        best = products.reshape(-1, self.extra_rows[REGISTERS]).max(axis=0)
        return tuple(map(float, best))


def _joined(parts: list[VideoVectors]) -> VideoVectors:
    """Join the vectors of a video's sections."""
    tokens, segments, extras = zip(*parts, strict=True)
    return VideoVectors(
        {name: np.concatenate([part[name] for part in tokens]) for name in tokens[0]},
        np.concatenate(segments),
        {name: np.concatenate([part[name] for part in extras]) for name in extras[0]},
    )


def _matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Give the shape of the matrix in which an extra of some shape is kept."""
    if len(shape) < 2:
        return math.prod(shape), 1
    return math.prod(shape[:-1]), shape[-1]
