"""Tiny models with random weights, saved as real ones are."""

from pathlib import Path

import torch

WORDS = ["a", "dog", "man", "runs", "opens", "the", "door"]
SPECIAL = ["<pad>", "<eos>", "<unk>"]
SIGLIP_TOKENS = {
    "siglip": [*SPECIAL, *WORDS],
    "siglip2": [*SPECIAL, "<bos>", "<mask>", "▁", *sorted(set("".join(WORDS)))],
}
"""Tokens by their ids: words, and in the newer family letters and a sign for the space."""


def save_clip(folder: Path, seed: int = 0) -> Path:
    from transformers import (
        CLIPConfig,
        CLIPImageProcessorPil,
        CLIPModel,
        CLIPTokenizer,
    )

    letters = sorted({letter for word in WORDS for letter in word})
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer({token: i for i, token in enumerate(tokens)}, []).save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2}  # fmt: skip
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": 1}
    config = CLIPConfig(
        text_config={**sizes, **ends, "vocab_size": len(tokens), "max_position_embeddings": 20},
        vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=12,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(folder)
    return folder


def save_siglip(folder: Path, flexible: bool = False) -> Path:
    """SigLIP 2 as published: of a fixed size it is a "siglip", with any aspect a "siglip2"."""
    from transformers import (
        Siglip2Config,
        Siglip2ImageProcessorPil,
        Siglip2Model,
        SiglipConfig,
        SiglipImageProcessorPil,
        SiglipModel,
    )

    tokens = SIGLIP_TOKENS["siglip2" if flexible else "siglip"]
    _save_siglip_tokenizer(folder, tokens, flexible)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2}  # fmt: skip
    text = {**sizes, "vocab_size": len(tokens), "max_position_embeddings": 10,
            "projection_size": 16, "pad_token_id": 0, "bos_token_id": 1,
            "eos_token_id": 1}  # fmt: skip
    if flexible:
        vision = {**sizes, "patch_size": 8, "num_patches": 16}
        Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).save_pretrained(folder)
        Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(folder)
    else:
        vision = {**sizes, "patch_size": 8, "image_size": 32}
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
        SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _save_siglip_tokenizer(folder: Path, tokens: list[str], letters: bool) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, Siglip2Tokenizer

    ids = {token: place for place, token in enumerate(tokens)}
    end = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 1)])
    if letters:
        newer = Siglip2Tokenizer(vocab=ids, merges=[], padding_side="right")
        newer.backend_tokenizer.post_processor = end
        newer.save_pretrained(folder)
        return
    tokenizer = Tokenizer(models.WordLevel(ids, "<unk>"))
    tokenizer.pre_tokenizer, tokenizer.post_processor = pre_tokenizers.Whitespace(), end
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>",
        padding_side="right",
    ).save_pretrained(folder)  # fmt: skip


def save_resnet(folder: Path) -> Path:
    from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetModel

    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ResNetModel(config).save_pretrained(folder)
    ConvNextImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(folder)
    return folder
