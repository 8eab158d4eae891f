"""The parts of the Gaussian models' base: a second query encoder, and further loss terms."""

import math
from typing import Any

import pytest
import torch
from models.tiny import CONFIG, TEXT_DIM, batch, network
from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import ObjectiveConfig
from dreamprvr.models.encoded import EncodedBatch, QueryRows
from dreamprvr.models.losses.retrieval import nce
from dreamprvr.models.parts import LossTerm
from dreamprvr.models.scoring import best_sum


class EvenWords(nn.Module):
    """Frame query encoder: every word is a row of equal weight; products weigh words double."""

    def __init__(self, text_dim: int, config: Any) -> None:
        super().__init__()
        self.project = nn.Linear(text_dim, config.hidden_size)

    def forward(self, words: Tensor, mask: Tensor, position: nn.Module) -> QueryRows:
        weights = mask / mask.sum(dim=1, keepdim=True)
        return QueryRows(position(self.project(words)), weights, 2 * weights)


class Sentences(LossTerm):
    """Loss term that gives two terms by name, from the sentences."""

    weight = {"size": 2.0, "epoch": 0.5}
    takes_sentences = True

    def forward(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        sentences = batch.queries.extras["sentences"]
        return {"size": sentences.square().sum(), "epoch": sentences.new_tensor(float(epoch))}


def test_a_second_query_encoder_gives_the_rows_of_the_frames() -> None:
    model, data = network(frame_query_encoder=f"{__name__}.EvenWords"), batch()
    encoded = model.encode_batch(data)
    rows = encoded.queries.rows["frames"]
    assert rows.vectors.shape == (*data.queries.word_mask.shape, CONFIG.hidden_size)
    assert torch.equal(encoded.queries.extras["word_mask"], data.queries.word_mask)
    frames = encoded.videos.scales["frames"]
    products = best_sum(rows._replace(weights=rows.product_weights), frames, "zero")
    terms = model.losses(encoded, epoch=0)
    torch.testing.assert_close(terms["frame_nce"], nce(products, encoded.labels))
    terms["total"].backward()
    assert model.frame_query_encoder is not None
    assert model.frame_query_encoder.project.weight.grad.abs().sum() > 0


def test_a_second_query_encoder_needs_the_positions_of_the_first() -> None:
    without = f"{__name__}.NoPosition"
    with pytest.raises(UserError, match="needs the `position` of the query encoder"):
        network(query_encoder=without, frame_query_encoder=f"{__name__}.EvenWords")


class NoPosition(nn.Module):
    """Query encoder without a position embedding."""

    def __init__(self, text_dim: int, config: Any) -> None:
        super().__init__()


def test_a_loss_term_may_give_several_terms_and_take_sentences_and_the_epoch() -> None:
    part = {"class_path": f"{__name__}.Sentences"}
    model, data = network(ObjectiveConfig(extra={"own": part})), batch()
    without = network(ObjectiveConfig())
    encoded, words, mask = model.encode_batch(data), data.queries.words, data.queries.word_mask
    expected = torch.stack([
        words[i, : int(mask[i].sum())].mean(dim=0) for i in range(len(words))
    ])  # fmt: skip
    torch.testing.assert_close(encoded.queries.extras["sentences"], expected)
    assert expected.shape == (6, TEXT_DIM)
    assert "sentences" not in without.encode_batch(data).queries.extras
    torch.manual_seed(0)
    terms = model.losses(encoded, epoch=7)
    torch.manual_seed(0)
    others = without.losses(encoded, epoch=7)
    torch.testing.assert_close(terms["own_size"], expected.square().sum())
    assert terms["own_epoch"] == 7
    torch.testing.assert_close(terms["total"], others["total"] + 2 * terms["own_size"] + 0.5 * 7)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-1.0, "objective.extra.own: weight is -1.0; it must be a number from 0"),
        (math.nan, "objective.extra.own: weight is nan"),
        (math.inf, "objective.extra.own: weight is inf"),
        ({"size": 1.0, "epoch": -0.5}, "objective.extra.own: weight epoch is -0.5"),
        ("2", "objective.extra.own: weight is '2'"),
    ],
)
def test_a_loss_term_of_a_bad_weight_is_refused(
    monkeypatch: pytest.MonkeyPatch, weight: Any, message: str
) -> None:
    monkeypatch.setattr(Sentences, "weight", weight)
    with pytest.raises(UserError, match=message):
        network(ObjectiveConfig(extra={"own": f"{__name__}.Sentences"}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"registers": f"{__name__}.Sentences"}, "Sentences is no RegisterSampler"),
        ({"rescorer": f"{__name__}.Sentences"}, "Sentences is no Rescorer"),
    ],
)
def test_a_part_of_another_kind_is_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        network(**settings)
    with pytest.raises(UserError, match="EvenWords is no LossTerm"):
        network(ObjectiveConfig(extra={"own": f"{__name__}.EvenWords"}))
