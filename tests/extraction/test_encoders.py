from importlib.metadata import EntryPoint

import pytest
from extraction.clock_encoder import ClockEncoder

from dreamprvr.core.errors import UserError
from dreamprvr.extraction import encoders
from dreamprvr.extraction.encoders import encoder_names, load_encoder, pick_device, register


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_registered", {})


def install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint("mine", value, encoders.GROUP)
    monkeypatch.setattr(encoders, "entry_points", lambda group: [point])


def test_a_registered_encoder_is_made_for_the_device() -> None:
    devices = []
    register("mine", lambda device: devices.append(device) or ClockEncoder())
    assert load_encoder("mine", "cpu").name == "clock"
    assert devices == ["cpu"]
    assert "mine" in encoder_names()


def test_our_own_are_installed() -> None:
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
