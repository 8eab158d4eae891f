"""Every part of DreamPRVR can be exchanged by the path of a class, and loss terms can be added."""

from pathlib import Path
from typing import Any

import pytest
import torch
from models.tiny import batch, network
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import ObjectiveConfig
from dreamprvr.models.parts import Registers, RegisterSampler, build_part, part_path


class FirstClips(RegisterSampler):
    """Register sampler: the first clips, with a loss term of its own."""

    def __init__(self, config: Any, factor: float = 1.0) -> None:
        super().__init__()
        self.count, self.factor = config.num_registers, factor

    def forward(self, clip_tokens: Tensor) -> Registers:
        return Registers(self.factor * clip_tokens[:, : self.count], context="any")

    def losses(self, registers: Registers, text: Tensor) -> dict[str, Tensor]:
        assert registers.context == "any"
        return {"near_text": (registers.registers.mean(dim=1) - text).square().mean(dim=1)}


PARTS = {
    "query_encoder": "prvr_kitchen.MeanWords",
    "registers": "prvr_kitchen.LastClips",
    "gaussian_encoder": "prvr_kitchen.TwoLayers",
    "aggregation": "prvr_kitchen.EvenBranches",
}


@pytest.fixture(autouse=True)
def _second_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package of `tests/plugin_package` importable, as if it were installed."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "plugin_package")


@pytest.mark.parametrize("names", [*((name,) for name in PARTS), tuple(PARTS)])
def test_a_model_with_parts_of_another_package_trains_and_scores(names: tuple[str, ...]) -> None:
    model, data = network(**{name: PARTS[name] for name in names}), batch()
    kinds = {f"{type(each).__module__}.{type(each).__name__}" for each in model.modules()}
    assert {PARTS[name] for name in names} <= kinds
    terms = model.losses(model.encode_batch(data), epoch=0)
    terms["total"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert model(*data.queries[1:3], *data.videos[1:]).isfinite().all()


@pytest.mark.parametrize("name", ["PooledRegisters", "LearnedRegisters"])
def test_the_other_register_samplers_of_the_package_train(name: str) -> None:
    part = f"dreamprvr.models.dreamprvr.registers.{name}"
    model, data = network(registers=part), batch()
    videos = model.encode_videos(*data.videos[1:])
    assert videos.extras["registers"].shape == (3, 2, 16)
    terms = model.losses(model.encode_batch(data), epoch=0)
    assert {"kl", "diffusion"} & terms.keys() == set()
    terms["total"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_register_sampler_takes_arguments_and_adds_its_loss_terms() -> None:
    setting = {"class_path": f"{__name__}.FirstClips", "init_args": {"factor": 2.0}}
    model, data = network(registers=setting), batch()
    tokens = model.embed_clips(data.videos.clips)
    videos = model.encode_videos(*data.videos[1:])
    torch.testing.assert_close(videos.extras["registers"], 2 * tokens[:, :2])
    terms = model.losses(model.encode_batch(data), epoch=0)
    assert "near_text" in terms
    others = {name: term for name, term in terms.items() if name not in ("near_text", "total")}
    weights = {name: getattr(model.objective_config, f"{name}_weight", 1.0) for name in others}
    expected = terms["near_text"] + sum(weights[name] * others[name] for name in others)
    torch.testing.assert_close(terms["total"], expected)


def test_a_loss_term_is_added_by_its_weight_and_others_are_left_out_by_theirs() -> None:
    extra = {"long": {"class_path": "prvr_kitchen.LongQueries", "init_args": {"weight": 3.0}}}
    none = {name: 0.0 for name in vars(ObjectiveConfig()) if name.endswith("_weight")}
    model, data = network(ObjectiveConfig(extra=extra, hard_pool=1, **none)), batch()
    encoded = model.encode_batch(data)
    terms = model.losses(encoded, epoch=1000)
    torch.testing.assert_close(terms["long"], encoded.queries.embedding.square().mean())
    expected = 3 * terms["long"] + terms["clip_triplet"] + terms["frame_triplet"]
    torch.testing.assert_close(terms["total"], expected)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("nowhere.Part", r"there is no class nowhere\.Part"),
        ("torch.nn.Nothing", r"there is no class torch\.nn\.Nothing"),
        ("Part", "there is no class Part"),
        ("torch.Tensor", r"torch\.Tensor is no torch\.nn\.Module"),
        (
            {"class_path": "torch.nn.Linear", "init_args": {"width": 3}},
            "Linear has no setting width$",
        ),
        ({"class_path": "torch.nn.Linear", "init_args": {"bias": 1}}, "cannot be made.*missing 2"),
        (
            {"class_path": "torch.nn.Linear", "init_args": {"bais": True}},
            r"bais \(did you mean bias",
        ),
    ],
)
def test_a_class_that_makes_no_part_is_refused(setting: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_part(setting)


@pytest.mark.parametrize("setting", [None, 3, {}, {"class": "x"}, {"class_path": 3}])
def test_a_setting_without_a_class_path_is_refused(setting: Any) -> None:
    with pytest.raises(UserError, match="needs a class_path and init_args, not"):
        part_path(setting)
