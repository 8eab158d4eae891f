"""The score of a query at every frame of a video, from which moments are found.

A frame is a row of the video's features, or what rows were pooled to. The score of a query at a
frame is the model's score of the tokens that cover this frame alone. So the score over time is
never above the score of the video, and equal to it where the best tokens of all scales lie
together. A model says by `token_spans` which clips or frames a token covers. What `rescore` adds is
not included.
"""

from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from data_modules.loading.pooling import boundaries
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos
from dreamprvr.models.layers.basic import at_least_float32


class FrameScores:
    """Scores queries at every frame of a video.

    Args:
        model: the model, whose `token_spans` name the clips or frames that its tokens cover.
    """

    def __init__(self, model: RetrievalModel) -> None:
        self.weights, self.sizes = model.scale_weights, model.config
        self.items: dict[str, str] = {}
        self.tokens: dict[str, Tensor] = {}  # of each item, those that cover it
        counts = {"clips": self.sizes.num_clips, "frames": self.sizes.max_frames}
        for scale in model.scales:
            items, spans = model.token_spans(scale)
            self.items[scale], self.tokens[scale] = items, _covering(spans, counts[items])

    def __call__(
        self,
        queries: EncodedQueries,
        videos: EncodedVideos,
        frames: Tensor,
        pairs: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Score some pairs of a query and a video.

        Args:
            queries: Q queries, their rows of unit length.
            videos: B videos, their tokens of unit length.
            frames: number of frames of each video, (B,).
            pairs: indices of the query and of the video of each pair, (P,) both.

        Returns:
            The score at each frame, (P, M_f); minus infinity behind the last frame.
        """
        query, video = pairs
        asking, place = _queries_of_videos(query, video, len(frames))
        total: Tensor | None = None
        for scale, weight in self.weights.items():
            rows, tokens = queries.rows[scale], videos.scales[scale].tokens
            products = _products(rows.vectors[asking], tokens)[video, place]
            best = _best(products, self.tokens[scale].to(tokens.device))
            if self.items[scale] == "clips":
                best = self._at_frames(best, frames[video])
            scores = weight * torch.einsum(
                "pw,pwm->pm", at_least_float32(rows.weights)[query], best
            )
            total = scores if total is None else total + scores
        assert total is not None, "a model has at least one scale"
        past = torch.arange(total.shape[1], device=total.device) >= frames[video, None]
        return total.masked_fill(past, -torch.inf)

    def _at_frames(self, clips: Tensor, frames: Tensor) -> Tensor:
        """Take the best clip of each frame, (P, W, M_c) -> (P, W, M_f).

        Args:
            clips: product of each row with each clip.
            frames: number of frames of each video, (P,).
        """
        first, last = (
            table.to(clips.device)[frames]
            for table in _clip_tables(self.sizes.max_frames, self.sizes.num_clips)
        )
        best = None
        for step in range(int((last - first).max()) + 1):
            index = torch.minimum(first + step, last)
            products = clips.gather(2, index[:, None].expand(-1, clips.shape[1], -1))
            best = products if best is None else torch.maximum(best, products)
        assert best is not None, "a frame has at least one clip"
        return best


def _queries_of_videos(query: Tensor, video: Tensor, videos: int) -> tuple[Tensor, Tensor]:
    """List the queries that ask each video.

    Args:
        query: index of the query of each pair, (P,).
        video: index of the video of each pair, (P,).
        videos: B, number of videos.

    Returns:
        Indices of queries, (B, N), padded with 0; and the place of each pair in its row, (P,).
    """
    order = video.argsort()
    counts = torch.bincount(video, minlength=videos)
    before = counts.cumsum(0) - counts
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - before[video[order]]
    asking = query.new_zeros(videos, int(counts.max()))
    asking[video, place] = query
    return asking, place


def _products(vectors: Tensor, tokens: Tensor) -> Tensor:
    """Multiply the rows that ask each video with its tokens.

    Args:
        vectors: W rows of each of N queries, (B, N, W, D).
        tokens: (B, T, D).

    Returns:
        (B, N, W, T).
    """
    with torch.autocast(tokens.device.type, enabled=False):
        rows = at_least_float32(rearrange(vectors, "b n w d -> b (n w) d"))
        products = rows @ at_least_float32(tokens).mT
    return rearrange(products, "b (n w) t -> b n w t", n=vectors.shape[1])


def _best(products: Tensor, tokens: Tensor) -> Tensor:
    """Take the best product among the tokens of each item, (P, W, T) -> (P, W, items)."""
    if tokens.shape[1] == 1 and torch.equal(tokens[:, 0], torch.arange(len(tokens)).to(tokens)):
        return products[..., : len(tokens)]
    return products[..., tokens].amax(dim=-1)


def _covering(spans: list[tuple[int, int]], items: int) -> Tensor:
    """List the tokens that cover each item, (items, most); the first again where there are fewer.

    Args:
        spans: first item of each token, and the one after its last.
        items: number of items; each must be covered.
    """
    covering: list[list[int]] = [[] for _ in range(items)]
    for token, (first, stop) in enumerate(spans):
        for item in range(first, stop):
            covering[item].append(token)
    most = max(map(len, covering))
    return torch.tensor([tokens + tokens[:1] * (most - len(tokens)) for tokens in covering])


def clips_of_frames(frames: int, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the first and the last of the clips that cover each frame of a video, (frames,) both.

    A clip covers the frames that it was pooled from; the last one also the last frame, which
    pooling leaves out.
    """
    bounds = boundaries(frames, clips)
    stops = np.maximum(bounds[1:], bounds[:-1] + 1)
    stops[-1] = frames
    at = np.arange(frames)
    return stops.searchsorted(at, "right"), bounds[:-1].searchsorted(at, "right") - 1


@lru_cache(maxsize=16)
def _clip_tables(longest: int, clips: int) -> tuple[Tensor, Tensor]:
    """Collect `clips_of_frames` for videos of 0 to `longest` frames, (longest + 1, longest) both.

    Behind the last frame of a video stands clip 0.
    """
    tables = torch.zeros(2, longest + 1, longest, dtype=torch.long)
    for frames in range(1, longest + 1):
        tables[:, frames, :frames] = torch.from_numpy(np.stack(clips_of_frames(frames, clips)))
    return tables[0], tables[1]
