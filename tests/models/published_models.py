"""Tests that compare a model with the golden run of its published implementation."""

import json
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from shared import REFERENCE, needs_reference
from torch import Tensor

from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.registry import import_models
from dreamprvr.models.scoring import combine, scale_scores, unit_rows, unit_tokens
from dreamprvr.training.optimizer import BertAdam
from dreamprvr.training.published_checkpoint import import_checkpoint, read_published

OTHER_MODELS = [
    name
    for name, model in import_models().items()
    if model.__module__.startswith("dreamprvr.") and name != "dreamprvr"
]


@cache
def golden_tensors(name: str) -> dict[str, Tensor]:
    """Read all tensors of a golden run."""
    return load_file(REFERENCE / name / "tiny.safetensors")


class GoldenTests:
    """Tests of a model other than DreamPRVR, whose golden vectors lie in a folder of their own.

    Attributes:
        name: name of the folder of the golden vectors.
        model: class of the model.
        millions: published numbers of parameters by the sizes of video and word features.
        training_dtype: number format of the four training steps. The golden run is in float32.
    """

    name: ClassVar[str]
    model: ClassVar[type[RetrievalModel]]
    millions: ClassVar[dict[tuple[int, int], float]]
    training_dtype: ClassVar[torch.dtype] = torch.float32

    def test_published_parameter_counts(self) -> None:
        for sizes, millions in self.millions.items():
            with torch.device("meta"):
                model = self.model(
                    *sizes, self.model.network_settings(), self.model.objective_settings()
                )
            assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions

    @needs_reference
    def test_golden_inference(self) -> None:
        """Query, tokens and scores are within 1e-5."""
        golden, model = self.group("eval"), self.make()
        with torch.no_grad():
            encoded = self.encode(model)
            queries, videos = unit_rows(encoded.queries), unit_tokens(encoded.videos)
            by_scale = scale_scores(queries, videos, model.padding)
            values = {
                "query": encoded.queries.embedding,
                "clip_scores": by_scale["clips"],
                "scores": model.rescore(queries, videos, combine(by_scale, model.scale_weights)),
            }
            if "frames" in by_scale:
                values["frame_scores"] = by_scale["frames"]
                values["clip_tokens"] = encoded.videos.scales["clips"].tokens
                frames = encoded.videos.scales["frames"].tokens
                one_vector = frames.shape[1] == 1
                values |= {"frame_vector": frames[:, 0]} if one_vector else {"frame_tokens": frames}
        for name, value in values.items():
            assert (value - golden[name]).abs().max() < 1e-5, name

    @needs_reference
    def test_golden_losses_gradients_and_weights_of_four_steps(self) -> None:
        """Losses are within 1e-5 relative, gradients within 2e-6, weights within 1e-5."""
        facts, model = self.facts(), self.make().to(self.training_dtype).train()
        optimizer = BertAdam(model.parameter_groups(), lr=1.0, weight_decay=0.01)
        for step, rate in enumerate(facts["learning_rate_of_step"]):
            terms = model.losses(self.encode(model), epoch=1000)
            losses = {name: term.item() for name, term in terms.items()}
            assert losses == pytest.approx(facts["losses"][step], rel=1e-5)
            optimizer.zero_grad()
            terms["total"].backward()
            if step == 0:
                self._check_gradients(model)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            model.constrain()
        state, start, golden = model.state_dict(), self.group("state"), self.group("after")
        assert state.keys() == golden.keys()
        for name, value in golden.items():
            assert (state[name] - value).abs().max() < 1e-5, name
        moved = max((golden[name] - start[name]).abs().max().item() for name in golden)
        assert moved > 1e-3  # otherwise the comparison shows nothing

    def _check_gradients(self, model: RetrievalModel) -> None:
        golden = self.group("grad")
        for name, parameter in model.named_parameters():
            assert (parameter.grad is None) == (name not in golden), name
            if parameter.grad is not None:
                assert (parameter.grad - golden[name]).abs().max() < 2e-6, name

    @needs_reference
    def test_golden_checkpoint(self, tmp_path: Path) -> None:
        """The authors' checkpoint gives the golden scores, also after a round trip."""
        from dreamprvr.training.module import PRVRModule

        golden, inputs = self.group("checkpoint"), self.group("in")
        names = ("text", "text_mask", "clips", "frames", "frame_mask")
        sample = REFERENCE / self.name / "published_format.ckpt"
        network, _ = self.settings()
        published = read_published(sample, self.model, network)
        import_checkpoint(sample, tmp_path / "ours.ckpt", self.model, network)
        ours = PRVRModule.load_from_checkpoint(tmp_path / "ours.ckpt").network
        for model in (published.trained.build().eval(), ours.eval()):
            with torch.no_grad():
                scores = model(*(inputs[name] for name in names))
            assert (scores - golden["scores"]).abs().max() < 1e-5

    # The golden run

    def settings(self, **network: Any) -> tuple[Any, Any]:
        """Make the settings of the tiny network and of its loss."""
        tiny = {"hidden_size": 32, "num_heads": 4, "dropout": 0.0, "input_dropout": 0.0}
        return self.model.network_settings(**tiny, **network), self.model.objective_settings(
            hard_pool=1
        )

    def facts(self) -> dict[str, Any]:
        """Read the sizes, learning rates and losses of the golden run."""
        facts: dict[str, Any] = json.loads((REFERENCE / self.name / "tiny.json").read_text())
        return facts

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Read the tensors under `prefix/`; parameters get our names."""
        tensors = {
            key.removeprefix(f"{prefix}/"): value
            for key, value in golden_tensors(self.name).items()
            if key.startswith(f"{prefix}/")
        }
        if prefix not in ("state", "grad", "after"):
            return tensors
        assert self.model.published is not None
        return self.model.published.translate(tensors)

    def make(self, **network: Any) -> Any:
        """Make the tiny model with the weights that it has before training."""
        sizes = self.facts()["config"]
        model = self.model(
            sizes["visual_feat_dim"], sizes["q_feat_size"], *self.settings(**network)
        )
        model.load_state_dict(self.group("state"))
        return model.eval()

    def encode(self, model: RetrievalModel) -> EncodedBatch:
        """Encode the golden batch, in the number format of the model."""
        dtype = next(model.parameters()).dtype
        inputs = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in self.group("in").items()
        }
        queries = model.encode_queries(inputs["text"], inputs["text_mask"])
        videos = model.encode_videos(inputs["clips"], inputs["frames"], inputs["frame_mask"])
        return EncodedBatch(queries, videos, inputs["labels"])
