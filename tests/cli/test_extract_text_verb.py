"""lightning extract-text with a tiny CLIP, up to a training on one's own videos."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from cli.running import refused, run
from extraction.movies import constant, write_movie
from extraction.tiny_models import save_clip, save_resnet

from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.readers.features import open_features
from dreamprvr.extraction.encoders import load_encoder
from dreamprvr.extraction.image_encoders import JointEncoder

pytest.importorskip("transformers")
TEXTS = {
    "own/TextData/owntrain.caption.txt": {
        "a#enc#0": "a dog  runs", "a#enc#1": "the män opens ☃ the door ", "b#enc#0": "door",
    },
    "own/TextData/ownval.caption.txt": {"b#enc#1": "a män", "a#enc#2": "a dog " * 30},
}  # fmt: skip
CAPTIONS = {name: text for texts in TEXTS.values() for name, text in texts.items()}
ENCODER = ("--encoder", "transformers:clip", "--device", "cpu")
EXTRACT = ("extract-text", *TEXTS, "-o", "own/TextData/text.hdf5", *ENCODER)


class Own(PRVRDataModule):
    """One's own videos."""

    collection = "own"
    feature_sets = {"standard": FeatureSet("videos.hdf5", "TextData/text.hdf5", 12, 16)}


@pytest.fixture(autouse=True)
def _captions() -> None:
    save_clip(Path("clip"))
    Path("own/TextData").mkdir(parents=True)
    for path, texts in TEXTS.items():
        lines = [f"{name} {text}\n" for name, text in texts.items()]
        Path(path).write_text("".join(lines), encoding="utf-8")


def check() -> None:
    """Every caption's words are those of the encoder for just this text."""
    encoder = load_encoder("transformers:clip", "cpu")
    store = open_features("own/TextData/text.hdf5")
    assert sorted(store.keys()) == sorted(CAPTIONS)
    for name, text in CAPTIONS.items():
        np.testing.assert_allclose(store[name], encoder.encode_query(text).words, atol=1e-5)
    assert store.rows("a#enc#2") == 20  # what the encoder reads
    assert store.fingerprint == encoder.fingerprint


def test_extract_and_again() -> None:
    result = run(*EXTRACT)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("5 captions encoded (")
    there = "; word features are in own/TextData/text.hdf5 (rows of 16 numbers)\n"
    assert result.out.endswith(there)
    check()
    assert run(*EXTRACT).out == f"0 captions encoded, 5 unchanged{there}"


def test_interrupted_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = JointEncoder.encode_queries, []

    def interrupted(self, texts):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(texts)
        return real(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(JointEncoder, "encode_queries", interrupted)
        result = run(*EXTRACT, "--batch_size", "2")
    assert (result.code, result.err) == (130, "interrupted\n")
    assert result.out == (
        "stopped; what is finished is kept, and the same command goes on from there\n"
    )
    assert run(*EXTRACT).out.startswith("1 captions encoded (")
    check()


def test_a_training_on_ones_own_videos() -> None:
    Path("v").mkdir()
    for name, seconds in (("a", 3), ("b", 2)):
        write_movie(Path(f"v/{name}.mp4"), constant(seconds, 10))
    assert run("extract", "v", "-o", "own/videos.hdf5", *ENCODER).code == 0
    assert run(*EXTRACT).code == 0
    data = Own(".", num_workers=0)
    (batch,) = data.train_dataloader()
    assert (len(batch.videos.row), len(batch.queries.row)) == (2, 3)
    config = {
        "data": {"class_path": f"{__name__}.Own", "init_args": {"root": ".", "num_workers": 0}},
        "model": {"network": {"hidden_size": 8, "num_heads": 2, "max_frames": 8, "num_clips": 4,
                              "diffusion_steps": 2, "gaussian_widths": [1.0]}},
        "trainer": {"accelerator": "cpu", "fast_dev_run": True, "enable_progress_bar": False,
                    "enable_model_summary": False},
    }  # fmt: skip
    Path("own.yaml").write_text(yaml.safe_dump(config))
    result = run("fit", "--config", "own.yaml")
    assert result.code == 0, result


def test_refusals() -> None:
    run(*EXTRACT)
    save_clip(Path("clip"), seed=1)
    assert " holds words of encoder transformers:" in refused(*EXTRACT)
    save_resnet(Path("resnet"))
    line = refused(*EXTRACT[:-3], "transformers:resnet", "--device", "cpu")
    assert "/resnet reads no text: take the words of one that does (clip-b32" in line
    assert refused("extract-text", "gone.txt", "-o", "x") == ("gone.txt is missing")
    assert "captions" in refused("extract-text", "-o", "x")
    assert refused("index", "own/TextData/text.hdf5", "-o", "library").endswith(
        "from `lightning extract-text`, not the features of videos, from `lightning extract`"
    )
