"""Measure how many seconds of video each encoder reads in a second.

    python -m benchmarks.encoders [--encoders clip-b32 siglip2-base clip-l14] [--rounds N]

The models have the published sizes and random weights, so nothing is fetched: the time does not
depend on the weights. The encoders take turns. A row is a window of one second at the encoder's own
fps, from pictures of 640 x 360 to the row: decoding a file is not counted.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import begin, comparison, interleave, parser, publish
from dreamprvr.extraction.encoder import Encoder
from dreamprvr.extraction.encoders import open_model

PICTURE = (360, 640, 3)


def save_clip(folder: Path, large: bool) -> None:
    """Save a CLIP of the sizes of ViT-B/32 or of ViT-L/14 with random weights."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    text = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
    vision = {"hidden_size": 768, "intermediate_size": 3072, "patch_size": 32}
    if large:
        text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
        vision = {
            "hidden_size": 1024, "intermediate_size": 4096, "patch_size": 14,
            "num_hidden_layers": 24, "num_attention_heads": 16,
        }  # fmt: skip
    size = 768 if large else 512
    ends = {"bos_token_id": 49406, "eos_token_id": 49407, "vocab_size": 49408}
    config = CLIPConfig(text_config={**text, **ends}, vision_config=vision, projection_dim=size)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    CLIPTokenizer({"<|startoftext|>": 0, "<|endoftext|>": 1}, []).save_pretrained(folder)


def save_siglip(folder: Path) -> None:
    """Save a SigLIP 2 of the sizes of base, patch 16, 224 pixels, with random weights."""
    from tokenizers import Tokenizer, models
    from transformers import (
        PreTrainedTokenizerFast,
        SiglipConfig,
        SiglipImageProcessorPil,
        SiglipModel,
    )

    config = SiglipConfig(text_config={"vocab_size": 1000}, vision_config={})
    SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 224, "width": 224}).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1}, "<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)


SAVED: dict[str, Callable[[Path], None]] = {
    "clip-b32": partial(save_clip, large=False),
    "siglip2-base": save_siglip,
    "clip-l14": partial(save_clip, large=True),
}


def made(name: str) -> Encoder:
    """Make an encoder of the published sizes with random weights."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        SAVED[name](Path(folder))
        return open_model(folder, "cpu", name)


def encode(encoder: Encoder, windows: Sequence[np.ndarray]) -> None:
    """Encode windows of one second each."""
    encoder.encode_windows(windows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "encoders", rounds=5, seconds=8)
    options.add_argument("--encoders", nargs="+", choices=SAVED, default=list(SAVED))
    args = begin(options, arguments)
    random = np.random.default_rng(0)
    ways: dict[str, Callable[[], Any]] = {}
    for name in args.encoders:
        encoder = made(name)
        shape = (round(encoder.fps * encoder.window), *PICTURE)
        windows = [random.integers(0, 256, shape, np.uint8) for _ in range(args.seconds)]
        ways[name] = partial(encode, encoder, windows)
    taken = interleave(ways, args.rounds)
    rows = [
        {"encoder": name, "seconds of video a second": args.seconds / cells["seconds"], **cells}
        for name, cells in comparison(taken).items()
    ]
    publish(args, rows, seconds=taken)


if __name__ == "__main__":
    main()
