import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dreamprvr.models import scoring
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos, Padding, QueryRows, Scale
from dreamprvr.models.scoring import (
    best_sum,
    best_tokens,
    combine,
    scale_scores,
    score_block,
    token_products,
    unit_rows,
    unit_tokens,
)

GENERATOR = torch.Generator().manual_seed(0)
QUERY = torch.randn(3, 4, generator=GENERATOR)
MASK = torch.tensor([[1.0, 1, 1], [1, 0, 0]])
CLIPS = torch.randn(2, 2, 4, generator=GENERATOR)
FRAMES = torch.randn(2, 3, 4, generator=GENERATOR) * MASK[..., None]
WORDS = torch.randn(3, 5, 4, generator=GENERATOR)
WEIGHTS = torch.softmax(torch.randn(3, 5, generator=GENERATOR), dim=1)


def videos(clips: Tensor = CLIPS, frames: Tensor = FRAMES) -> EncodedVideos:
    return EncodedVideos({"clips": Scale(clips), "frames": Scale(frames, MASK)}, {})


def queries(query: Tensor = QUERY) -> EncodedQueries:
    rows = QueryRows(query[:, None], query.new_ones(len(query), 1))
    return EncodedQueries(query, {"clips": rows, "frames": rows}, {})


@pytest.mark.parametrize("padding", ["zero", "ignore"])
def test_scores_equal_the_slow_reference(padding: Padding) -> None:
    found = scale_scores(queries(), videos(), padding)
    for q in range(3):
        for v in range(2):
            clips = [float(QUERY[q] @ row) for row in CLIPS[v]]
            length = 3 if padding == "zero" else int(MASK[v].sum())
            frames = [float(QUERY[q] @ row) for row in FRAMES[v, :length]]
            assert float(found["clips"][q, v]) == pytest.approx(max(clips))
            assert float(found["frames"][q, v]) == pytest.approx(max(frames))


