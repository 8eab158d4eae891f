import numpy as np
import pytest

from tests.kit.vocabulary import COLOURS, ROUND, Event, caption, draw_event


def test_caption_names_every_part() -> None:
    event = Event("red", "circle", 1, "right", "night")
    assert caption(event) == "a red circle crosses the screen from left to right at night"


def test_several_shapes_take_the_plural_and_their_layout() -> None:
    event = Event("blue", "square", 2, "spin", "stripes", "column")
    assert caption(event) == "two blue squares one above the other rotate over a striped floor"


@pytest.mark.parametrize("colour", COLOURS)
def test_article_fits_the_colour(colour: str) -> None:
    sentence = caption(Event(colour, "ring", 1, "blink", "snow"))
    assert sentence.startswith("an " if colour == "orange" else "a ")


def test_all_phrasings_name_the_colour_once() -> None:
    rng = np.random.default_rng(0)
    sentences = {caption(Event("green", "cross", 3, "grow", "sea"), rng) for _ in range(200)}
    assert len(sentences) > 10
    assert all(sentence.split().count("green") == 1 for sentence in sentences)


def test_nothing_round_spins() -> None:
    rng = np.random.default_rng(0)
    events = [draw_event("sea", rng) for _ in range(2000)]
    assert any(event.motion == "spin" for event in events)
    assert not any(event.motion == "spin" and event.shape in ROUND for event in events)
