from pathlib import Path

import numpy as np
import pytest
import torch
from extraction.tiny_models import save_resnet
from PIL import Image

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.encoder import Encoder
from dreamprvr.extraction.encoders import load_encoder

transformers = pytest.importorskip("transformers")


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
