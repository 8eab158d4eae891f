import numpy as np
import pytest

from tests.kit.film_plan import FORMS, FilmPlan, plan_films


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
