import torch

from dreamprvr.model.network import DreamPRVR
from dreamprvr.optim.bert_adam import BertAdam
from dreamprvr.optim.groups import parameter_groups

with torch.device("meta"):
    NETWORK = DreamPRVR(1024, 1024)
DECAYED, EXEMPT = parameter_groups(NETWORK)
NAMES = {parameter: name for name, parameter in NETWORK.named_parameters()}


def test_exempt_are_biases_and_the_norms_of_projections_and_positions() -> None:
    names = {NAMES[parameter] for parameter in EXEMPT["params"]}
    gru = "register_sampler.variational.pooling.gru"
    assert {name for name in names if not name.endswith(".bias")} == {
        "query_encoder.projection.norm.weight",
        "query_encoder.position.norm.weight",
        "clip_projection.norm.weight",
        "clip_position.norm.weight",
        "frame_projection.norm.weight",
        "frame_position.norm.weight",
        "clip_encoder.register_projection.norm.weight",
        "frame_encoder.register_projection.norm.weight",
        f"{gru}.bias_ih_l0",
        f"{gru}.bias_hh_l0",
        f"{gru}.bias_ih_l0_reverse",
        f"{gru}.bias_hh_l0_reverse",
    }
    assert EXEMPT["weight_decay"] == 0


def test_no_bias_is_decayed_but_other_norms_are() -> None:
    names = {NAMES[parameter] for parameter in DECAYED["params"]}
    assert not [name for name in names if "bias" in name.rsplit(".")[-1]]
    assert names >= {
        "query_encoder.block.attention_norm.weight",
        "clip_encoder.branches.3.ffn_norm.weight",
        "register_sampler.variational.mean_norm.weight",
        "register_sampler.denoiser.condition_norm.weight",
        "register_sampler.denoiser.blocks.1.norm_out.weight",
        "register_sampler.query_tokens",
        "clip_position.embedding.weight",
    }
    assert "weight_decay" not in DECAYED


def test_every_trainable_parameter_is_in_one_group() -> None:
    grouped = [NAMES[parameter] for parameter in DECAYED["params"] + EXEMPT["params"]]
    trainable = [name for name, p in NETWORK.named_parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)
    assert set(NAMES.values()) - set(grouped) == {"register_sampler.denoiser.time.table.weight"}


def test_decayed_group_takes_the_optimisers_decay() -> None:
    optimizer = BertAdam(parameter_groups(NETWORK), weight_decay=0.123)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.123, 0.0]
