import builtins
import os
import tarfile
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from core.test_torch_file import deflated
from extraction.clock_encoder import ClockEncoder
from extraction.tiny_models import save_clip, save_resnet, save_siglip
from safetensors.torch import load_file, save_file
from shared import DATA, needs_data

from dreamprvr.core import plugins
from dreamprvr.core.errors import UserError
from dreamprvr.extraction import encoders
from dreamprvr.extraction.encoders import HUB, encoder_names, load_encoder, pick_device, register

pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_registered", {})


def install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint("mine", value, encoders.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])


def test_a_registered_encoder_is_made_for_the_device() -> None:
    devices = []
    register("mine", lambda device: devices.append(device) or ClockEncoder())
    assert load_encoder("mine", "cpu").name == "clock"
    assert devices == ["cpu"]
    assert "mine" in encoder_names()


def test_the_encoders_of_this_package_are_installed() -> None:
    assert encoder_names() == ["clip-b32", "clip-l14", "resnet152", "siglip2-base"]


def test_an_installed_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "extraction.test_encoders:make")
    assert load_encoder("mine").name == "clock"


def make(device: str) -> ClockEncoder:
    return ClockEncoder()


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match=r"^no encoder 'clip'; there are: clip-b32, .*FOLDER"):
        load_encoder("clip")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "no_such_module:x",
            r"needs a package that is not.*install 'dreamprvr\[search\]'",
        ),
        ("extraction.test_encoders:gone", "is broken: "),
        ("builtins:str", "'mine' is broken: it lacks what an Encoder must have"),
    ],
)
def test_broken_encoders(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    install(monkeypatch, value)
    with pytest.raises(UserError, match=message):
        load_encoder("mine")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device("cpu") == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert pick_device("auto") == "cuda"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert pick_device("auto") == "mps"
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    with pytest.raises(UserError, match=r"^--device quantum: "):
        pick_device("quantum")


def test_a_folder_without_a_name_is_not_the_current_one() -> None:
    with pytest.raises(UserError, match="names no model: write transformers:FOLDER"):
        load_encoder("transformers:", "cpu")


@pytest.mark.parametrize("name", sorted(HUB))
def test_the_error_of_a_missing_model_has_advice(name: str) -> None:
    with pytest.raises(UserError) as caught:
        load_encoder(name, "cpu")
    source = HUB[name]
    assert str(caught.value) == (
        f"model {source} is not on this machine: where there is a network, run `hf download "
        f"{source}`, or `hf download {source} --local-dir FOLDER`, copy FOLDER here and give "
        "--encoder transformers:FOLDER"
    )


@pytest.mark.parametrize("name", sorted(HUB))
def test_short_names_lead_to_models_of_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def remember(*arguments: str) -> None:
        asked.append(arguments)
        raise UserError("stop")

    monkeypatch.setattr(encoders, "open_model", remember)
    with pytest.raises(UserError, match="stop"):
        load_encoder(name, "cpu")
    assert asked == [(HUB[name], "cpu", name)]


def test_a_folder_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_clip(tmp_path / "m")
    name = load_encoder("transformers:m", "cpu").name
    assert name == f"transformers:{tmp_path / 'm'}"
    os.mkdir("elsewhere")
    monkeypatch.chdir("elsewhere")
    assert load_encoder(name, "cpu").name == name


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_damaged_folder(tmp_path: Path, file: str, how: str) -> None:
    path = save_clip(tmp_path / "m") / file
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"^cannot read a model from {tmp_path / 'm'}"):
        load_encoder("transformers:m", "cpu")


def test_weights_in_torchs_form(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "m")
    whole = load_encoder(f"transformers:{folder}", "cpu").fingerprint
    file = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), file)
    (folder / "model.safetensors").unlink()
    assert load_encoder(f"transformers:{folder}", "cpu").fingerprint == whole
    deflated(file)
    with pytest.raises(UserError, match=rf"{file} is damaged or not a checkpoint: compressed"):
        load_encoder(f"transformers:{folder}", "cpu")


Weights = dict[str, torch.Tensor]
PROJECTION = "visual_projection.weight"  # (12, 16)


def change_weights(folder: Path, change: Callable[[Weights], Weights]) -> Path:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return folder


