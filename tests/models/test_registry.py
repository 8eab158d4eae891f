import sys
from pathlib import Path

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import DreamPRVR
from dreamprvr.models.registry import build_model, class_path, find_model, import_models

SETTINGS = {"video_dim": 6, "text_dim": 5, "network": {"hidden_size": 8, "num_heads": 2}}


def test_our_models_are_installed_by_name() -> None:
    assert {"dreamprvr", "gmmformer_v2", "holmes", "ms_sl"} <= import_models().keys()


def test_every_shipped_model_has_a_contract_test() -> None:
    """Each folder of a model has a test that subclasses `ModelContract`."""
    tests = Path(__file__).parent
    for name, model in import_models().items():
        if not model.__module__.startswith("dreamprvr."):
            continue
        texts = [path.read_text() for path in (tests / name).glob("test_*.py")]
        contract = [text for text in texts if "(ModelContract)" in text]
        assert contract, name
        assert any(f"model = {model.__name__}\n" in text for text in contract)


@pytest.mark.parametrize(
    "name",
    ["dreamprvr", "DreamPRVR", class_path(DreamPRVR), "dreamprvr.models.dreamprvr.DreamPRVR"],
)
def test_a_model_is_found_by_name_class_and_path(name: str) -> None:
    assert find_model(name) is DreamPRVR


def test_unknown_models_are_named() -> None:
    with pytest.raises(UserError, match=r"no model 'x'; installed are .*gmmformer_v2"):
        find_model("x")


def test_a_checkpoint_without_a_name_is_of_dreamprvr() -> None:
    assert type(build_model(SETTINGS)) is DreamPRVR


@pytest.mark.parametrize("part", ["registers", "frame_query_encoder"])
def test_a_checkpoint_cannot_have_another_module_imported(part: str) -> None:
    assert "antigravity" not in sys.modules
    network = {**SETTINGS["network"], part: "antigravity.Part"}  # type: ignore[dict-item]
    with pytest.raises(UserError, match=r"antigravity\.Part.*no installed package offers"):
        build_model({**SETTINGS, "network": network})
    assert "antigravity" not in sys.modules
