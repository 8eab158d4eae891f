import numpy as np
import pytest

from tests.kit.film_plan import (
    COLOURS,
    FORMS,
    ROUND,
    Event,
    FilmPlan,
    caption,
    draw_event,
    plan_films,
)


@pytest.fixture(scope="module")
def plans() -> list[FilmPlan]:
    return plan_films(12)


def test_same_seed_same_films_and_another_seed_others(plans: list[FilmPlan]) -> None:
    assert plan_films(12) == plans
    assert plan_films(1, seed=1)[0].shots != plans[0].shots


def test_shots_follow_each_other_without_gaps(plans: list[FilmPlan]) -> None:
    for plan in plans:
        starts, ends = zip(*[(shot.start, shot.end) for shot in plan.shots], strict=True)
        assert starts[0] == 0
        assert starts[1:] == ends[:-1]
        assert min(np.subtract(ends, starts)) >= 1.4


def test_films_are_minutes_long_with_many_captioned_events(plans: list[FilmPlan]) -> None:
    for plan in plans:
        assert 20 <= len(plan.events) <= 40
        assert plan.duration > 120
        assert len(plan.captions) == len(plan.events)


def test_an_event_lies_between_two_pauses(plans: list[FilmPlan]) -> None:
    for plan in plans:
        kinds = [shot.event is not None for shot in plan.shots]
        assert kinds == [False, True] * len(plan.events) + [False]


def test_no_event_happens_twice(plans: list[FilmPlan]) -> None:
    events = [shot.event for plan in plans for shot in plan.events]
    keys = {(e.colour, e.shape, e.count, e.motion, e.place) for e in events if e}
    assert len(keys) == len(events)


def test_all_forms_are_used(plans: list[FilmPlan]) -> None:
    assert {plan.form for plan in plans} == set(FORMS)


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


def test_round_shapes_never_spin() -> None:
    rng = np.random.default_rng(0)
    events = [draw_event("sea", rng) for _ in range(2000)]
    assert any(event.motion == "spin" for event in events)
    assert not any(event.motion == "spin" and event.shape in ROUND for event in events)
