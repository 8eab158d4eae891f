"""RAL's probabilistic losses against slow references."""

import math
from dataclasses import replace

import pytest
import torch
from models.tiny import CONFIG, batch, frozen, network
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.encoded import (
    PADDED,
    EncodedBatch,
    EncodedQueries,
    EncodedVideos,
    QueryRows,
    Scale,
)
from dreamprvr.models.layers.query import WordQueries
from dreamprvr.models.ral.alignment import (
    ProbabilisticAlignment,
    Sets,
    distribution_alignment,
    proxy_matching,
    row_weights,
)
from dreamprvr.models.registry import class_path

SIZE, LONGEST = 6, 4
LABELS = torch.tensor([1, 0, 1, PADDED, 1, 0, 2])  # the captions of a video need not be adjacent
WORDS = (3, 1, 4, 2, 2, 4, 1)
FRAMES = (5, 2, 1)


def encoded() -> EncodedBatch:
    """Random rows, those of padded words and of the padded caption too; padded frames are zero."""
    torch.manual_seed(4)
    rows = torch.randn(len(LABELS), LONGEST, SIZE, dtype=torch.float64)
    word_mask = (torch.arange(LONGEST) < torch.tensor(WORDS)[:, None]).double()
    frame_mask = (torch.arange(5) < torch.tensor(FRAMES)[:, None]).double()
    frames = torch.randn(3, 5, SIZE, dtype=torch.float64) * frame_mask[..., None]
    queries = EncodedQueries(
        rows[:, 0], {"frames": QueryRows(rows, word_mask)}, {"word_mask": word_mask}
    )
    return EncodedBatch(queries, EncodedVideos({"frames": Scale(frames, frame_mask)}, {}), LABELS)


def alignment(captions: int, mask_padding: bool = False) -> ProbabilisticAlignment:
    return frozen(ProbabilisticAlignment(SIZE, captions=captions, mask_padding=mask_padding))


def support_set(data: EncodedBatch, video: int, captions: int) -> tuple[Tensor, Tensor]:
    """The published form: all rows of all captions in one table, then rows of zeros; its mask."""
    own = [q for q in range(len(LABELS)) if LABELS[q] == video]
    rows, mask = data.queries.rows["frames"].vectors, data.queries.extras["word_mask"]
    more = max(captions - len(own), 0) * LONGEST
    table = torch.cat([rows[own].flatten(0, 1), torch.zeros(more, SIZE, dtype=torch.float64)])
    return table, torch.cat([mask[own].flatten(), torch.zeros(more, dtype=torch.float64)])


