import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from data_modules.readers.tables import read_tables, write_tables
from tests.kit.film_plan import FilmPlan, plan_films
from tests.kit.films import Film, annotations, make_films, split_names
from tests.kit.statistics_encoder import StatisticsEncoder


@pytest.fixture(scope="module")
def plans() -> list[FilmPlan]:
    return plan_films(3, (3, 5))


@pytest.fixture(scope="module")
def root(plans: list[FilmPlan], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films without pictures: row i of a film is i everywhere."""
    folder = tmp_path_factory.mktemp("films")
    text = folder / "film" / "TextData"
    text.mkdir(parents=True)
    write_tables(text, "film", annotations(plans, ["train", "val", "test"], folder))
    for split in ("train", "val", "test"):
        (text / f"film{split}.caption.txt").touch()
    with h5py.File(folder / "film" / "features.hdf5", "w") as file:
        file.attrs["fingerprint"] = "abc"
        for plan in plans:
            rows = np.arange(int(plan.duration), dtype=np.float32)
            size = StatisticsEncoder().video_dim
            file[plan.name] = np.repeat(rows[:, None], size, axis=1)
    return folder


def test_sections_follow_each_other_and_are_short(root: Path, plans: list[FilmPlan]) -> None:
    data = Film(root, 8)
    store = data.video_features()
    rows = np.concatenate([store[i][:, 0] for i in data.annotations("train").videos["video_id"]])
    assert rows.tolist() == list(range(int(plans[0].duration)))
    assert max(store.rows(i) for i in data.annotations("train").videos["video_id"]) <= 8


def test_a_caption_goes_where_the_middle_of_its_event_is(root: Path, plans: list[FilmPlan]) -> None:
    data = Film(root, 8)
    store = data.video_features()
    queries = data.annotations("train").queries
    assert len(queries) == len(plans[0].events)
    for shot, query in zip(plans[0].events, queries.itertuples(index=False), strict=True):
        first = store[query.video_ids[0]][0, 0]
        last = store[query.video_ids[0]][-1, 0] + 1
        middle = min((shot.start + shot.end) / 2, plans[0].duration - 1)
        assert first - 1e-6 <= middle <= last + 1e-6
        assert query.moments[0][1] + first == pytest.approx(shot.end)


def test_test_films_stay_whole(root: Path, plans: list[FilmPlan]) -> None:
    assert Film(root, 8).annotations("test").videos["video_id"].tolist() == [plans[2].name]


def test_without_a_length_training_films_stay_whole(root: Path, plans: list[FilmPlan]) -> None:
    assert Film(root).annotations("train").videos["video_id"].tolist() == [plans[0].name]


def test_sections_keep_the_fingerprint_of_their_features(root: Path) -> None:
    assert Film(root, 8).video_features().fingerprint == "abc"


def test_a_section_of_an_unknown_film_is_not_there(root: Path) -> None:
    assert "nofilm@0:4" not in Film(root, 8).video_features()


def test_preparing_writes_the_words_of_all_captions(root: Path, plans: list[FilmPlan]) -> None:
    data = Film(root, 8)
    data.prepare_data()
    words = data.text_features()
    assert len(words.keys()) == sum(len(plan.events) for plan in plans)
    assert words.dim == StatisticsEncoder.text_dim


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
