"""The authors' format, read from the sample."""

import os
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import group, network_config, settings
from limits import full_disk
from published import SAMPLE, variant
from shared import needs_reference

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import DreamPRVR, DreamPRVRConfig, ObjectiveConfig
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
def test_sizes_and_settings_are_read_from_the_file() -> None:
    other = DreamPRVRConfig(
        hidden_size=64, num_heads=8, num_clips=8, max_frames=16, max_words=7, num_registers=1,
        diffusion_steps=2, denoiser_blocks=5, gaussian_widths=(1.0,), softmax_temperature=0.1,
        dropout=0.7, input_dropout=0.8, clip_weight=0.3, frame_weight=0.1, text_perturbation=0.0,
    )  # fmt: skip
    found = read_published(SAMPLE, DreamPRVR, other)
    assert (found.trained.video_dim, found.trained.text_dim) == (24, 20)
    assert found.trained.network == network_config()
    assert (
        found.trained.network.text_perturbation == 0.0
    )  # the file does not give it: as configured


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
def test_remarks_name_exactly_the_differing_values() -> None:
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
def test_without_a_configuration_the_sizes_follow_from_shapes(tmp_path: Path) -> None:
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
def test_a_full_disk_ends_in_one_line(tmp_path: Path) -> None:
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
def test_a_setting_that_the_file_lacks_is_reported(tmp_path: Path) -> None:
    path = variant(tmp_path / "a.ckpt", lambda content: content["config"].pop("n_heads"))
    found = read_published(path, DreamPRVR, network_config())
    assert found.remarks == ["the file does not give num_heads: 4, as configured"]


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


# Files that are no released checkpoint: other parameters, damage, something else


def _drop(state: dict[str, Any]) -> None:
    del state["frame_encoder.layer1.bias"]


def _add(state: dict[str, Any]) -> None:
    state["frame_encoder.layer3.bias"] = torch.zeros(2)


def _resize(state: dict[str, Any]) -> None:
    state["frame_encoder.layer1.bias"] = torch.zeros(7)


def _rename(state: dict[str, Any]) -> None:
    state["Frame.bias"] = state.pop("frame_encoder.layer1.bias")


@needs_reference
@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (_drop, ["1 missing: frame_encoder.aggregation.hidden.bias"]),
        (_add, ["1 extra: frame_encoder.layer3.bias"]),
        (
            _resize,
            ["1 of another size: frame_encoder.aggregation.hidden.bias is (7,), not (32,)"],
        ),
        (
            _rename,
            ["1 missing: frame_encoder.aggregation.hidden.bias", "1 extra: Frame.bias"],
        ),
    ],
)
def test_other_parameters_are_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], messages: list[str]
) -> None:
    path = variant(tmp_path / "a.ckpt", lambda content: change(content["state_dict"]))
    with pytest.raises(UserError) as caught:
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert str(path) in str(caught.value)
    for message in messages:
        assert message in str(caught.value)
    assert not (tmp_path / "out.ckpt").exists()


@needs_reference
@pytest.mark.parametrize(
    ("key", "modality"),
    [("query_input_proj.net.1.weight", "text"), ("clip_input_proj.net.1.weight", "video")],
)
def test_a_weight_that_gives_a_size_is_missing(tmp_path: Path, key: str, modality: str) -> None:
    path = variant(tmp_path / "a.ckpt", lambda content: content["state_dict"].pop(key))
    with pytest.raises(UserError, match=f"no {key}, which gives the {modality} feature size"):
        read_published(path, DreamPRVR, DreamPRVRConfig(hidden_size=32))


@needs_reference
def test_a_size_that_no_network_has(tmp_path: Path) -> None:
    """Heads that do not divide the width."""
    path = variant(tmp_path / "a.ckpt", lambda content: content["config"].update(n_heads=5))
    with pytest.raises(UserError, match="not a multiple"):
        read_published(path, DreamPRVR, DreamPRVRConfig())


@needs_reference
@pytest.mark.parametrize("kept", [0, 10, 1000, -1, -1000])
def test_a_truncated_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(SAMPLE.read_bytes()[:kept])
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        read_published(path, DreamPRVR, DreamPRVRConfig())


@needs_reference
def test_a_file_damaged_in_its_pickle(tmp_path: Path) -> None:
    content = bytearray(SAMPLE.read_bytes())
    where = content.index(b"state_dict")
    content[where - 40 : where + 40] = bytes(80)
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.ckpt is damaged"):
        read_published(path, DreamPRVR, DreamPRVRConfig())


@pytest.mark.parametrize("content", [b"", b"hello\n", "déjà vu\n".encode(), bytes(range(256))])
def test_no_checkpoint_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        read_published(path, DreamPRVR, DreamPRVRConfig())


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.ckpt is missing"):
        import_checkpoint(tmp_path / "nowhere.ckpt", tmp_path / "out.ckpt", DreamPRVR)
    with pytest.raises(UserError, match="is a folder: name a regular file"):
        read_published(tmp_path, DreamPRVR, DreamPRVRConfig())  # a folder


@pytest.mark.parametrize("content", [[1, 2], {"weights": {}}, {"state_dict": [1]}, torch.ones(3)])
def test_a_torch_file_of_something_else(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="no state_dict"):
        read_published(tmp_path / "a.ckpt", DreamPRVR, DreamPRVRConfig())


@needs_reference
def test_a_checkpoint_of_this_framework_is_refused(tmp_path: Path) -> None:
    import_checkpoint(SAMPLE, tmp_path / "ours.ckpt", DreamPRVR)
    with pytest.raises(UserError, match="already a checkpoint of this framework"):
        import_checkpoint(tmp_path / "ours.ckpt", tmp_path / "again.ckpt", DreamPRVR)
    assert not (tmp_path / "again.ckpt").exists()


