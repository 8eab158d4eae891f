from typing import Any

import pytest
from models.published_models import GoldenTests
from shared import needs_reference

from dreamprvr.core.errors import UserError
from dreamprvr.models.holmes import Holmes, HolmesConfig, ObjectiveConfig
from dreamprvr.models.losses.evidence import InterVideoEvidence
from dreamprvr.models.testing import ModelContract


class TestContract(ModelContract):
    model = Holmes
    small = {"hidden_size": 16, "num_heads": 2, "gaussian_widths": (0.5, 4.0)}


class TestWordsContract(ModelContract):
    """With the word-level queries of the variant "multi"."""

    model = Holmes
    small = TestContract.small | {
        "frame_query_encoder": "dreamprvr.models.layers.query.WordQueries"
    }


class TestGolden(GoldenTests):
    name = "holmes"
    model = Holmes
    millions = {(1024, 1024): 30.79, (3072, 768): 32.27}

    def settings(self) -> tuple[Any, Any]:
        """Make the settings of the tiny network and of its loss."""
        network = HolmesConfig(hidden_size=32, num_heads=4, dropout=0.0, input_dropout=0.0)
        facts = self.facts()["config"]
        return network, ObjectiveConfig(
            hard_pool=1,
            inter_temperature=facts["edl_tau"],
            intra_temperature=facts["edl_intra_video_tau"],
            inter_weight=facts["loss_factor"][4],
            intra_weight=facts["loss_factor"][3],
            hard_negatives_from=0,
        )

    @needs_reference
    def test_golden_losses_before_the_labels_are_softened(self) -> None:
        model = self.make().train()
        losses = {name: x.item() for name, x in model.losses(self.encode(model), epoch=19).items()}
        assert losses.pop("intra") == 0
        assert losses == pytest.approx(self.facts()["losses_before_warmup"][0], rel=1e-5)


def test_the_learned_token_is_kept_without_a_gradient() -> None:
    model = Holmes(2, 2, HolmesConfig(hidden_size=8, num_heads=2))
    assert "token" in model.state_dict()
    assert not model.token.requires_grad
    grouped = {id(p) for group in model.parameter_groups() for p in group["params"]}
    assert id(model.token) not in grouped


def test_the_padding_of_the_network_is_that_of_the_evidence() -> None:
    network = HolmesConfig(hidden_size=8, num_heads=2, padded_frames="ignore")
    terms = Holmes(2, 2, network).extra_terms
    assert all(term.padding == "ignore" for term in terms.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inter_temperature": 0.001}, "temperature is 0.001; it must be a number from 0.02"),
        ({"smoothing": 2.0}, "smoothing is 2.0; it must be a number from 0 to 1"),
        ({"padded_queries": "x"}, "objective.padded_queries is 'x'; one of zero, ignore"),
        ({"extra": {"inter": f"{InterVideoEvidence.__module__}.InterVideoEvidence"}},
         "objective.extra.inter: Holmes has this term; change its settings, such as objective.int"),
    ],
)  # fmt: skip
def test_settings_that_no_loss_has_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ObjectiveConfig(**settings)


def test_the_terms_are_those_of_the_settings() -> None:
    config = ObjectiveConfig(inter_weight=0.3, evidence_from=4, padded_queries="ignore")
    terms = Holmes(2, 2, HolmesConfig(hidden_size=8, num_heads=2), config).extra_terms
    assert terms["inter"].weight == {"clip": 0.3, "frame": 0.3, "combined": 0.3}
    assert terms["inter"].from_epoch == terms["intra"].from_epoch == 4
    assert terms["intra"].padded_queries == "ignore"
