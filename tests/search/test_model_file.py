from pathlib import Path
from typing import Any

import pytest
import torch
from search.checkpoints import checkpoint, network
from search.libraries import DIM, TEXT_DIM, WordEncoder

from dreamprvr.core.errors import UserError
from dreamprvr.search.model_file import read_model, write_model


def test_network_sizes_and_fingerprint(tmp_path: Path) -> None:
    found = read_model(checkpoint(tmp_path / "a.ckpt"))
    assert (found.video_dim, found.text_dim) == (DIM, TEXT_DIM)
    assert found.provenance.fingerprint == WordEncoder.fingerprint
    expected = network().state_dict()
    assert all(torch.equal(w, expected[n]) for n, w in found.network.state_dict().items())
    assert (
        read_model(checkpoint(tmp_path / "b.ckpt", fingerprint=None)).provenance.fingerprint == ""
    )


def test_only_what_search_needs_is_kept(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "a.ckpt")
    write_model(source, tmp_path / "b.ckpt")
    kept = torch.load(tmp_path / "b.ckpt", weights_only=True)
    assert sorted(kept) == ["hyper_parameters", "state_dict"]
    assert "top_k" not in kept["hyper_parameters"]
    assert read_model(tmp_path / "b.ckpt").digest == read_model(source).digest


def test_the_digest_tells_models_apart(tmp_path: Path) -> None:
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
def test_damaged_settings(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_model(checkpoint(tmp_path / "a.ckpt", **changes))


@pytest.mark.parametrize(
    "content", [{"hyper_parameters": {}}, {"hyper_parameters": [], "state_dict": {}}]
)
def test_no_weights(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="holds no weights"):
        read_model(tmp_path / "a.ckpt")
