"""The sentences of the table of strengths, and its counting."""

from types import SimpleNamespace
from typing import Any, cast

from dreamprvr.search.background import sentences
from dreamprvr.search.library import Library
from tests.kit.film_plan import COLOURS, SHAPES
from tests.kit.strengths import shares, untrue


def test_untrue_sentences_have_no_word_of_the_films_or_of_the_background() -> None:
    common = {"a", "an", "about", "at", "my", "her", "his", "old", "with", "the", "some", "that"}
    words = set(" ".join(untrue(300)).split()) - common
    shapes = {word for pair in SHAPES.values() for word in pair}
    assert not words & {*COLOURS, *shapes, *" ".join(sentences()).split()}
    assert untrue(5) == untrue(300)[:5]


def test_shares_are_counted() -> None:
    def search(text: str, **options: Any) -> Any:
        return SimpleNamespace(strength=text)

    library = cast(Library, SimpleNamespace(search=search))
    found = shares(library, ["weak", "weak", "strong", "fair"])
    assert found == {"strong": 25, "fair": 25, "weak": 50}
