from typing import Any

import numpy as np
import pytest
import torch
from models.tiny import batch, network
from torch import Tensor

from data_modules.loading.pooling import clips
from dreamprvr.evaluation.frame_scores import FrameScores, clips_of_frames
from dreamprvr.evaluation.gallery import Gallery
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import QueryRows, map_tensors
from dreamprvr.models.gmmformer.network import GMMFormer, GMMFormerConfig
from dreamprvr.models.ms_sl.network import MSSL, MSSLConfig
from dreamprvr.models.scoring import combine, scale_scores, unit_rows, unit_tokens

LENGTHS = (8, 3, 1, 5, 6)
DATA = batch(captions=(1, 2, 1, 3, 1), frames=LENGTHS)


@pytest.mark.parametrize("rows", [1, 5, 31, 32, 33, 100, 128])
def test_frames_know_the_clips_that_were_pooled_from_them(rows: int) -> None:
    values = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    pooled = clips(values, 32)
    covering = [set(range(a, b + 1)) for a, b in zip(*clips_of_frames(rows, 32), strict=True)]
    assert set().union(*covering) == set(range(32))
    for clip in range(31):  # the last one was given a frame that pooling leaves out
        frames = [frame for frame, found in enumerate(covering) if clip in found]
        np.testing.assert_allclose(values[frames].mean(axis=0), pooled[clip], atol=1e-6)


class Words(MSSL):
    """Asks with a row for each word, as RAL does, in windows and in frames."""

    scales = ("clips", "frames")

    @property
    def scale_weights(self) -> dict[str, float]:
        return {"clips": 0.7, "frames": 0.3}

    def token_spans(self, scale: str) -> Any:
        return (
            super().token_spans(scale)
            if scale == "clips"
            else RetrievalModel.token_spans(self, scale)
        )

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> Any:
        found = super().encode_queries(words, word_mask)
        vectors = torch.stack([found.embedding, found.embedding.flip(1)], dim=1)
        rows = QueryRows(vectors, torch.tensor([[0.9, 0.4]]).expand(len(words), 2).double())
        return found._replace(rows={"clips": rows, "frames": rows})

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> Any:
        found = super().encode_videos(clips, frames, frame_mask)
        tokens = found.extras["keys"] * frame_mask[..., None]
        scale = found.scales["clips"]._replace(tokens=tokens, mask=frame_mask)
        return found._replace(scales={**found.scales, "frames": scale})


def model(kind: str) -> RetrievalModel:
    if kind == "dreamprvr":
        return network().requires_grad_(False)
    torch.manual_seed(0)
    sizes = (16, 2, 4, 8, 5)
    if kind == "gmmformer":
        made: RetrievalModel = GMMFormer(6, 5, GMMFormerConfig(*sizes))
    else:
        made = (Words if kind == "words" else MSSL)(6, 5, MSSLConfig(*sizes))
    return made.double().eval().requires_grad_(False)


def covered(model: RetrievalModel, scale: str, frame: int, frames: int) -> list[int]:
    """Tokens of a scale that cover a frame."""
    items, spans = model.token_spans(scale)
    first, last = (part[frame] for part in clips_of_frames(frames, 4))
    here = {frame} if items == "frames" else set(range(first, last + 1))
    return [token for token, span in enumerate(spans) if here & set(range(*span))]


@pytest.mark.parametrize("kind", ["dreamprvr", "gmmformer", "ms_sl", "words"])
def test_the_score_at_a_frame_is_the_score_of_the_tokens_that_cover_it(kind: str) -> None:
    made = model(kind)
    queries = unit_rows(made.encode_queries(*DATA.queries[1:3]))
    videos = unit_tokens(made.encode_videos(*DATA.videos[1:]))
    pairs = torch.tensor([0, 3, 3, 7, 5]), torch.tensor([2, 0, 4, 1, 3])
    found = FrameScores(made)(queries, videos, torch.tensor(LENGTHS), pairs)
    assert found.shape == (5, 8)
    for scores, query, video in zip(found, *pairs, strict=True):
        asked = map_tensors(lambda part, at=query: part[at : at + 1], queries)
        for frame in range(LENGTHS[video]):
            some = videos._replace(
                scales={
                    name: scale._replace(
                        tokens=scale.tokens[video : video + 1][
                            :, covered(made, name, frame, LENGTHS[video])
                        ],
                        mask=None,
                    )
                    for name, scale in videos.scales.items()
                }
            )
            expected = combine(scale_scores(asked, some, "ignore"), made.scale_weights)
            assert scores[frame] == pytest.approx(float(expected), abs=1e-9)
        assert scores[LENGTHS[video] :].eq(-torch.inf).all()


@pytest.mark.parametrize("parts", [([0, 1, 2, 3, 4],), ([4, 2], [0, 1, 3]), ([0, 1, 2], [2, 3, 4])])
def test_a_gallery_scores_its_hits_over_time(parts: tuple[list[int], ...]) -> None:
    made, hits = model("dreamprvr"), torch.tensor([[2, 0], [1, 3], [4, 0]])
    gallery = Gallery(made, memory=1)  # a query at a time
    for rows in parts:
        gallery.add(type(DATA.videos)(*(part[rows] for part in DATA.videos)))
    queries = unit_rows(made.encode_queries(*(part[:3] for part in DATA.queries[1:3])))
    videos = unit_tokens(made.encode_videos(*DATA.videos[1:]))
    pairs = torch.arange(3).repeat_interleave(2), hits.flatten()
    expected = FrameScores(made)(queries, videos, torch.tensor(LENGTHS), pairs)
    found = gallery.frame_scores(queries, hits)
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=0, atol=1e-12)
