"""Golden runs of published models other than DreamPRVR: one comparison for all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from shared import REFERENCE
from torch import Tensor

from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.scoring import combine, scale_scores, unit_rows, unit_tokens
from dreamprvr.training.optimizer import BertAdam
from dreamprvr.training.published_checkpoint import import_checkpoint, read_published


@dataclass
class Golden:
    """What a published implementation computed.

    Args:
        name: folder of the golden vectors.
        model: class of ours.
        network: settings of the tiny network.
        objective: settings of its loss.
    """

    name: str
    model: type[RetrievalModel]
    network: Any
    objective: Any

    def __post_init__(self) -> None:
        folder: Path = REFERENCE / self.name
        self.sample = folder / "published_format.ckpt"
        self.facts = json.loads((folder / "tiny.json").read_text())
        self._tensors = load_file(folder / "tiny.safetensors")

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Tensors under `prefix/`, parameters by our names."""
        found = {
            key.removeprefix(f"{prefix}/"): value
            for key, value in self._tensors.items()
            if key.startswith(f"{prefix}/")
        }
        form = self.model.published
        assert form is not None
        rename = prefix in ("state", "grad", "after")
        return {form.to_ours(key) if rename else key: value for key, value in found.items()}

    def make(self) -> RetrievalModel:
        """The tiny model with the weights before training."""
        config = self.facts["config"]
        sizes = (config["visual_feat_dim"], config["q_feat_size"])
        model = self.model(*sizes, self.network, self.objective)
        model.load_state_dict(self.group("state"))
        return model.eval()

    def encode(self, model: RetrievalModel) -> EncodedBatch:
        """The golden batch."""
        inputs = self.group("in")
        queries = model.encode_queries(inputs["text"], inputs["text_mask"])
        videos = model.encode_videos(inputs["clips"], inputs["frames"], inputs["frame_mask"])
        return EncodedBatch(queries, videos, inputs["labels"])

    def check_inference(self) -> None:
        """Query, tokens and scores within 1e-5."""
        golden = self.group("eval")
        model = self.make()
        with torch.no_grad():
            encoded = self.encode(model)
            queries, videos = unit_rows(encoded.queries), unit_tokens(encoded.videos)
            scores = scale_scores(queries, videos, model.padding)
            found = {
                "query": encoded.queries.embedding,
                "clip_scores": scores["clips"],
                "scores": model.rescore(queries, videos, combine(scores, model.scale_weights)),
            }
            if "frames" in scores:
                found["frame_scores"] = scores["frames"]
                found["clip_tokens"] = encoded.videos.scales["clips"].tokens
                found["frame_tokens"] = encoded.videos.scales["frames"].tokens
        for name, value in found.items():
            assert (value - golden[name]).abs().max() < 1e-5, name

    def check_training(self) -> None:
        """Losses within 1e-5 relative, gradients 2e-6, weights after four steps 1e-5."""
        model = self.make().train()
        optimizer = BertAdam(model.parameter_groups(), lr=1.0, weight_decay=0.01)
        for step, rate in enumerate(self.facts["learning_rate_of_step"]):
            terms = model.losses(self.encode(model), epoch=1000)
            losses = {name: term.item() for name, term in terms.items()}
            assert losses == pytest.approx(self.facts["losses"][step], rel=1e-5)
            optimizer.zero_grad()
            terms["total"].backward()
            if step == 0:
                self._check_gradients(model)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        state, start = model.state_dict(), self.group("state")
        golden = self.group("after")
        assert state.keys() == golden.keys()
        for name, value in golden.items():
            assert (state[name] - value).abs().max() < 1e-5, name
        moved = max((golden[name] - start[name]).abs().max().item() for name in golden)
        assert moved > 1e-3  # else the comparison says nothing

    def _check_gradients(self, model: RetrievalModel) -> None:
        golden = self.group("grad")
        for name, parameter in model.named_parameters():
            assert (parameter.grad is None) == (name not in golden), name
            if parameter.grad is not None:
                assert (parameter.grad - golden[name]).abs().max() < 2e-6, name

    def check_import(self, folder: Path) -> None:
        """The authors' checkpoint gives the golden scores, also after a round trip."""
        from dreamprvr.training.module import PRVRModule

        golden, inputs = self.group("checkpoint"), self.group("in")
        names = ("text", "text_mask", "clips", "frames", "frame_mask")
        given = [inputs[name] for name in names]
        found = read_published(self.sample, self.model, self.network)
        import_checkpoint(self.sample, folder / "ours.ckpt", self.model, self.network)
        ours = PRVRModule.load_from_checkpoint(folder / "ours.ckpt").network
        for model in (found.trained.build().eval(), ours.eval()):
            with torch.no_grad():
                assert (model(*given) - golden["scores"]).abs().max() < 1e-5
