"""Encoding of videos and queries for a library, with any model.

The model reads a limited number of frames. A longer video is cut into equal sections; each is
encoded on its own, and the tokens of all sections are kept together. Tokens of padding are not
kept, whatever the model's settings say, so a moment is always a piece of the video.
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
from dreamprvr.evaluation.frame_scores import FrameScores
from dreamprvr.evaluation.moment_tokens import moment_tokens
from dreamprvr.evaluation.moments import sections
from dreamprvr.extraction.encoder import Encoder
from dreamprvr.models.contract import RetrievalModel, TokenSpans
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

SEGMENTS = 16  # segments of each section; docs/search.md shows how much worse fewer are
BATCH = {"cpu": 16}  # sections encoded at once; more do not fit the CPU's cache
ACCELERATOR_BATCH = 128
REGISTERS = "registers"  # name of the extra whose cosines with the query are shown in results


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
        moments: replace the rows by moment tokens (docs/models/tf_prvr.md).
    """

    scales: ClassVar[tuple[str, ...]] = ("frames",)
    padding = "ignore"

    def __init__(self, video_dim: int, moments: bool = False) -> None:
        super().__init__(video_dim, video_dim, RowSettings(), RowSettings())
        self.moments = moments

    @property
    def scale_weights(self) -> dict[str, float]:
        """Return weight 1 for the frames: the score is the best cosine."""
        return {"frames": 1.0}

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Return the rows of the videos unchanged, as tokens."""
        return EncodedVideos({"frames": Scale(frames, frame_mask)}, {})

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Return the one row of each query unchanged."""
        rows = QueryRows(words, word_mask)
        return EncodedQueries(words[:, 0], {"frames": rows}, {})


class VideoVectors(NamedTuple):
    """The vectors of a video.

    Args:
        tokens: tokens by scale, (M, D) each.
        segments: means of consecutive tokens, (S, D).
        extras: matrix of each extra, by name.
    """

    tokens: dict[str, np.ndarray]
    segments: np.ndarray
    extras: dict[str, np.ndarray]


