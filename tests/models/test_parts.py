"""Every part of DreamPRVR can be exchanged by the path of a class, and loss terms can be added."""

from typing import Any

import pytest
import torch
from models.tiny import batch, network
from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import ObjectiveConfig
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.parts import LossTerm, Registers, RegisterSampler, build_part, part_path


class MeanWords(nn.Module):
    """Query encoder: a linear layer of the mean word."""

    def __init__(self, text_dim: int, config: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(text_dim, config.hidden_size)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        mean = (words * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        return self.linear(mean)


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


class OneLayer(nn.Module):
    """Gaussian encoder: a linear layer as the only branch, then the aggregation."""

    def __init__(self, length: int, config: Any, num_registers: int, aggregation: nn.Module):
        super().__init__()
        self.linear = nn.Linear(config.hidden_size, config.hidden_size)
        self.length, self.num_registers, self.aggregation = length, num_registers, aggregation

    def forward(
        self, tokens: Tensor, registers: Tensor | None, mask: Tensor | None, token: Tensor | None
    ) -> Tensor:
        assert registers is not None
        assert tokens.shape[1] == self.length
        assert registers.shape[1] == self.num_registers
        assert token is None
        branch = self.linear(tokens + registers.mean(dim=1, keepdim=True))
        return self.aggregation(branch[None], mask, token)


class EvenBranches(nn.Module):
    """Aggregation: the mean of the branches."""

    def __init__(self, length: int, config: Any) -> None:
        super().__init__()

    def forward(self, branches: Tensor, mask: Tensor | None, token: Tensor | None) -> Tensor:
        return branches.mean(dim=0)


class LongQueries(LossTerm):
    """Loss term: the mean square of the queries' embeddings."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, batch: EncodedBatch, hard_negatives: bool) -> Tensor:
        return batch.queries.embedding.square().mean()


def path(part: type) -> str:
    return f"{__name__}.{part.__name__}"


PARTS = {
    "query_encoder": MeanWords,
    "registers": FirstClips,
    "gaussian_encoder": OneLayer,
    "aggregation": EvenBranches,
}


@pytest.mark.parametrize("names", [*((name,) for name in PARTS), tuple(PARTS)])
def test_a_model_with_exchanged_parts_trains_and_scores(names: tuple[str, ...]) -> None:
    model, data = network(**{name: path(PARTS[name]) for name in names}), batch()
    kinds = {type(module) for module in model.modules()}
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
    setting = {"class_path": path(FirstClips), "init_args": {"factor": 2.0}}
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
    extra = {"long": {"class_path": path(LongQueries), "init_args": {"weight": 3.0}}}
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
        ({"class_path": "torch.nn.Linear", "init_args": {"width": 3}}, "cannot be made.*width"),
    ],
)
def test_a_class_that_makes_no_part_is_refused(setting: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_part(setting)


@pytest.mark.parametrize("setting", [None, 3, {}, {"class": "x"}, {"class_path": 3}])
def test_a_setting_without_a_class_path_is_refused(setting: Any) -> None:
    with pytest.raises(UserError, match="needs a class_path and init_args, not"):
        part_path(setting)
