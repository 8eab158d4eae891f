"""The contract of a model fails for models that break it."""

from inspect import signature
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.contract import TokenSpans
from dreamprvr.models.encoded import EncodedBatch, EncodedQueries, EncodedVideos
from dreamprvr.models.gmmformer_v2 import GMMFormerV2
from dreamprvr.models.testing import ModelContract


class Example(GMMFormerV2):
    """A model that keeps the contract; the others break it."""


class OneScaleTooMany(Example):
    scales = ("clips", "frames", "words")


class SeesNeighbours(Example):
    """The encoding of a video depends on the others."""

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        return super().encode_videos(clips - clips.mean(dim=0), frames, frame_mask)


class ReadsPadding(Example):
    """Its queries depend on padded words."""

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        return super().encode_queries(words, torch.ones_like(word_mask))


class ScoresOtherwise(Example):
    """Its call is not what the scoring function gives."""

    def forward(self, *inputs: Tensor) -> Tensor:
        scores: Tensor = super().forward(*inputs)
        return 2 * scores


class ForgetsAWeight(Example):
    """Its learned token gets no gradient."""

    def encode_batch(self, batch: TrainBatch) -> EncodedBatch:
        with torch.no_grad():
            return super().encode_batch(batch)


class HasNoPlaceInTime(Example):
    """All its tokens cover the first clip or frame."""

    def token_spans(self, scale: str) -> TokenSpans:
        items, spans = super().token_spans(scale)
        return TokenSpans(items, [(0, 1) for _ in spans])


class ChangesItsSettings(Example):
    """The settings that it lists are not its own."""

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        settings["network"]["hidden_size"] = 32
        return settings


class Contract(ModelContract):
    __test__ = False
    small: ClassVar[dict[str, Any]] = {
        "hidden_size": 16, "num_heads": 2, "gaussian_widths": (0.5,),
    }  # fmt: skip


def run(model: type[GMMFormerV2], name: str) -> None:
    """Run one test of the contract for a model."""
    contract: Any = Contract()
    contract.model = model
    test = getattr(contract, name)
    made, batch = (getattr(ModelContract, each).__wrapped__ for each in ("made", "batch"))
    inputs = {"made": made(contract), "batch": batch(contract), "epoch": 0}
    test(**{each: inputs[each] for each in signature(test).parameters})


BROKEN = [
    (OneScaleTooMany, "test_encodings_have_the_stated_form"),
    (SeesNeighbours, "test_videos_and_queries_are_encoded_independently"),
    (ReadsPadding, "test_padded_words_change_nothing"),
    (ScoresOtherwise, "test_the_score_is_the_sum_of_maxima_rescored"),
    (ForgetsAWeight, "test_the_loss_trains_every_weight"),
    (HasNoPlaceInTime, "test_tokens_cover_the_video"),
    (ChangesItsSettings, "test_settings_make_the_same_model_again"),
]


@pytest.mark.parametrize(
    ("model", "name"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_model_that_breaks_the_contract_fails_its_test(
    model: type[GMMFormerV2], name: str
) -> None:
    run(Example, name)
    with pytest.raises((AssertionError, RuntimeError)):
        run(model, name)
