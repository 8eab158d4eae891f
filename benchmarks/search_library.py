"""A whole search as the program and the page do it, apart from the encoder's text side."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from benchmarks.search_videos import CLIP_WEIGHT, FRAME_WEIGHT, Queries
from dreamprvr.search.engine import Engine
from dreamprvr.search.models import LibraryModel
from dreamprvr.search.searching import Candidates, Searcher

FOUND = 10  # videos shown, each with its curve and moments


class NumberedQueries:
    """A model whose sentences are the numbers of queries that are encoded already.

    Args:
        queries: their vectors.
    """

    clip_weight, frame_weight = CLIP_WEIGHT, FRAME_WEIGHT
    section, clips, registers = 128, 32, 0

    def __init__(self, queries: Queries) -> None:
        self._vectors = queries.vectors
        self.dim = queries.vectors.shape[1]

    def encode_query(self, encoder: Any, text: str) -> np.ndarray:
        """The vector of query number `text`."""
        return self._vectors[int(text)]


def text_side(tokens: int = 12) -> Callable[[], object]:
    """A sentence through the text side of CLIP ViT-B/32: its sizes, not its weights."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    model = CLIPTextModelWithProjection(CLIPTextConfig()).eval()
    ids = torch.arange(1, tokens + 1)[None]

    def encode() -> object:
        with torch.inference_mode():
            return model(input_ids=ids)

    return encode


def library_search(
    engine: Engine, queries: Queries, candidates: Candidates
) -> Callable[[int], list[int]]:
    """Rank, fetch the best videos, find moments on their curves, count what was searched."""
    settings = SimpleNamespace(stride=1.0, window=1.0)  # a frame a second
    known = SimpleNamespace(
        model=NumberedQueries(queries), settings=settings, encoder=lambda: None
    )  # fmt: skip
    searcher = Searcher(engine, cast("LibraryModel", known))

    def search(number: int) -> list[int]:
        found = searcher.search(str(number), FOUND, {}, 3, None, candidates)
        return [int(hit.video.video_id[1:]) for hit in found.hits]

    return search
