import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from models.tiny import CONFIG, batch, network
from shared import DATA, needs_data
from torch import Tensor

from dreamprvr.bucketing import bucket, bucketed_objective, bucketed_queries
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.dreamprvr.objective import Objective
from dreamprvr.models.encoded import PADDED, EncodedBatch

CAPTIONS = [(2, 3, 4), (1,), (3, 7, 1), (2, 2)]  # 9, 1, 11 and 4 queries


def test_buckets() -> None:
    found = [bucket(size) for size in range(1, 4097)]
    assert found[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert sorted(set(found))[8:17] == [10, 12, 14, 16, 20, 24, 28, 32, 40]
    assert found == sorted(found)
    for size, rounded in enumerate(found, start=1):
        assert size <= rounded < 1.25 * size
        assert bucket(rounded) == rounded
    assert len(set(found)) <= 4 * math.log2(4096)


@pytest.mark.parametrize("captions", CAPTIONS)
def test_queries_meet_buckets_only_and_stay_the_same(captions: tuple[int, ...]) -> None:
    model, queries = network(), batch(captions, words=[3] * sum(captions)).queries
    sizes = []

    def encode(words: Tensor, mask: Tensor) -> Tensor:
        assert words.shape[:2] == mask.shape
        sizes.append(mask.shape)
        return model.query_encoder(words, mask)

    found = bucketed_queries(encode, CONFIG.max_words)(queries.words, queries.word_mask)
    expected = model.query_encoder(queries.words, queries.word_mask)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert [*sizes[0]] == [bucket(sum(captions)), 3]


def test_padded_words_stay_the_same_up_to_the_longest_caption() -> None:
    torch.manual_seed(3)
    words, mask = torch.randn(2, 9, 5, dtype=torch.float64), torch.ones(2, 9).double()
    model = network(max_words=10)
    sizes = []

    def encode(words: Tensor, mask: Tensor) -> Tensor:
        sizes.append(mask.shape[1])
        return model.query_encoder(words, mask)

    expected = model.query_encoder(words, mask)
    for longest in (9, 10, 16):
        found = bucketed_queries(encode, longest)(words, mask)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert sizes == [9, 10, 10]


def terms(model: DreamPRVR, captions: tuple[int, ...], bucketed: bool) -> dict[str, Tensor]:
    objective = Objective(ObjectiveConfig(hard_pool=1), "zero")
    seen = []

    def compute(data: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        seen.append(data)
        return objective(data, hard_negatives)

    data = model.encode_batch(batch(captions))
    found = (bucketed_objective(compute) if bucketed else compute)(data, True)
    count, padded = sum(captions), bucket(sum(captions)) if bucketed else sum(captions)
    assert len(seen[0].queries.embedding) == len(seen[0].labels) == padded
    assert {len(rows.vectors) for rows in seen[0].queries.rows.values()} == {padded}
    assert (seen[0].labels[count:] == PADDED).all()
    return found


@pytest.mark.parametrize("captions", CAPTIONS)
def test_every_term_and_gradient_stays_the_same(captions: tuple[int, ...]) -> None:
    model = network()
    plain, padded = (terms(model, captions, bucketed) for bucketed in (False, True))
    assert plain.keys() == padded.keys()
    for name, term in plain.items():
        torch.testing.assert_close(padded[name], term, rtol=1e-12, atol=1e-12)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for ours, expected in zip(
        torch.autograd.grad(padded["total"], parameters),
        torch.autograd.grad(plain["total"], parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@needs_data
def test_an_epoch_of_activitynet_has_few_shapes() -> None:
    """128 videos a batch with all their sentences, at most 64 words of each."""
    videos = json.loads((DATA / "activitynet" / "train.json").read_text()).values()
    sentences = np.array([len(video["sentences"]) for video in videos])
    words = np.array([max(len(s.split()) for s in video["sentences"]) for video in videos])
    order = np.random.default_rng(0).permutation(len(sentences))
    batches = [order[start:end] for start, end in pairwise(range(0, len(order), 128))]
    shapes = [(int(sentences[b].sum()), min(int(words[b].max()), 64)) for b in batches]
    padded = [(bucket(count), min(bucket(longest), 64)) for count, longest in shapes]
    assert len(set(shapes)) == 75
    assert len(set(padded)) == 10  # graphs of the query encoder
    assert len({count for count, _ in padded}) == 3  # of the objective
    more = [a * b / (c * d) for (a, b), (c, d) in zip(padded, shapes, strict=True)]
    assert np.mean(more) == pytest.approx(1.135, abs=0.001)