class SearchModel:
    """Encodes videos and queries with a model, and scores the videos that a library returns.

    Args:
        network: the model, in any mode, on any device.
        device: name of the device to run the model on.

    Raises:
        UserError: a library cannot keep the vectors that the model makes.
    """

    def __init__(self, network: RetrievalModel, device: str = "cpu") -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)
        self.sizes = network.config
        self.section: int = network.config.max_frames
        self.frame_scores = FrameScores(network)
        self.spans = {scale: network.token_spans(scale) for scale in network.scales}
        # candidates are found by means of frames, or of the last scale whose tokens are single
        # clips, if no token is a single frame
        fine = [scale for scale in network.scales if _has_single(self.spans[scale])]
        self.segmented = "frames" if "frames" in fine else (fine or network.scales)[-1]
        zeros = np.zeros((1, network.video_dim), np.float32)
        example = self._encode([self._item(zeros)])
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
            videos: features of each video, (N, F) float32.

        Returns:
            The vectors of each video, in the same order.
        """
        if isinstance(self.network, Untrained) and self.network.moments:
            videos = [moment_tokens(rows) for rows in videos]
        sections_of_videos = [
            [rows[part] for part in sections(len(rows), self.section)] for rows in videos
        ]
        items = [self._item(rows) for parts in sections_of_videos for rows in parts]
        size = BATCH.get(self.device.type, ACCELERATOR_BATCH)
        encoded = (
            section
            for start in range(0, len(items), size)
            for section in self._encode_sections(items[start : start + size])
        )
        return [_joined([next(encoded) for _ in parts]) for parts in sections_of_videos]

    def _item(self, rows: np.ndarray) -> VideoItem:
        views = clips(rows, self.sizes.num_clips), frames(rows, self.section)
        return VideoItem(0, *(torch.from_numpy(normalise(view)) for view in views))

    @torch.inference_mode()
    def _encode(self, items: list[VideoItem]) -> EncodedVideos:
        batch = collate_videos(items, self.section)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a network may draw the first values of its registers
            videos = self.network.encode_videos(*(part.to(self.device) for part in batch[1:]))
        extras = {
            name: videos.extras[name].float() for name in self.network.kept if name in videos.extras
        }
        if REGISTERS in extras:
            extras[REGISTERS] = unit(extras[REGISTERS])
        kept = unit_tokens(EncodedVideos(videos.scales, extras))
        return map_tensors(Tensor.cpu, kept)

    def _encode_sections(self, items: list[VideoItem]) -> list[VideoVectors]:
        videos = self._encode(items)
        vectors = []
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
            vectors.append(VideoVectors(tokens, self._segments(tokens, count), extras))
        return vectors

    def _kept_tokens(self, scale: str, count: int) -> list[int]:
        """List the tokens of a section that are not padding.

        Args:
            scale: name of the tokens' scale.
            count: number of frames of the section.
        """
        items, spans = self.spans[scale]
        return [
            token for token, (first, _) in enumerate(spans) if items == "clips" or first < count
        ]

    def _segments(self, tokens: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Average consecutive tokens of a section into segments.

        Only tokens of a single clip or frame are averaged, if there are any.

        Args:
            tokens: tokens of the section by scale, (M, D) each.
            count: number of frames of the section.

        Returns:
            The segments, of unit length, (S, D).
        """
        spans = self.spans[self.segmented].spans
        kept = [spans[token] for token in self._kept_tokens(self.segmented, count)]
        single = [place for place, (first, stop) in enumerate(kept) if stop - first == 1]
        rows = tokens[self.segmented][single or slice(None)]
        return unit(torch.from_numpy(pool(rows, min(SEGMENTS, len(rows))))).numpy()

    def shapes_of(self, rows: int) -> dict[str, tuple[int, int]]:
        """Return the shapes of the tokens of each scale, and of each extra, of a video.

        Args:
            rows: number of rows of the video.
        """
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
        """Turn a video of the library back into the model's output for its sections.

        Args:
            record: the video with its vectors.
            rows: number of rows of the video.

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
            name: torch.from_numpy(extra).reshape(len(lengths), *self.shapes[name])
            for name, extra in record.extras.items()
        }
        return EncodedVideos(scales, extras), torch.tensor(lengths)

    # Queries

    @torch.inference_mode()
    def encode_query(self, encoder: Encoder, text: str) -> EncodedQueries:
        """Encode a sentence as a batch of one query, its rows of unit length.

        Args:
            encoder: encoder of the library's features.
            text: the sentence.

        Raises:
            UserError: the encoder reads no text, or finds no word in the sentence.
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
            raise UserError(f"encoder {encoder.name} finds no word in {quote(text)}: add words")
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
        """Return the rows of a query by scale, (W, D), times their weights and the scale's."""
        weighted = {}
        for scale, weight in self.network.scale_weights.items():
            rows = query.rows[scale]
            weights = weight * rows.weights[0]
            weighted[scale] = (weights[:, None] * rows.vectors[0])[weights > 0].numpy()
        return weighted

    def segment_rows(self, query: EncodedQueries) -> np.ndarray:
        """Return the rows of a query that segments are compared with, (W, D)."""
        rows = query.rows[self.segmented]
        weighted: np.ndarray = (rows.weights[0, :, None] * rows.vectors[0]).numpy()
        return weighted[rows.weights[0].numpy() > 0]

    # Scores

    @torch.inference_mode()
    def rescore(self, query: EncodedQueries, record: Record, rows: int) -> float:
        """Score a video by the model's own `rescore`; return the score of the best section.

        Args:
            query: batch of one query.
            record: the video with its vectors.
            rows: number of rows of the video.
        """
        videos, _ = self.encoded(record, rows)
        query, videos = (map_tensors(lambda x: x.to(self.device), each) for each in (query, videos))
        scores = combine(scale_scores(query, videos, "ignore"), self.network.scale_weights)
        return float(self.network.rescore(query, videos, scores).max())

    def over_time(self, query: EncodedQueries, record: Record, rows: int) -> np.ndarray:
        """Score each row of a video, (N,), by `dreamprvr.evaluation.frame_scores`.

        Args:
            query: batch of one query.
            record: the video with its vectors.
            rows: N, number of rows of the video.
        """
        videos, frame_counts = self.encoded(record, rows)
        count = len(frame_counts)
        pairs = torch.zeros(count, dtype=torch.long), torch.arange(count)
        scores = self.frame_scores(query, videos, frame_counts, pairs)
        return scores[torch.isfinite(scores)].numpy()

    def register_cosines(self, query: EncodedQueries, record: Record) -> tuple[float, ...]:
        """Return the cosine of the query with each register, the largest over the sections."""
        if REGISTERS not in record.extras:
            return ()
        products = record.extras[REGISTERS] @ query.embedding[0].numpy()
        best = products.reshape(-1, self.extra_rows[REGISTERS]).max(axis=0)
        return tuple(map(float, best))


def _has_single(spans: TokenSpans) -> bool:
    """Tell whether a token of a scale covers a single clip or frame."""
    return any(stop - first == 1 for first, stop in spans.spans)


def _joined(parts: list[VideoVectors]) -> VideoVectors:
    """Join the vectors of a video's sections."""
    tokens, segments, extras = zip(*parts, strict=True)
    return VideoVectors(
        {name: np.concatenate([part[name] for part in tokens]) for name in tokens[0]},
        np.concatenate(segments),
        {name: np.concatenate([part[name] for part in extras]) for name in extras[0]},
    )


def _matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return the shape of the matrix in which an extra is kept.

    Args:
        shape: shape that the model gives the extra for one section.
    """
    if len(shape) < 2:
        return math.prod(shape), 1
    return math.prod(shape[:-1]), shape[-1]
