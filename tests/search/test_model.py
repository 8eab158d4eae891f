"""A model, an encoder and features that do not belong together are refused."""

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from search.checkpoints import checkpoint, network
from search.libraries import DIM, SETTINGS, TEXT_DIM, WordEncoder, features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.extraction import encoders
from dreamprvr.extraction.encoders import register
from dreamprvr.extraction.feature_file import ExtractionSettings
from dreamprvr.search import model
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import read_manifest
from dreamprvr.search.model import read_model, write_model


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return features(tmp_path / "features.hdf5", [video("a", dog=7)])


def other_encoder(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """The library's encoder, changed after its features were made."""
    monkeypatch.setattr(encoders, "_registered", dict(encoders._registered))
    register(SETTINGS.encoder, type("Other", (WordEncoder,), changes))


def test_a_model_of_other_features(tmp_path: Path, films: Path) -> None:
    weights = checkpoint(tmp_path / "a.ckpt", fingerprint="e" * 64)
    with pytest.raises(UserError, match=r"another encoder \(fingerprint e{12}\).*words, f{12}"):
        Library.create(tmp_path / "library", films, weights, trust_features=True)
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"text_fingerprint": "e" * 64}, r"words of another encoder \(fingerprint e{12}\).* f{12}"),
        ({"feature_settings": {"fps": 1.0, "window": 2.0, "stride": 0.5}},
         r"features of window 2\.0, stride 0\.5, but these are of window 1\.0, stride 1\.0:"),
    ],
)  # fmt: skip
def test_a_model_of_other_words_or_seconds(
    tmp_path: Path, films: Path, said: dict[str, Any], message: str
) -> None:
    weights = checkpoint(tmp_path / "a.ckpt", **said)
    with pytest.raises(UserError, match=message):
        Library.create(tmp_path / "library", films, weights, trust_features=True)
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize(
    "said",
    [
        {"text_fingerprint": SETTINGS.fingerprint,
         "feature_settings": {"fps": 1, "window": 1.0, "stride": 1.0}},
        {"feature_settings": {}}, {"feature_settings": None, "text_fingerprint": None},
        {"feature_settings": ["fps"]}, {"feature_settings": {"fps": "9", "other": 3.0}},
    ],
)  # fmt: skip
def test_a_model_that_says_the_same_or_nothing(
    tmp_path: Path, films: Path, said: dict[str, Any]
) -> None:
    weights = checkpoint(tmp_path / "a.ckpt", **said)
    Library.create(tmp_path / "library", films, weights).close()
    with Library.open(tmp_path / "library") as made:  # what it says is kept in the library
        assert made.manifest.checkpoint == read_model(weights).digest


def test_a_model_that_does_not_say(tmp_path: Path, films: Path) -> None:
    weights = checkpoint(tmp_path / "a.ckpt", fingerprint=None)
    with pytest.raises(UserError, match=r"does not say which features .* --trust_features"):
        Library.create(tmp_path / "library", films, weights)
    with pytest.warns(UserWarning, match="the sizes fit, the rest is taken on trust"):
        made = Library.create(tmp_path / "library", films, weights, trust_features=True)
    with made:
        made.update(films)
        assert len(made.search("dog").hits) == 1


def test_a_model_of_another_size(tmp_path: Path) -> None:
    settings = ExtractionSettings("words", "f" * 64, 9, 1.0, 1.0, 1.0)
    path = features(tmp_path / "features.hdf5", [], settings)
    with h5py.File(path, "r+") as file:
        file["a"] = np.ones((2, 9), np.float32)
    with pytest.raises(UserError, match="video features of size 6, but these are of size 9"):
        Library.create(tmp_path / "library", path, checkpoint(tmp_path / "a.ckpt"))


@pytest.mark.parametrize(
    ("changes", "trained", "message"),
    [
        ({"fingerprint": "e" * 64}, False, r"now has other weights \(fingerprint e{12}\)"),
        ({"searches_untrained": False}, False, "searching needs a trained model"),
        ({"text_dim": 0, "searches_untrained": False}, False, "reads no text"),
        ({"text_dim": 0, "searches_untrained": False}, True, "reads no text"),
        ({"text_dim": 9}, True, "gives text features of size 9, the library needs 5"),
        ({"video_dim": 9}, True, "gives video features of size 9, the library needs 6"),
    ],
)
def test_an_encoder_that_does_not_fit(
    tmp_path: Path, films: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any],
    trained: bool, message: str,
) -> None:  # fmt: skip
    weights = checkpoint(tmp_path / "a.ckpt") if trained else None
    made = Library.create(tmp_path / "library", films, weights)
    made.update(films)
    other_encoder(monkeypatch, **changes)
    with made, pytest.raises(UserError, match=message):
        made.search("dog")
    with pytest.raises(UserError, match=message):
        Library.create(tmp_path / "other", films, weights)


