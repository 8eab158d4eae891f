"""CLIP and SigLIP 2 against what transformers gives when it is called step by step."""

from pathlib import Path

import numpy as np
import pytest
import torch
from extraction.tiny_models import SIGLIP_TOKENS, save_clip, save_resnet, save_siglip
from PIL import Image

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.encoder import BatchEncoder, Encoder
from dreamprvr.extraction.encoders import load_encoder
from dreamprvr.extraction.image_encoders import JointEncoder

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "clip": save_clip(root / "clip"),
        "siglip": save_siglip(root / "siglip"),
        "siglip2": save_siglip(root / "siglip2", flexible=True),
    }


FAMILIES = pytest.mark.parametrize("family", ["clip", "siglip", "siglip2"])


def load(folder: Path) -> JointEncoder:
    encoder = load_encoder(f"transformers:{folder}", "cpu")
    assert isinstance(encoder, JointEncoder)
    return encoder


def pictures(count: int, seed: int = 0, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)


@FAMILIES
def test_name_sizes_and_fingerprint(folders: dict[str, Path], family: str) -> None:
    encoder = load(folders[family])
    assert isinstance(encoder, Encoder)
    assert encoder.name == f"transformers:{folders[family]}"
    assert encoder.searches_untrained
    assert (encoder.text_dim, encoder.video_dim) == (16, 12 if family == "clip" else 16)
    assert encoder.encode_windows([pictures(1)]).shape == (1, encoder.video_dim)
    assert encoder.fingerprint == load(folders[family]).fingerprint


@FAMILIES
def test_a_window_is_the_mean_of_its_pictures(folders: dict[str, Path], family: str) -> None:
    encoder, folder = load(folders[family]), folders[family]
    windows = [pictures(1), pictures(3, 1, (64, 64)), pictures(2, 2)]
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    wanted = []
    with torch.no_grad():
        for window in windows:
            rows = [
                model.get_image_features(
                    **processor(images=Image.fromarray(frame), return_tensors="pt")
                ).pooler_output[0]
                for frame in window
            ]
            wanted.append(torch.stack(rows).mean(dim=0))
    found = encoder.encode_windows(windows)
    torch.testing.assert_close(found, torch.stack(wanted), atol=1e-5, rtol=1e-5)
    assert found.dtype == torch.float32
    alone = torch.cat([encoder.encode_windows([window]) for window in windows])
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)


def test_sentences_of_clip(folders: dict[str, Path]) -> None:
    encoder, folder = load(folders["clip"]), folders["clip"]
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(["A dog RUNS"], return_tensors="pt")
    with torch.no_grad():
        states = model.text_model(**inputs).last_hidden_state[0]
        wanted = model.text_projection(states[-1])  # the end of the text
    found = encoder.encode_query("A dog RUNS")
    assert len(states) == 2 + 8
    torch.testing.assert_close(found.words, states)
    torch.testing.assert_close(found.sentence, wanted)


@pytest.mark.parametrize(
    ("family", "text", "tokens"),
    [("siglip", "A dog RUNS", ["a", "dog", "runs"]), ("siglip2", "A Dog", [*"a▁dog"])],
)
def test_sentences_of_siglip_are_padded_and_lower_case(
    folders: dict[str, Path], family: str, text: str, tokens: list[str]
) -> None:
    encoder, folder = load(folders[family]), folders[family]
    model = transformers.AutoModel.from_pretrained(folder).eval()
    ids = [*map(SIGLIP_TOKENS[family].index, tokens), 1]  # and <eos>
    with torch.no_grad():
        output = model.text_model(input_ids=torch.tensor([ids + [0] * (10 - len(ids))]))
    found = encoder.encode_query(text)
    torch.testing.assert_close(found.words, output.last_hidden_state[0, : len(ids)])
    torch.testing.assert_close(found.sentence, output.pooler_output[0])


@FAMILIES
def test_several_sentences_at_once_are_as_one_by_one(folders: dict[str, Path], family: str) -> None:
    encoder = load(folders[family])
    texts = ["a dog", "the man opens the door", "", "a " * 50]
    assert isinstance(encoder, BatchEncoder)
    for text, found in zip(texts, encoder.encode_queries(texts), strict=True):
        alone = encoder.encode_query(text)
        torch.testing.assert_close(found.words, alone.words, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.sentence, alone.sentence, atol=1e-5, rtol=1e-5)


@FAMILIES
def test_long_sentences_are_cut(folders: dict[str, Path], family: str) -> None:
    encoder = load(folders[family])
    found = encoder.encode_query("a dog opens the door " * 100)
    assert found.words.shape == (encoder.max_tokens, 16)
    assert found.sentence is not None
    assert found.sentence.shape == (encoder.video_dim,)


def test_the_fingerprint_is_that_of_weights_preparation_and_words(tmp_path: Path) -> None:
    first = load(save_clip(tmp_path / "a"))
    assert load(save_clip(tmp_path / "same")).fingerprint == first.fingerprint
    found = {first.fingerprint, load(save_clip(tmp_path / "b", seed=1)).fingerprint}
    for name, old, new in (
        ("preprocessor_config.json", '"do_center_crop": true', '"do_center_crop": false'),
        ("tokenizer.json", '"a</w>"', '"q</w>"'),
    ):
        file = save_clip(tmp_path / name) / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        found.add(load(file.parent).fingerprint)
    assert len(found) == 4


def test_rows_are_the_pooled_picture(tmp_path: Path) -> None:
    folder = save_resnet(tmp_path / "resnet")
    encoder = load_encoder(f"transformers:{folder}", "cpu")
    assert isinstance(encoder, Encoder)
    assert (encoder.video_dim, encoder.text_dim) == (16, 0)
    assert not encoder.searches_untrained
    frames = np.random.default_rng(0).integers(0, 256, (2, 48, 40, 3), np.uint8)
    model = transformers.ResNetModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    inputs = processor(images=[Image.fromarray(frame) for frame in frames], return_tensors="pt")
    with torch.no_grad():
        maps = model(**inputs).last_hidden_state  # (P, F, h, w)
    found = encoder.encode_windows([frames[:1], frames])
    wanted = maps.mean(dim=(2, 3))
    torch.testing.assert_close(found, torch.stack([wanted[0], wanted.mean(dim=0)]))


def test_it_reads_no_text(tmp_path: Path) -> None:
    encoder = load_encoder(f"transformers:{save_resnet(tmp_path / 'resnet')}", "cpu")
    with pytest.raises(UserError, match="reads no text, so a library of its features") as caught:
        encoder.encode_query("a dog runs")
    line = str(caught.value)
    assert line.endswith(
        "whose captions have the words of such an encoder (`lightning extract-text`)"
    )
    assert "search with" not in line  # no library takes such features
