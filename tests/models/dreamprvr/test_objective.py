from dataclasses import fields
from typing import Any

import pytest
import torch
from models.tiny import batch, network

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr.config import ObjectiveConfig
from dreamprvr.models.dreamprvr.network import Objective
from dreamprvr.models.encoded import EncodedBatch

RETRIEVAL = {"clip_nce", "frame_nce", "clip_triplet", "frame_triplet", "diversity", "similarity"}
WEIGHTED = {
    "clip_nce": 2.0, "frame_nce": 3.0, "diversity": 5.0, "similarity": 7.0, "kl": 11.0,
    "diffusion": 13.0,
}  # fmt: skip


def encoded(**changes: Any) -> EncodedBatch:
    with torch.no_grad():
        return network(**changes).encode_batch(batch())


def config(**changes: Any) -> ObjectiveConfig:
    return ObjectiveConfig(hard_pool=1, **changes)  # so that nothing is drawn


def test_total_is_the_weighted_sum() -> None:
    weights = {f"{name}_weight": weight for name, weight in WEIGHTED.items()}
    terms = Objective(config(**weights), "zero")(encoded(), hard_negatives=True)
    total = terms.pop("total")
    assert terms.keys() == RETRIEVAL | {"kl", "diffusion"}
    expected = sum(WEIGHTED.get(name, 1.0) * term.item() for name, term in terms.items())
    assert total.item() == pytest.approx(expected, rel=1e-12)


def test_every_weight_belongs_to_a_term() -> None:
    names = {f.name for f in fields(ObjectiveConfig) if f.name.endswith("_weight")}
    assert names == {f"{name}_weight" for name in WEIGHTED}


def test_weights_do_not_change_the_terms() -> None:
    data = encoded()
    terms = Objective(config(), "zero")(data, True)
    none = Objective(config(**{f"{name}_weight": 0.0 for name in WEIGHTED}), "zero")(data, True)
    assert none["total"] == none["clip_triplet"] + none["frame_triplet"]
    assert all(terms[name] == none[name] for name in terms if name != "total")


def test_the_terms_of_a_model_without_registers() -> None:
    terms = Objective(config(), "zero")(encoded(num_registers=0), True)
    assert terms.keys() == RETRIEVAL | {"total"}


def longer(data: EncodedBatch, query: float, **factors: float) -> EncodedBatch:
    """The batch with rows and tokens of other lengths."""
    rows = {k: r._replace(vectors=query * r.vectors) for k, r in data.queries.rows.items()}
    queries = data.queries._replace(embedding=query * data.queries.embedding, rows=rows)
    scales = {k: s._replace(tokens=factors[k] * s.tokens) for k, s in data.videos.scales.items()}
    return data._replace(queries=queries, videos=data.videos._replace(scales=scales))


def test_triplets_use_cosines_and_nce_dot_products() -> None:
    data = encoded()
    objective = Objective(config(), "zero")
    before, after = objective(data, True), objective(longer(data, 3, clips=2, frames=5), True)
    for name in ("clip_triplet", "frame_triplet", "diversity", "similarity"):
        torch.testing.assert_close(before[name], after[name])
    for name in ("clip_nce", "frame_nce"):
        assert not torch.allclose(before[name], after[name])


def test_hard_negatives_are_not_easier() -> None:
    data, objective = encoded(), Objective(config(margin=1.0), "zero")
    hard = objective(data, True)
    for _ in range(10):
        easy = objective(data, False)
        assert easy["clip_triplet"] <= hard["clip_triplet"]
        assert easy["frame_triplet"] <= hard["frame_triplet"]


def test_constants_reach_their_terms() -> None:
    data = encoded()
    before = Objective(config(), "zero")(data, True)
    for name, value, changed in [
        ("margin", 0.9, {"clip_triplet", "frame_triplet"}),
        ("diversity_delta", 0.9, {"diversity"}),
        ("diversity_alpha", 2.0, {"diversity"}),
        ("diversity_gamma", 3.0, {"diversity"}),
        ("similarity_temperature", 0.5, {"similarity"}),
    ]:
        after = Objective(config(**{name: value}), "zero")(data, True)
        assert {k for k in after if after[k] != before[k]} == changed | {"total"}


def test_padded_frames_reach_the_frame_terms() -> None:
    data = encoded()
    # opposite to every frame: only padding scores as much as 0
    rows = -data.videos.scales["frames"].tokens[data.labels, :1]
    rows = data.queries.rows["frames"]._replace(vectors=rows)
    queries = data.queries._replace(rows=data.queries.rows | {"frames": rows})
    opposite = data._replace(queries=queries)
    zero = Objective(config(), "zero")(opposite, True)
    ignore = Objective(config(), "ignore")(opposite, True)
    assert zero["frame_nce"] != ignore["frame_nce"]
    assert zero["clip_nce"] == ignore["clip_nce"]
    assert all(term.isfinite() for term in ignore.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"similarity_temperature": 0.0}, "similarity_temperature 0.0 must be > 0"),
        ({"hard_pool": 0}, "hard_pool is 0; at least 1"),
        ({"kl_weight": -1.0}, "objective.kl_weight is -1.0; at least 0"),
        ({"margin": float("nan")}, "objective.margin is nan; at least 0"),
        ({"diversity_alpha": float("inf")}, "objective.diversity_alpha is inf; at most 1,000,000"),
    ],
)
def test_constants_that_make_no_loss_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ObjectiveConfig(**changes)
