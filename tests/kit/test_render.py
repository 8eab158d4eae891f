from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.kit.film_plan import FORMS, MOTIONS, PLACES, SHAPES, Event, FilmPlan, Form, plan_films
from tests.kit.render import (
    Placed,
    background,
    draw,
    frame_times,
    frames,
    inside,
    placements,
    render,
)

VIVID = np.array((225, 35, 35), np.uint8)


def path(motion: str, count: int = 1, layout: str = "row") -> list[list[Placed]]:
    event = Event("red", "square", count, motion, "sea", layout)
    return [
        placements(event, t / 5, t, 4 / 3, np.random.default_rng(3)) for t in np.arange(0, 5, 0.25)
    ]


@pytest.mark.parametrize("place", PLACES)
def test_places_are_duller_than_what_happens_there(place: str) -> None:
    picture = background(place, 80, 60, np.random.default_rng(0))
    assert picture.shape == (60, 80, 3)
    assert (picture.max(axis=-1) - picture.min(axis=-1)).max() < 105


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_lie_within_the_unit_circle(shape: str) -> None:
    v, u = np.mgrid[-2:2:80j, -2:2:80j]
    assert inside(shape, u, v).any()
    assert np.hypot(u, v)[inside(shape, u, v)].max() < 1.25


def test_border_cuts_a_shape_and_outside_nothing_is_drawn() -> None:
    frame = np.zeros((60, 80, 3), np.uint8)
    draw(frame, "square", VIVID, Placed(0.0, 0.5, 0.2, 0.0))
    assert frame[30, 0].tolist() == VIVID.tolist()
    before = frame.copy()
    draw(frame, "square", VIVID, Placed(3.0, 0.5, 0.2, 0.0))
    assert (frame == before).all()


@pytest.mark.parametrize(
    ("motion", "axis", "sign"), [("right", 0, 1), ("left", 0, -1), ("rise", 1, -1), ("fall", 1, 1)]
)
def test_shapes_go_where_the_caption_says(motion: str, axis: int, sign: int) -> None:
    steps = np.diff([frame[0][axis] for frame in path(motion)])
    assert (sign * steps > 0).all()


@pytest.mark.parametrize(("motion", "sign"), [("grow", 1), ("shrink", -1)])
def test_size_changes_as_the_caption_says(motion: str, sign: int) -> None:
    assert (sign * np.diff([frame[0].radius for frame in path(motion)]) > 0).all()


def test_a_blinking_shape_appears_and_disappears() -> None:
    assert {len(frame) for frame in path("blink")} == {0, 1}


@pytest.mark.parametrize("motion", [name for name in MOTIONS if name != "blink"])
def test_several_shapes_keep_their_layout(motion: str) -> None:
    for frame in path(motion, 3, "column"):
        assert len(frame) == 3
        assert len({placed.x for placed in frame}) == 1
        assert frame[0].y < frame[1].y < frame[2].y


def short(form: Form = FORMS[0]) -> FilmPlan:
    return replace(plan_films(1, (1, 1))[0], form=form)


def test_frames_show_the_event_and_only_then() -> None:
    plan = short()
    event = plan.events[0]
    seen = {True: 0, False: 0}
    for time, picture in frames(plan):
        high, low = (picture.astype(int).max(-1), picture.astype(int).min(-1))
        vivid = ((high - low > 120) | (low > 235)).sum() > 20
        seen[event.start <= time < event.end] += int(vivid)
    assert seen[True] > 10
    assert seen[False] == 0


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.codec}-{form.container}")
def test_a_file_keeps_the_times_of_its_frames(form: Form, tmp_path: Path) -> None:
    plan = short(form)
    with av.open(str(render(plan, tmp_path))) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert np.allclose(times, list(frame_times(plan)), atol=2e-3)


def test_variable_frame_rate_varies() -> None:
    variable = next(form for form in FORMS if len(form.rates) > 1)
    assert len(set(np.diff(list(frame_times(short(variable)))).round(4))) > 1
    assert len(set(np.diff(list(frame_times(short()))).round(4))) == 1
