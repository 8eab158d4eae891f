import math

import pytest
import torch

from dreamprvr.model.scoring import VideoTokens, token_scores

GENERATOR = torch.Generator().manual_seed(0)
QUERY = torch.randn(3, 4, generator=GENERATOR)
MASK = torch.tensor([[1.0, 1, 1], [1, 0, 0]])
TOKENS = VideoTokens(
    clips=torch.randn(2, 2, 4, generator=GENERATOR),
    frames=torch.randn(2, 3, 4, generator=GENERATOR) * MASK[..., None],
    frame_mask=MASK,
)


@pytest.mark.parametrize("padded", ["zero", "ignore"])
def test_scores_equal_the_slow_reference(padded: str) -> None:
    found = token_scores(QUERY, TOKENS, padded)
    for q in range(3):
        for v in range(2):
            clips = [float(QUERY[q] @ row) for row in TOKENS.clips[v]]
            length = 3 if padded == "zero" else int(MASK[v].sum())
            frames = [float(QUERY[q] @ row) for row in TOKENS.frames[v, :length]]
            assert float(found.clip[q, v]) == pytest.approx(max(clips))
            assert float(found.frame[q, v]) == pytest.approx(max(frames))


def test_padding_scores_zero_or_never_wins() -> None:
    opposite = -TOKENS.frames[1, :1]  # its only frame scores below 0
    zero, ignore = (token_scores(opposite, TOKENS, kind) for kind in ("zero", "ignore"))
    assert float(zero.frame[0, 1]) == 0
    assert float(ignore.frame[0, 1]) == pytest.approx(-float(TOKENS.frames[1, 0].square().sum()))


def test_combination() -> None:
    found = token_scores(QUERY, TOKENS, "zero")
    torch.testing.assert_close(found.combined(0.7, 0.2), 0.7 * found.clip + 0.2 * found.frame)


def test_normalised_tokens_have_unit_length_and_zero_rows_stay_zero() -> None:
    unit = TOKENS.normalised()
    torch.testing.assert_close(unit.frames.norm(dim=-1), MASK)
    torch.testing.assert_close(unit.clips * TOKENS.clips.norm(dim=-1, keepdim=True), TOKENS.clips)
    assert unit.frame_mask is MASK


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_never_drop_to_half_precision(dtype: torch.dtype) -> None:
    half = VideoTokens(TOKENS.clips.to(dtype), TOKENS.frames.to(dtype), MASK)
    assert half.normalised().clips.dtype == torch.float32
    with torch.autocast("cpu", dtype):
        found = token_scores(QUERY.to(dtype), half, "zero")
    exact = token_scores(
        QUERY.to(dtype).float(), VideoTokens(*map(torch.Tensor.float, half)), "zero"
    )
    assert torch.equal(found.clip, exact.clip)
    assert math.isfinite(found.frame.sum())
