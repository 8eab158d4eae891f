import pytest
import torch

from dreamprvr import block_scores
from dreamprvr.block_scores import score_block

GENERATOR = torch.Generator().manual_seed(0)
QUERY = torch.randn(5, 8, generator=GENERATOR)
TOKENS = torch.randn(7, 3, 8, generator=GENERATOR)
MASK = torch.tensor([[1.0, 1, 1]] * 4 + [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
ONE_VIDEO = 4 * (2 * 5 * 3 + 3 * 8)  # bytes


@pytest.mark.parametrize("memory", [1, ONE_VIDEO, 3 * ONE_VIDEO, 1e9])
@pytest.mark.parametrize("masked", [True, False])
def test_every_tile_size_equals_the_slow_reference(memory: float, masked: bool) -> None:
    found = score_block(QUERY, TOKENS, MASK if masked else None, True, memory)
    for q in range(5):
        for v in range(7):
            valid = [m for m in range(3) if MASK[v, m] or not masked]
            products = {m: float(QUERY[q] @ TOKENS[v, m]) for m in valid}
            assert float(found.score[q, v]) == pytest.approx(max(products.values()), abs=1e-5)
            assert products[int(found.token[q, v])] == pytest.approx(
                max(products.values()), abs=1e-5
            )
    alone = score_block(QUERY, TOKENS, MASK if masked else None, False, memory)
    assert torch.equal(alone.score, found.score)
    assert not alone.token.numel()


def test_tokens_in_half_precision_are_multiplied_in_float32() -> None:
    half = TOKENS.bfloat16()
    found = score_block(QUERY, half, None, False, 1e9).score
    exact = torch.einsum("qd,bmd->qbm", QUERY.double(), half.double()).amax(-1).float()
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-6)


def test_no_tile_is_larger_than_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    products = block_scores._products

    def watch(*operands: torch.Tensor) -> torch.Tensor:
        result = products(*operands)
        sizes.append(result.numel() * result.element_size())
        return result

    monkeypatch.setattr(block_scores, "_products", watch)
    score_block(QUERY, TOKENS, None, False, 2.5 * ONE_VIDEO)
    assert len(sizes) == 4  # 2 + 2 + 2 + 1 videos
    assert max(sizes) <= 2.5 * ONE_VIDEO