def _config(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["config"].update(values)


@needs_reference
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_config(n_heads="4"), "num_heads is '4'; it must be a whole number"),
        (_config(n_heads=4.0), "num_heads is 4.0; it must be a whole number"),
        (_config(n_heads=-4), "num_heads is -4; at least 1"),
        (_config(n_heads=10**400), "num_heads is 10+.*; at most 1,000,000"),
        (_config(n_heads=True), "num_heads is True"),
        (_config(drop="0.1"), "dropout is '0.1'; it must be a number"),
        (_config(drop=float("nan")), "dropout is nan; from 0 to below 1"),
        (_config(input_drop=-1), "input_dropout is -1.0; from 0 to below 1"),
        (_config(sft_factor=10**300), "softmax_temperature is 10+.*; at most 1,000,000"),
        (_config(sft_factor=float("inf")), "softmax_temperature is inf; at most"),
        (_config(sft_factor=0), "softmax_temperature 0.0 must be > 0"),
        (_config(clip_scale_w=None), "clip_weight is None; it must be a number"),
        (_config(frame_scale_w=[0.4]), r"frame_weight is \[0.4\]; it must be a number"),
        (lambda content: content.update(config=[1]), "its configuration is no dictionary"),
        (
            lambda content: content["state_dict"]["frame_encoder.layer1.bias"].fill_(torch.nan),
            "1 weights are not finite: frame_encoder.layer1.bias",
        ),
        (
            lambda content: content["state_dict"].update({"frame_encoder.layer1.bias": 3}),
            "1 weights are no plain tensors: frame_encoder.layer1.bias",
        ),
    ],
)
def test_odd_values_are_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = variant(tmp_path / "a.ckpt", change)
    with pytest.raises(UserError, match=message) as caught:
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.ckpt").exists()


# Code that a file brings along is never run


class Marker:
    """Makes a file or folder when it is unpickled."""

    def __init__(self, path: Path, function: Callable[..., Any]) -> None:
        self.path, self.function = path, function

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if self.function is os.system:
            return os.system, (f"touch '{self.path}'",)
        if self.function is eval:
            return eval, (f"__import__('os').mkdir({str(self.path)!r})",)
        return os.mkdir, (str(self.path),)


@needs_reference
@pytest.mark.parametrize(
    ("function", "name"), [(os.system, "system"), (eval, "eval"), (os.mkdir, "mkdir")]
)
def test_code_in_a_file_is_named_and_does_not_run(
    tmp_path: Path, function: Callable[..., Any], name: str
) -> None:
    evil = tmp_path / "evil"
    path = variant(tmp_path / "a.ckpt", lambda content: content.update(x=Marker(evil, function)))
    with pytest.raises(UserError, match=rf"names \S*{name}, .*not opened"):
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert not evil.exists()
    assert not (tmp_path / "out.ckpt").exists()
    torch.load(path, weights_only=False)  # what the refusal prevents
    assert evil.exists()


def test_code_in_torchs_old_file_format_is_named_and_does_not_run(tmp_path: Path) -> None:
    evil, path = tmp_path / "evil", tmp_path / "a.ckpt"
    content = {"state_dict": {}, "x": Marker(evil, os.system)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"names \S*system, .*not opened"):
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert not evil.exists()
    torch.load(path, weights_only=False)  # what the refusal prevents
    assert evil.exists()


@pytest.mark.parametrize("kept", [100, 300, -1, -30])
def test_torchs_old_file_format_cut_short(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.ckpt"
    content = {"state_dict": {"x": torch.ones(9)}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="damaged or not a checkpoint"):
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)


def test_code_in_a_bare_pickle_does_not_run(tmp_path: Path) -> None:
    evil, path = tmp_path / "evil", tmp_path / "a.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": {}, "x": Marker(evil, os.system)}))
    with pytest.raises(UserError, match=r"a\.ckpt"):
        import_checkpoint(path, tmp_path / "out.ckpt", DreamPRVR)
    assert not evil.exists()


@needs_reference
def test_a_class_of_the_authors_is_never_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where their package can be imported, a stand-in takes its place."""
    package, module = types.ModuleType("Opts"), types.ModuleType("Opts.optimization")

    def refuse(self: object, state: object) -> None:
        raise AssertionError("ran")

    schedule = type(
        "WarmupLinearSchedule", (), {"__module__": module.__name__, "__setstate__": refuse}
    )
    module.WarmupLinearSchedule = schedule  # type: ignore[attr-defined]
    package.optimization = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "Opts", package)
    monkeypatch.setitem(sys.modules, "Opts.optimization", module)
    stranger = schedule()
    stranger.warmup = 1
    path = variant(tmp_path / "a.ckpt", lambda content: content.update(optimizer=[stranger]))
    assert type(_load(path, FORMAT)["optimizer"][0]) is not schedule
    assert type(_load(SAMPLE, FORMAT)["optimizer"]["param_groups"][0]["schedule"]) is not schedule


@needs_reference
def test_an_allowed_class_does_not_excuse_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stranger: ...

    Stranger.__module__, Stranger.__qualname__ = "Options.x", "Stranger"
    module = types.ModuleType("Options.x")
    module.Stranger = Stranger  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "Options", types.ModuleType("Options"))
    monkeypatch.setitem(sys.modules, "Options.x", module)
    path = variant(tmp_path / "a.ckpt", lambda content: content.update(x=Stranger()))
    with pytest.raises(UserError, match=r"names Options\.x\.Stranger,"):
        read_published(path, DreamPRVR, DreamPRVRConfig())