def without(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {key: value for key, value in weights.items() if key != name}


def with_(name: str, value: torch.Tensor) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, name: value}


def renamed(prefix: str) -> Callable[[Weights], Weights]:
    return lambda weights: {prefix + name: value for name, value in weights.items()}


LAYER = "vision_model.encoder.layers.2.mlp.fc1.bias"  # the tiny model has layers 0 and 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            renamed("module."),
            r"78 missing \(logit_scale, .*, \.\.\.\), 78 unexpected \(module\.logit_scale, .*, "
            r"\.\.\.\); they were saved with DataParallel: save model\.module instead",
        ),
        (without(PROJECTION), rf"1 missing \({PROJECTION}\); give a folder"),
        (without("logit_scale"), r"1 missing \(logit_scale\)"),
        (with_(PROJECTION, torch.ones(7, 16)), rf"1 of another size \({PROJECTION}\)"),
        (with_(LAYER, torch.ones(24)), rf"1 unexpected \({LAYER}\)"),
        (with_("classifier.1.bias", torch.ones(3)), r"1 unexpected \(classifier\.1\.bias\)"),
        (with_(PROJECTION, torch.full((12, 16), torch.nan)), rf"1 not finite \({PROJECTION}\)"),
        (with_(PROJECTION, torch.full((12, 16), -torch.inf)), rf"1 not finite \({PROJECTION}\)"),
        (lambda _: {"x": torch.ones(1)}, r"78 missing .*, 1 unexpected \(x\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[Weights], Weights],
    message: str,
) -> None:
    folder = change_weights(save_clip(tmp_path / "m"), change)
    capfd.readouterr()
    with pytest.raises(
        UserError, match=f"^the weights in {folder} do not fit.*{message}"
    ) as caught:
        load_encoder(f"transformers:{folder}", "cpu")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # transformers has a report of many lines


@needs_data
def test_a_folder_saved_with_data_parallel(tmp_path: Path) -> None:
    with tarfile.open(DATA / "hard_inputs" / "clip_module_prefix.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    with pytest.raises(UserError, match=r"78 missing .*they were saved with DataParallel"):
        load_encoder(f"transformers:{tmp_path / 'module'}", "cpu")


def test_a_shard_is_missing(tmp_path: Path) -> None:
    import transformers

    folder = save_clip(tmp_path / "m")
    model = transformers.CLIPModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    whole = load_encoder(f"transformers:{folder}", "cpu").fingerprint
    assert whole == load_encoder(f"transformers:{save_clip(tmp_path / 'n')}", "cpu").fingerprint
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(UserError, match=rf"^cannot read a model from .*{shard.name}"):
        load_encoder(f"transformers:{folder}", "cpu")


@pytest.mark.parametrize(
    ("save", "change"),
    [
        # what the published folders hold beside the weights
        (save_clip, with_("text_model.embeddings.position_ids", torch.arange(20)[None])),
        (save_siglip, with_("vision_model.embeddings.position_ids", torch.arange(16)[None])),
        (
            save_resnet,
            lambda weights: {
                **renamed("resnet.")(weights),
                "classifier.1.weight": torch.ones(3, 16),
                "classifier.1.bias": torch.ones(3),
            },
        ),
        (
            save_resnet,
            lambda weights: {k: v for k, v in weights.items() if "num_batches" not in k},
        ),
    ],
)
def test_harmless_extras_change_nothing(
    tmp_path: Path, save: Callable[[Path], Path], change: Callable[[Weights], Weights]
) -> None:
    folder = save(tmp_path / "m")
    plain = load_encoder(f"transformers:{folder}", "cpu").fingerprint
    assert (
        load_encoder(f"transformers:{change_weights(folder, change)}", "cpu").fingerprint == plain
    )


def test_other_families_are_refused(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match="of the family 'bert'; as encoders there are clip, siglip"):
        load_encoder("transformers:m", "cpu")


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}'
    )
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UserError, match=r"^cannot read a model"):
        load_encoder("transformers:m", "cpu")
    assert not (tmp_path / "ran").exists()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "transformers":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'dreamprvr\[search\]'"):
        load_encoder("clip-b32", "cpu")
