import math

import torch
from models.tiny import frozen
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.models.dreamprvr.variational_sampler import (
    AdditivePooling,
    GeneralizedPooling,
    VariationalSampler,
)
from dreamprvr.models.layers.basic import sinusoidal_table

TOKENS = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def slow_softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def slow_additive(pooling: AdditivePooling, tokens: Tensor) -> Tensor:
    """(L, D) -> (D,)."""
    scores = [float(pooling.w2.weight[0] @ (pooling.w1.weight @ token).tanh()) for token in tokens]
    return sum(w * token for w, token in zip(slow_softmax(scores), tokens, strict=True))


def slow_gru(gru: nn.GRU, inputs: Tensor, suffix: str) -> list[Tensor]:
    """Hidden states of one direction (reset, update and new gate, in torch's order)."""
    w_in, w_hidden = (getattr(gru, f"weight_{kind}_{suffix}") for kind in ("ih", "hh"))
    b_in, b_hidden = (getattr(gru, f"bias_{kind}_{suffix}") for kind in ("ih", "hh"))
    hidden, states = torch.zeros(32, dtype=torch.float64), []
    for code in inputs:
        i_reset, i_update, i_new = (w_in @ code + b_in).split(32)
        h_reset, h_update, h_new = (w_hidden @ hidden + b_hidden).split(32)
        update = torch.sigmoid(i_update + h_update)
        new = torch.tanh(i_new + torch.sigmoid(i_reset + h_reset) * h_new)
        hidden = (1 - update) * new + update * hidden
        states.append(hidden)
    return states


def slow_generalised(pooling: GeneralizedPooling, tokens: Tensor) -> Tensor:
    """(L, D) -> (D,)."""
    codes = sinusoidal_table(len(tokens), 32).double()
    forward = slow_gru(pooling.gru, codes, "l0")
    backward = slow_gru(pooling.gru, codes.flip(0), "l0_reverse")[::-1]
    scores = [
        float(pooling.score.weight[0] @ (a + b) / 2) / 0.1
        for a, b in zip(forward, backward, strict=True)
    ]
    weights = slow_softmax(scores)
    result = torch.zeros(tokens.shape[1], dtype=torch.float64)
    for d in range(tokens.shape[1]):
        descending = sorted(tokens[:, d].tolist(), reverse=True)
        result[d] = sum(w * value for w, value in zip(weights, descending, strict=True))
    return result


def test_additive_pooling_equals_the_slow_reference() -> None:
    pooling = frozen(AdditivePooling(8))
    assert pooling.w1.weight.shape == (4, 8)
    assert pooling.w1.bias is None
    assert pooling.w2.bias is None
    expected = torch.stack([slow_additive(pooling, video) for video in TOKENS])
    torch.testing.assert_close(pooling(TOKENS), expected, rtol=0, atol=1e-12)


def test_generalised_pooling_equals_the_slow_reference() -> None:
    pooling = frozen(GeneralizedPooling(5))
    expected = torch.stack([slow_generalised(pooling, video) for video in TOKENS])
    # torch's GRU is itself only close to the loop
    torch.testing.assert_close(pooling(TOKENS, pooling.weights()), expected, rtol=0, atol=1e-10)


def test_generalised_pooling_does_not_see_the_order_of_tokens() -> None:
    pooling = frozen(GeneralizedPooling(5))
    shuffled = TOKENS[:, torch.tensor([3, 1, 4, 0, 2])]
    weights = pooling.weights()
    assert torch.equal(pooling(shuffled, weights), pooling(TOKENS, weights))


def test_mean_and_log_variance() -> None:
    sampler = frozen(VariationalSampler(8, 5))
    mu, logvar = sampler(TOKENS, sampler.rank_weights())
    for b, video in enumerate(TOKENS):
        pooled = slow_generalised(sampler.pooling, video)
        gate = torch.sigmoid(sampler.mean_linear(slow_additive(sampler.mean_pooling, video)))
        norm = sampler.mean_norm
        raw = F.layer_norm(pooled + gate, (8,), norm.weight, norm.bias)
        torch.testing.assert_close(mu[b], raw / raw.square().sum().sqrt(), rtol=0, atol=1e-10)
        variance = sampler.variance_linear(slow_additive(sampler.variance_pooling, video))
        expected = variance + sampler.variance_global(pooled)
        torch.testing.assert_close(logvar[b], expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(mu.norm(dim=-1), torch.ones(2, dtype=torch.float64))