def test_an_encoder_that_is_gone(tmp_path: Path) -> None:
    library(tmp_path, video("a")).close()
    manifest = tmp_path / "library" / "library.json"
    manifest.write_text(manifest.read_text().replace('"words"', '"os:system"'))
    opened = Library.open(tmp_path / "library")
    message = (
        r"the encoder 'os:system' that made the features is not installed here: .* by that program "
        r"\(`Library\.open`\), or make it a package with an entry point of .*dreamprvr\.encoders"
    )
    with opened, pytest.raises(UserError, match=message):
        opened.search("dog")


def test_another_model_in_the_folder(tmp_path: Path, films: Path) -> None:
    Library.create(tmp_path / "library", films, checkpoint(tmp_path / "a.ckpt")).close()
    checkpoint(tmp_path / "library" / "model.ckpt", seed=1)
    with Library.open(tmp_path / "library") as opened:
        assert opened.videos() == []  # the model is not needed to list them
        with pytest.raises(UserError, match="is not the model that the library was indexed with"):
            opened.prepare()
        (tmp_path / "library" / "model.ckpt").unlink()
        with pytest.raises(UserError, match=r"model\.ckpt is missing"):
            opened.search("dog")


def test_settings_are_compared_by_fingerprint_not_by_name(tmp_path: Path) -> None:
    register("words too", WordEncoder)
    moved = dataclasses.replace(SETTINGS, encoder="words too")
    with library(tmp_path, video("a")) as made:
        path = features(tmp_path / "moved.hdf5", [video("b")], moved)
        assert made.update(path).added == ["b"]


def test_an_encoder_whose_folder_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library learns the new place of an encoder from features that it has extracted again."""

    def load(name: str, device: str) -> WordEncoder:
        loaded.append(name)
        return WordEncoder(device)

    loaded: list[str] = []
    monkeypatch.setattr(model, "load_encoder", load)
    old, new = tmp_path / "clip0", tmp_path / "clip0m"
    old.mkdir()
    before, after = (
        dataclasses.replace(SETTINGS, encoder=f"transformers:{path}") for path in (old, new)
    )
    path = features(tmp_path / "old.hdf5", [video("a", dog=3)], before)
    with Library.create(tmp_path / "library", path) as made:
        made.update(path)
        old.rename(new)
        missing = rf"folder {old} is missing: put it back; or, if it was moved, extract .* index"
        with pytest.raises(UserError, match=missing):
            made.search("dog")
        with pytest.raises(UserError, match=missing):
            Library.create(tmp_path / "other", path)
        report = made.update(features(tmp_path / "new.hdf5", [video("a", dog=3)], after))
        assert report.unchanged == ["a"]
        assert report.warnings == [
            f"the library's encoder was {before.encoder}; from now on it is {after.encoder}"
        ]
        assert made.search("dog").hits[0].video.video_id == "a"
        assert made.update(path).warnings == []  # where it no longer is
    assert loaded == [before.encoder, after.encoder]
    assert read_manifest(tmp_path / "library").settings == after
    with Library.open(tmp_path / "library") as again:
        assert len(again.search("dog").hits) == 1


def test_network_sizes_and_fingerprint(tmp_path: Path) -> None:
    found = read_model(checkpoint(tmp_path / "a.ckpt"))
    assert (found.video_dim, found.text_dim) == (DIM, TEXT_DIM)
    assert found.provenance.fingerprint == WordEncoder.fingerprint
    expected = network().state_dict()
    assert all(torch.equal(w, expected[n]) for n, w in found.network.state_dict().items())
    assert (
        read_model(checkpoint(tmp_path / "b.ckpt", fingerprint=None)).provenance.fingerprint == ""
    )


def test_only_parts_that_search_needs_are_kept(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "a.ckpt")
    write_model(source, tmp_path / "b.ckpt")
    kept = torch.load(tmp_path / "b.ckpt", weights_only=True)
    assert sorted(kept) == ["hyper_parameters", "state_dict"]
    assert "top_k" not in kept["hyper_parameters"]
    assert read_model(tmp_path / "b.ckpt").digest == read_model(source).digest


def test_different_models_have_different_digests(tmp_path: Path) -> None:
    digests = {
        read_model(checkpoint(tmp_path / "a.ckpt", seed, fingerprint)).digest
        for seed, fingerprint in ((0, "a"), (1, "a"), (0, "b"))
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"hidden": 3}}, "its settings make no network"),
        ({"network": None}, "its settings make no network"),
        ({"video_dim": "many"}, "its settings make no network"),
        ({"video_dim": 7}, "not those of its settings"),
        ({"network": {"num_heads": 0}}, "network.num_heads is 0"),
    ],
)
def test_a_checkpoint_with_damaged_settings_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_model(checkpoint(tmp_path / "a.ckpt", **changes))


@pytest.mark.parametrize(
    "content", [{"hyper_parameters": {}}, {"hyper_parameters": [], "state_dict": {}}]
)
def test_a_checkpoint_without_weights_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="holds no weights"):
        read_model(tmp_path / "a.ckpt")