@pytest.mark.parametrize("captions", [1, 3, 5])  # fewer, as many, and more than the most captions
@pytest.mark.parametrize("mask_padding", [False, True])
def test_the_distribution_of_the_words_is_that_of_the_whole_table(
    captions: int, mask_padding: bool
) -> None:
    data, part = encoded(), alignment(captions, mask_padding)
    sets, head = part.text_sets(data), part.text
    found = head(sets)
    for video in range(3):
        table, mask = support_set(data, video, captions)
        pooled = (table * mask[:, None]).sum(dim=0) / mask.sum()
        torch.testing.assert_close(sets.pooled[video], pooled, rtol=0, atol=1e-12)
        seen = table[mask == 1] if mask_padding else table
        inside = head.mean_norm(
            pooled + torch.sigmoid(head.mean_linear(head.mean_pooling(seen[None])[0]))
        )
        spread = head.spread_linear(head.spread_pooling(seen[None])[0]) + head.spread_global(pooled)
        torch.testing.assert_close(found.mean[video], inside / inside.norm(), rtol=0, atol=1e-12)
        torch.testing.assert_close(found.log_spread[video], spread, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mask_padding", [False, True])
def test_frames_are_pooled_by_direction_and_padding_takes_part_as_published(
    mask_padding: bool,
) -> None:
    data, part = encoded(), alignment(3, mask_padding)
    sets, head = part.video_sets(data), part.video
    attended = head(sets)
    for video, count in enumerate(FRAMES):
        frames = data.videos.scales["frames"].tokens[video]
        mean = sum(frame / frame.norm() for frame in frames[:count]) / count
        pooled = mean / mean.norm()
        torch.testing.assert_close(sets.pooled[video], pooled, rtol=0, atol=1e-12)
        seen = frames[:count] if mask_padding else frames
        spread = head.spread_linear(head.spread_pooling(seen[None])[0]) + head.spread_global(pooled)
        torch.testing.assert_close(attended.log_spread[video], spread, rtol=0, atol=1e-12)


@pytest.mark.parametrize("zeros", [0.0, 3.0])
def test_weights_stay_finite_for_large_logits(zeros: float) -> None:
    """The logits are 1000, -1000 and 999: no power of them fits a number."""

    class Logits(torch.nn.Module):
        def logits(self, x: Tensor) -> Tensor:
            return x[..., 0]

    rows = torch.tensor([[[1000.0]], [[-1000.0]], [[999.0]]])
    owner, pooled = torch.tensor([0, 1, 0]), torch.zeros(2, 1)
    sets = Sets(rows, torch.ones(3, 1), owner, torch.full((2,), zeros), pooled)
    weights = row_weights(Logits(), sets).squeeze(1)  # type: ignore[arg-type]
    first = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(
        weights, torch.tensor([first, 0.0 if zeros else 1.0, 1 - first]), rtol=0, atol=1e-5
    )


def test_samples_lie_around_the_mean_in_steps_of_the_spread() -> None:
    part = alignment(3)
    found = part.text(part.text_sets(encoded()))
    torch.manual_seed(0)
    samples = part.sample(found)
    torch.manual_seed(0)
    noise = torch.randn(3, 6, SIZE, dtype=torch.float64)
    for video in range(3):
        for k in range(6):
            expected = found.mean[video] + found.log_spread[video].exp() * noise[video, k]
            torch.testing.assert_close(samples[video, k], expected, rtol=0, atol=1e-12)


def test_proxy_matching_equals_its_loops() -> None:
    torch.manual_seed(0)
    video, text = torch.randn(2, 3, 2, SIZE, dtype=torch.float64)
    total = 0.0
    for rows, columns in ((video, text), (text, video)):
        for b in range(3):
            for row in rows[b]:
                logits = [[float(row @ column) for column in columns[c]] for c in range(3)]
                whole = math.log(sum(math.exp(x) for own in logits for x in own))
                total += sum(whole - x for x in logits[b]) / 2
    assert float(proxy_matching(video, text)) == pytest.approx(total / 6 / 2, rel=1e-12)


def test_distribution_alignment_is_three_divergences() -> None:
    """From N(0, I) with e^ls as the variance, and between the two with e^ls as the deviation."""
    torch.manual_seed(0)
    video, text, video_spread, text_spread = torch.randn(4, 3, SIZE, dtype=torch.float64)
    standard = Normal(torch.zeros_like(video), torch.ones_like(video))
    expected = (
        kl_divergence(Normal(video, (video_spread / 2).exp()), standard)
        + kl_divergence(Normal(text, (text_spread / 2).exp()), standard)
        + kl_divergence(Normal(text, text_spread.exp()), Normal(video, video_spread.exp()))
    )
    found = distribution_alignment(video, text, video_spread, text_spread)
    assert float(found) == pytest.approx(float(expected.sum(dim=1).mean()), rel=1e-12)


ALIGNMENT = {
    "class_path": class_path(ProbabilisticAlignment),
    "init_args": {"hidden_size": CONFIG.hidden_size, "proxy_weight": 2.0},
}


def test_any_gaussian_model_with_word_queries_can_have_the_losses() -> None:
    objective = ObjectiveConfig(extra={"own": ALIGNMENT})
    model = network(objective, frame_query_encoder=class_path(WordQueries))
    with torch.no_grad():
        terms = model.losses(model.encode_batch(batch()), epoch=0)
    names = [f"{name}_weight" for name in terms]
    weights = [getattr(objective, name, 1.0) for name in names]
    rest = sum(
        weight * float(term)
        for weight, (name, term) in zip(weights, terms.items(), strict=True)
        if name != "total" and not name.startswith("own_")
    )
    own = 2 * float(terms["own_proxy"]) + 0.00025 * float(terms["own_distribution"])
    assert float(terms["total"]) == pytest.approx(rest + own, rel=1e-10)
    without = network(replace(objective))
    with pytest.raises(UserError, match=r"need network\.frame_query_encoder"):
        without.losses(without.encode_batch(batch()), epoch=0)
