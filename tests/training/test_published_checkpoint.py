"""The authors' format, read from the sample."""

import sys
import types
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from golden import group, network_config, settings
from limits import full_disk
from published import SAMPLE, variant
from shared import needs_reference

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import DreamPRVR, ObjectiveConfig
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig
from dreamprvr.models.dreamprvr.published import FORMAT
from dreamprvr.training.module import PRVRModule
from dreamprvr.training.published_checkpoint import (
    FeatureSizes,
    _load,
    import_checkpoint,
    read_published,
)


@needs_reference
def test_weights_are_exactly_the_golden_ones() -> None:
    found = read_published(SAMPLE, DreamPRVR, DreamPRVRConfig()).trained.weights
    golden = group("after")
    assert found.keys() == golden.keys()
    for name, value in golden.items():
        assert torch.equal(found[name], value), name


@needs_reference
def test_the_file_tells_sizes_and_settings() -> None:
    other = DreamPRVRConfig(
        hidden_size=64, num_heads=8, num_clips=8, max_frames=16, max_words=7, num_registers=1,
        diffusion_steps=2, denoiser_blocks=5, gaussian_widths=(1.0,), softmax_temperature=0.1,
        dropout=0.7, input_dropout=0.8, clip_weight=0.3, frame_weight=0.1, text_perturbation=0.0,
    )  # fmt: skip
    found = read_published(SAMPLE, DreamPRVR, other)
    assert (found.trained.video_dim, found.trained.text_dim) == (24, 20)
    assert found.trained.network == network_config()
    assert found.trained.network.text_perturbation == 0.0  # the file does not tell: as configured


@needs_reference
def test_choices_between_code_and_paper_stay_as_configured() -> None:
    paper = DreamPRVRConfig(
        initial_register="sample", reverse_noise="gaussian", training_noise="gaussian",
        time_table="sinusoidal", padded_frames="ignore", text_perturbation=0.3,
    )  # fmt: skip
    found = read_published(SAMPLE, DreamPRVR, paper).trained.network
    for name in ("initial_register", "reverse_noise", "training_noise", "time_table"):
        assert getattr(found, name) == getattr(paper, name), name
    assert (found.padded_frames, found.text_perturbation) == ("ignore", 0.3)


@needs_reference
def test_remarks_name_each_disagreement_and_nothing_else() -> None:
    same = network_config()
    assert read_published(SAMPLE, DreamPRVR, same, FeatureSizes(24, 20)).remarks == []
    other = replace(same, num_registers=4, dropout=0.5)
    assert sorted(read_published(SAMPLE, DreamPRVR, other, FeatureSizes(1024, 20)).remarks) == [
        "dropout is 0.0 in the file, 0.5 in the configuration",
        "num_registers is 3 in the file, 4 in the configuration",
        "video_dim is 24 in the file, 1024 in the configuration",
    ]
    # without data there are no feature sizes to disagree about
    assert read_published(SAMPLE, DreamPRVR, same).remarks == []


@needs_reference
def test_without_their_configuration_the_shapes_still_tell(tmp_path: Path) -> None:
    path = variant(tmp_path / "a.ckpt", lambda content: content.pop("config"))
    found = read_published(path, DreamPRVR, DreamPRVRConfig(dropout=0.4)).trained.network
    assert (found.hidden_size, found.num_registers, found.diffusion_steps) == (32, 3, 5)
    assert (found.dropout, found.softmax_temperature) == (0.4, 0.6)  # as configured


@needs_reference
def test_the_written_file_is_a_checkpoint_of_ours(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "imported.ckpt"
    remarks = import_checkpoint(SAMPLE, target, DreamPRVR, objective=ObjectiveConfig(margin=0.35))
    assert "hidden_size is 32 in the file, 384 in the configuration" in remarks
    assert [p.name for p in target.parent.iterdir()] == ["imported.ckpt"]
    content = torch.load(target, weights_only=True)
    assert content["state_dict"].keys() == {f"network.{name}" for name in group("after")}

    module = PRVRModule.load_from_checkpoint(target).eval()
    # the file tells no perturbation: the configuration's is kept
    assert module.network.config == replace(network_config(), text_perturbation=0.1)
    assert module.network.objective_config.margin == 0.35

    c, inputs = settings()["config"], group("in")
    expected = DreamPRVR(c["visual_feat_dim"], c["q_feat_size"], network_config()).eval()
    expected.load_state_dict(group("after"))
    given = [inputs[k] for k in ("text", "text_mask", "clips", "frames", "frame_mask")]
    with torch.no_grad():
        scores = module.network(*given)
        assert torch.equal(scores, expected(*given))
    # and they are those of the trained weights
    assert not torch.allclose(scores, group("eval")["scores"], atol=1e-3)


@needs_reference
def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    line = r"^cannot write \S*out\.ckpt: File too large; make room there$"
    with full_disk(), pytest.raises(UserError, match=line):
        import_checkpoint(SAMPLE, tmp_path / "out.ckpt", DreamPRVR)
    assert list(tmp_path.iterdir()) == []


@needs_reference
def test_objective_is_the_default_if_not_given(tmp_path: Path) -> None:
    import_checkpoint(SAMPLE, tmp_path / "a.ckpt", DreamPRVR, network_config())
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert content["hyper_parameters"]["objective"] == asdict(ObjectiveConfig())
    PRVRModule.load_from_checkpoint(tmp_path / "a.ckpt")


@needs_reference
def test_what_the_file_does_not_tell_is_said(tmp_path: Path) -> None:
    path = variant(tmp_path / "a.ckpt", lambda content: content["config"].pop("n_heads"))
    found = read_published(path, DreamPRVR, network_config())
    assert found.remarks == ["the file does not tell num_heads: 4, as configured"]


@needs_reference
@pytest.mark.parametrize("old_format", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_other_ways_to_save_the_same_weights(tmp_path: Path, old_format: bool, prefix: str) -> None:
    """With DataParallel, and in the file format of torch before version 1.6."""
    content = _load(SAMPLE, FORMAT)
    # as the sample has it, an object of a class that nobody here has
    schedule = type("Schedule", (), {"__module__": "Opts.optimization"})
    package, module = types.ModuleType("Opts"), types.ModuleType("Opts.optimization")
    module.Schedule = schedule  # type: ignore[attr-defined]
    content["optimizer"] = [schedule()]
    content["state_dict"] = {prefix + name: w for name, w in content["state_dict"].items()}
    path = tmp_path / "a.ckpt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "Opts", package)
        patch.setitem(sys.modules, "Opts.optimization", module)
        schedule.__qualname__ = "Schedule"
        torch.save(content, path, _use_new_zipfile_serialization=not old_format)
    found = read_published(path, DreamPRVR, DreamPRVRConfig()).trained.weights
    golden = group("after")
    assert found.keys() == golden.keys()
    assert all(torch.equal(found[name], value) for name, value in golden.items())