def test_several_rows_of_a_query_are_added_up_by_weight() -> None:
    asked = queries()._replace(rows={"frames": QueryRows(WORDS, WEIGHTS)})
    kept = EncodedVideos({"frames": Scale(FRAMES, MASK)}, {})
    found = scale_scores(asked, kept, "zero")["frames"]
    for q in range(3):
        for v in range(2):
            best = [max(float(word @ row) for row in FRAMES[v]) for word in WORDS[q]]
            expected = sum(float(w) * b for w, b in zip(WEIGHTS[q], best, strict=True))
            assert float(found[q, v]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("padding", ["zero", "ignore"])
@pytest.mark.parametrize("rows", [1, 5])
def test_scores_without_gradients_equal_those_of_the_loss(padding: Padding, rows: int) -> None:
    asked = QueryRows(WORDS[:, :rows], WEIGHTS[:, :rows])
    for scale in videos().scales.values():
        expected = best_sum(asked, scale, padding)
        score, token = best_tokens(asked, scale, padding, True, memory=1)
        torch.testing.assert_close(score, expected)
        alone = best_tokens(asked, scale, padding, False, memory=1e9)
        torch.testing.assert_close(alone.score, expected)
        assert alone.token.shape == (0,)
        heaviest = WORDS[torch.arange(3), WEIGHTS[:, :rows].argmax(dim=1)]  # (Q, D)
        mask = scale.mask if padding == "ignore" else None
        products = token_products(heaviest, scale.tokens, mask)
        assert torch.equal(token.long(), products.argmax(dim=-1))


def test_padding_scores_zero_or_never_wins() -> None:
    opposite = queries(-FRAMES[1, :1])  # its only frame scores below 0
    zero, ignore = (scale_scores(opposite, videos(), kind) for kind in ("zero", "ignore"))
    assert float(zero["frames"][0, 1]) == 0
    expected = -float(FRAMES[1, 0].square().sum())
    assert float(ignore["frames"][0, 1]) == pytest.approx(expected)


def test_combined_scores_are_the_weighted_sum_of_the_scales() -> None:
    found = scale_scores(queries(), videos(), "zero")
    expected = 0.7 * found["clips"] + 0.2 * found["frames"]
    torch.testing.assert_close(combine(found, {"clips": 0.7, "frames": 0.2}), expected)


def test_unit_tokens_have_unit_length_and_zero_rows_stay_zero() -> None:
    unit = unit_tokens(videos()).scales
    torch.testing.assert_close(unit["frames"].tokens.norm(dim=-1), MASK)
    torch.testing.assert_close(unit["clips"].tokens * CLIPS.norm(dim=-1, keepdim=True), CLIPS)
    assert unit["frames"].mask is MASK
    rows = unit_rows(queries()).rows["clips"].vectors
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_never_drop_to_half_precision(dtype: torch.dtype) -> None:
    half = videos(CLIPS.to(dtype), FRAMES.to(dtype))
    assert unit_tokens(half).scales["clips"].tokens.dtype == torch.float32
    with torch.autocast("cpu", dtype):
        found = scale_scores(queries(QUERY.to(dtype)), half, "zero")
    exact = scale_scores(
        queries(QUERY.to(dtype).float()),
        videos(CLIPS.to(dtype).float(), FRAMES.to(dtype).float()),
        "zero",
    )
    assert torch.equal(found["clips"], exact["clips"])
    assert math.isfinite(found["frames"].sum())


def test_weights_of_several_rows_are_not_rounded_to_half_precision() -> None:
    rows = QueryRows(WORDS, WEIGHTS)
    with torch.autocast("cpu", torch.bfloat16):
        found = best_sum(rows, Scale(CLIPS), "zero")
    assert torch.equal(found, best_sum(rows, Scale(CLIPS), "zero"))


# Rows for each word, some of them padding

COUNTS = (5, 2, 1)  # words of each query
WORD_MASK = torch.arange(5) < torch.tensor(COUNTS)[:, None]
PADDED_WEIGHTS = WEIGHTS * WORD_MASK


def gradients_of_best_sum(
    compute: Callable[[QueryRows, Scale], Tensor], tokens: Tensor
) -> list[Tensor]:
    """Scores, and the gradients of a sum of them, by rows, weights and tokens."""
    torch.manual_seed(1)
    leaves = [WORDS.clone(), PADDED_WEIGHTS.clone(), tokens.clone()]
    vectors, weights, kept = (leaf.double().requires_grad_() for leaf in leaves)
    # as a softmax gives it: no gradient goes to the weight of padding
    rows = QueryRows(vectors, weights * WORD_MASK)
    scores = compute(rows, Scale(kept, MASK))
    (torch.rand_like(scores) * scores).sum().backward()
    gradients = [leaf.grad for leaf in (vectors, weights, kept)]
    assert all(gradient is not None for gradient in gradients)
    return [scores.detach(), *(gradient for gradient in gradients if gradient is not None)]


@pytest.mark.parametrize("memory", [1, 1e9])  # tiles of one video, and of both
@pytest.mark.parametrize("padding", ["zero", "ignore"])
@pytest.mark.parametrize("ties", [False, True])
def test_tiles_without_padded_rows_have_the_gradients_of_the_plain_form(
    memory: float, padding: Padding, ties: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(rows: QueryRows, scale: Scale) -> Tensor:
        mask = scale.mask if padding == "ignore" else None
        products = token_products(rows.vectors.flatten(0, 1), scale.tokens, mask)
        best = products.max(dim=-1).values.view(*rows.weights.shape, -1)
        return (rows.weights[..., None] * best).sum(dim=1)

    # of two equal tokens, the first gets the whole gradient
    tokens = FRAMES[:, [0, 0, 1]] if ties else FRAMES
    monkeypatch.setattr(scoring, "GRADIENT_TILE", memory)
    found = gradients_of_best_sum(lambda rows, scale: best_sum(rows, scale, padding), tokens)
    expected = gradients_of_best_sum(plain, tokens)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_padded_rows_are_never_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    products = scoring.token_products

    def watch(query: Tensor, *others: Tensor) -> Tensor:
        shapes.append(query.shape[0])
        return products(query, *others)

    monkeypatch.setattr(scoring, "token_products", watch)
    best_sum(QueryRows(WORDS, PADDED_WEIGHTS), Scale(CLIPS), "zero")
    assert shapes == [sum(COUNTS)]


@pytest.mark.parametrize("memory", [1, 200, 1e9])  # blocks of one row, of eight, and of all
@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_token_is_that_of_the_heaviest_word(memory: float, sign: int) -> None:
    asked = QueryRows(WORDS, sign * PADDED_WEIGHTS)
    score, token = best_tokens(asked, Scale(FRAMES, MASK), "zero", True, memory)
    torch.testing.assert_close(score, best_sum(asked, Scale(FRAMES, MASK), "zero"))
    for q, count in enumerate(COUNTS):
        heaviest = max(range(count), key=lambda word: float(sign * WEIGHTS[q, word]))
        for v in range(2):
            products = [float(WORDS[q, heaviest] @ frame) for frame in FRAMES[v]]
            assert products[int(token[q, v])] == max(products)


def test_a_query_without_words_scores_zero() -> None:
    """A compiled query encoder may be given padded queries."""
    weights = torch.cat([PADDED_WEIGHTS[:2], torch.zeros(1, 5)])
    score = best_tokens(QueryRows(WORDS, weights), Scale(CLIPS), "zero", True, 1e9).score
    assert score[2].tolist() == [0, 0]


GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.randn(5, 8, generator=GENERATOR)
KEPT = torch.randn(7, 3, 8, generator=GENERATOR)
KEPT_MASK = torch.tensor([[1.0, 1, 1]] * 4 + [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
ONE_VIDEO = 4 * (2 * 5 * 3 + 3 * 8)  # bytes


@pytest.mark.parametrize("memory", [1, ONE_VIDEO, 3 * ONE_VIDEO, 1e9])
@pytest.mark.parametrize("masked", [True, False])
def test_every_tile_size_equals_the_slow_reference(memory: float, masked: bool) -> None:
    found = score_block(ROWS, KEPT, KEPT_MASK if masked else None, True, memory)
    for q in range(5):
        for v in range(7):
            valid = [m for m in range(3) if KEPT_MASK[v, m] or not masked]
            products = {m: float(ROWS[q] @ KEPT[v, m]) for m in valid}
            assert float(found.score[q, v]) == pytest.approx(max(products.values()), abs=1e-5)
            assert products[int(found.token[q, v])] == pytest.approx(
                max(products.values()), abs=1e-5
            )
    alone = score_block(ROWS, KEPT, KEPT_MASK if masked else None, False, memory)
    assert torch.equal(alone.score, found.score)
    assert not alone.token.numel()


def test_tokens_in_half_precision_are_multiplied_in_float32() -> None:
    half = KEPT.bfloat16()
    found = score_block(ROWS, half, None, False, 1e9).score
    exact = torch.einsum("qd,bmd->qbm", ROWS.double(), half.double()).amax(-1).float()
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-6)


def test_no_tile_is_larger_than_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    products = scoring._products

    def watch(*operands: torch.Tensor) -> torch.Tensor:
        result = products(*operands)
        sizes.append(result.numel() * result.element_size())
        return result

    monkeypatch.setattr(scoring, "_products", watch)
    score_block(ROWS, KEPT, None, False, 2.5 * ONE_VIDEO)
    assert len(sizes) == 4  # 2 + 2 + 2 + 1 videos
    assert max(sizes) <= 2.5 * ONE_VIDEO
