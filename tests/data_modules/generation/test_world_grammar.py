import numpy as np
import pytest

from data_modules.generation.world_grammar import (
    ADVERBS,
    LEXICON,
    OBJECT_CLASS,
    PARTS,
    SCENE_CLASS,
    WORDS,
    Event,
    caption,
    tokens,
    verb_forms,
)

EVENT = Event(actor=0, action=3, object=4, place=1)  # a man slices a fish near a wall
GRAMMAR = {"a", "the", "someone", "something", "is", "being", "by", "we", "see", "in"} | {
    "near",
    "beside",
}


def sentences(named: set[str], count: int = 60) -> list[str]:
    rng = np.random.default_rng(0)
    return [caption(EVENT, 0, named, rng) for _ in range(count)]


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("carry", ("carries", "carrying", "carried")),
        ("slice", ("slices", "slicing", "sliced")),
        ("push", ("pushes", "pushing", "pushed")),
        ("fix", ("fixes", "fixing", "fixed")),
        ("toss", ("tosses", "tossing", "tossed")),
        ("kick", ("kicks", "kicking", "kicked")),
    ],
)
def test_verb_forms(verb: str, forms: tuple[str, str, str]) -> None:
    assert verb_forms(verb) == forms


def test_every_word_form_has_one_meaning() -> None:
    forms = [
        form
        for part, concepts in WORDS.items()
        for words in concepts
        for word in words
        for form in (verb_forms(word) if part == "action" else (word,))
    ]
    assert len(forms) == len(set(forms)) == len(LEXICON)
    assert not set(forms) & (GRAMMAR | set(ADVERBS))


def test_classes_fit_the_concepts() -> None:
    assert len(OBJECT_CLASS) == len(WORDS["object"])
    assert len(SCENE_CLASS) == len(WORDS["scene"])
    assert set(SCENE_CLASS) <= set(OBJECT_CLASS)


@pytest.mark.parametrize("named", [{"actor", "object", "place"}, {"object", "scene"}, {"actor"}])
def test_a_caption_names_exactly_the_given_parts(named: set[str]) -> None:
    wanted = {(part, getattr(EVENT, part)) for part in PARTS if part in named | {"action"}}
    wanted |= {("scene", 0)} & {(part, 0) for part in named}
    for text in sentences(named):
        words = tokens(text)
        assert {LEXICON[word] for word in words if word in LEXICON} == wanted, text
        assert {word for word in words if word not in LEXICON} <= GRAMMAR | set(ADVERBS), text


def test_captions_vary_in_words_voice_and_order() -> None:
    texts = sentences({"actor", "object", "scene"})
    assert len(set(texts)) > 40
    assert {"man", "guy", "gentleman"} <= {word for text in texts for word in tokens(text)}
    assert any(" by " in text for text in texts)
    assert any(text.startswith("In the kitchen, ") for text in texts)
    assert all(text.endswith(".") and text[0].isupper() and "  " not in text for text in texts)


def test_tokens_drop_case_and_punctuation() -> None:
    assert tokens("In the gym, a man runs.") == ["in", "the", "gym", "a", "man", "runs"]
