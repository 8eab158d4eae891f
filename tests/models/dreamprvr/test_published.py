import pytest
from safetensors import safe_open
from shared import REFERENCE, needs_reference

from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.network import DreamPRVR
from dreamprvr.models.dreamprvr.published import FORMAT


@needs_reference
def test_one_to_one() -> None:
    with safe_open(REFERENCE / "tiny.safetensors", "pt") as file:
        published = [k.removeprefix("state/") for k in file.keys() if k.startswith("state/")]  # noqa: SIM118
    ours = [FORMAT.to_ours(name) for name in published]
    assert len(published) > 300
    assert len(set(ours)) == len(published)
    network = DreamPRVR(24, 20, DreamPRVRConfig(hidden_size=8, num_heads=2))
    assert set(ours) == {name for name, _ in network.named_parameters()} | set(network.state_dict())


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("query_input_proj.net.1.weight", "query_encoder.projection.linear.weight"),
        ("query_encoder.self.key.bias", "query_encoder.block.attention.key.bias"),
        ("modular_vector_mapping.weight", "query_encoder.pooling.weight"),
        ("clip_pos_embed.LayerNorm.bias", "clip_position.norm.bias"),
        (
            "frame_encoder.e_attns.7.output.layer2.weight",
            "frame_encoder.branches.7.ffn.contract.weight",
        ),
        ("clip_encoder.layer2.bias", "clip_encoder.aggregation.logits.bias"),
        (
            "frame_encoder.ca.norm1.weight",
            "frame_encoder.aggregation.attention.attention_norm.weight",
        ),
        ("video_qformer.query_tokens", "register_sampler.query_tokens"),
        (
            "diffusion_mlp.layers.1.blcok_out.3.weight",
            "register_sampler.denoiser.blocks.1.linear_out.weight",
        ),
        (
            "diffusion_mlp.layers.0.short_cut.weight",
            "register_sampler.denoiser.blocks.0.shortcut.weight",
        ),
        ("diffusion_mlp.short_cut.bias", "register_sampler.denoiser.output.bias"),
        (
            "diffusion_mlp.time_embedding.timembedding.0.weight",
            "register_sampler.denoiser.time.table.weight",
        ),
    ],
)
def test_by_hand(published: str, ours: str) -> None:
    assert FORMAT.to_ours(published) == ours


@pytest.mark.parametrize("name", ["", "weight", "my.LayerNorm.weight", "x.query_encoder.self.key"])
def test_unknown_names_stay(name: str) -> None:
    assert FORMAT.to_ours(name) == name


def test_no_part_of_another_name_is_taken_for_a_root() -> None:
    assert FORMAT.to_ours("clip_encoder_two.layer1.weight") == "clip_encoder_two.layer1.weight"
    assert FORMAT.to_ours("query_encoders.norm1.bias") == "query_encoders.norm1.bias"
