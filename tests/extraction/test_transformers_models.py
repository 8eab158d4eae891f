import builtins
import os
from pathlib import Path
from typing import Any

import pytest
from extraction.tiny_models import save_clip

from dreamprvr.errors import UserError
from dreamprvr.extraction import transformers_models
from dreamprvr.extraction.encoders import load_encoder
from dreamprvr.extraction.transformers_models import HUB

pytest.importorskip("transformers")


@pytest.mark.parametrize("name", sorted(HUB))
def test_a_missing_model_says_what_to_do(name: str) -> None:
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

    monkeypatch.setattr(transformers_models, "open_model", remember)
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
