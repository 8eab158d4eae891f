import pytest
import torch
from models.published_models import GoldenTests
from shared import needs_reference

from dreamprvr.core.errors import UserError
from dreamprvr.models.gmmformer import GMMFormer, GMMFormerConfig
from dreamprvr.models.testing import ModelContract


class TestContract(ModelContract):
    model = GMMFormer
    small = {"hidden_size": 16, "num_heads": 2, "gaussian_widths": (0.5, 5.0)}


class TestContractOfWindowsThatFit(TestContract):
    small = {**TestContract.small, "frame_length": "own"}


class TestContractWithoutWindows(TestContract):
    small = {**TestContract.small, "gaussian_widths": ()}


class TestGolden(GoldenTests):
    name = "gmmformer"
    model = GMMFormer
    millions = {(1024, 1024): 11.37, (3072, 768): 12.85}

    @needs_reference
    def test_golden_layers(self) -> None:
        """The blocks of the clips' first mixture, its mean, and the frames are within 1e-5."""
        golden, model = self.group("eval"), self.make()
        found = {}
        layers = {"clip_first": model.clip_encoder.first, "frame_tokens": model.frame_encoder}
        layers |= {str(i): block for i, block in enumerate(model.clip_encoder.first)}
        for name, layer in layers.items():
            layer.register_forward_hook(lambda _, given, out, name=name: found.update({name: out}))
        with torch.no_grad():
            self.encode(model)
        found["clip_branches"] = torch.stack([found.pop(str(i)) for i in range(4)])
        found["frame_tokens"] = found["frame_tokens"] * self.group("in")["frame_mask"][..., None]
        for name, value in found.items():
            assert (value - golden[name]).abs().max() < 1e-5, name

    @needs_reference
    def test_golden_batch_of_short_videos(self) -> None:
        """With `frame_length: batch`, a video gets another vector beside shorter videos."""
        golden, inputs = self.group("short"), self.group("in")
        chosen = golden["videos"]
        videos = [inputs[name][chosen] for name in ("clips", "frames", "frame_mask")]
        with torch.no_grad():
            vectors = {
                way: self.make(frame_length=way)
                .encode_videos(*videos)
                .scales["frames"]
                .tokens[:, 0]
                for way in ("batch", "max", "own")
            }
        assert (vectors["batch"] - golden["frame_vector"]).abs().max() < 1e-5
        among_all = self.group("eval")["frame_vector"][chosen]
        assert (vectors["max"] - among_all).abs().max() < 1e-5
        assert (vectors["max"] - vectors["batch"]).abs().max() > 1e-3
        longest = inputs["frame_mask"][chosen].sum(dim=1).argmax()
        assert (vectors["own"][longest] - vectors["batch"][longest]).abs().max() < 1e-5
        assert (vectors["own"] - vectors["batch"]).abs().max() > 1e-3


@pytest.mark.parametrize("frame_length", ["max", "batch"])
def test_the_encoder_of_a_varying_number_of_frames_is_not_compiled(frame_length: str) -> None:
    model = GMMFormer(2, 2, GMMFormerConfig(8, 2, frame_length=frame_length))
    compiled = [module for module, _ in model.compiled_parts().others]
    assert (model.frame_encoder in compiled) == (frame_length == "max")


def test_what_no_network_has_is_refused() -> None:
    with pytest.raises(UserError, match="frame_length is 'longest'; one of max, batch, own"):
        GMMFormerConfig(frame_length="longest")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="gaussian_widths"):
        GMMFormerConfig(gaussian_widths=(0.0,))
