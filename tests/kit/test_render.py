import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from data_modules.readers.tables import read_tables
from tests.kit.film_plan import FORMS, FilmPlan, Form, plan_films
from tests.kit.films import make_films, split_names
from tests.kit.render import frame_times, frames, render


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


def test_films_that_are_there_are_not_rendered_again(tmp_path: Path) -> None:
    plans = plan_films(3, (1, 1))
    told: list[str] = []
    tables = make_films(tmp_path, plans, split_names(3, 1, 1), told.append)
    assert len(told) == 3
    (tmp_path / "film" / "videos" / plans[1].file_name).unlink()
    again = make_films(tmp_path, plans, split_names(3, 1, 1), told.append)
    assert len(told) == 4
    assert told[3].startswith(plans[1].file_name)
    assert again.queries.equals(tables.queries)
    assert read_tables(tmp_path / "film" / "TextData", "film").videos["split"].tolist() == [
        "train", "val", "test",
    ]  # fmt: skip
    record = json.loads((tmp_path / "film" / "rendered.json").read_text(encoding="utf-8"))
    assert sorted(record) == [plan.name for plan in plans]
