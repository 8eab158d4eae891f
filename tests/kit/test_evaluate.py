from pathlib import Path

import pytest

from data_modules.readers.tables import write_tables
from dreamprvr.search.results import Curve, Hit, LibraryVideo, Moment, SearchResult
from tests.kit.evaluate import Finding, judge, summary, table, write_splits
from tests.kit.film_plan import plan_films
from tests.kit.films import annotations

FOUND = Finding(rank=1, overlap=0.4, inside=True, error=1.0, start_error=2.0, guess=30.0)
MISSED = Finding(rank=2, overlap=0.9, inside=False, error=3.0, start_error=4.0, guess=50.0)


def result(*moments: Moment) -> SearchResult:
    hits = tuple(
        Hit(rank, LibraryVideo(name, None, 100.0, {}), 1.0, (moment,), Curve((), (), ()), ())
        for rank, (name, moment) in enumerate(zip(("other", "film"), moments, strict=True), start=1)
    )
    return SearchResult("", hits, 0.0, 2, 2)


def test_the_right_film_is_judged_wherever_it_ranks() -> None:
    finding = judge(result(Moment(10, 14, 11, 1), Moment(20, 24, 21, 1)), "film", (22.0, 26.0))
    assert finding.rank == 2
    assert finding.overlap == pytest.approx(2 / 6)
    assert not finding.inside
    assert (finding.error, finding.start_error, finding.guess) == (2.0, 2.0, 26.0)


def test_moments_apart_overlap_by_nothing() -> None:
    finding = judge(result(Moment(0, 1, 0, 1), Moment(0, 5, 1, 1)), "film", (8.0, 9.0))
    assert finding.overlap == 0


def test_a_moment_counts_only_in_the_first_film() -> None:
    row = summary([FOUND, MISSED], films=4)
    assert row["R@1"] == 50
    assert row["R@1, IoU 0.3"] == 50
    assert row["R@1, IoU 0.5"] == 0
    assert row["chance R@1"] == 25
    assert row["median error"] == row["mean error"] == 2
    assert row["middle of the film"] == 40


def test_table_has_a_column_for_each_result() -> None:
    lines = table({"few": summary([FOUND], 4), "all": summary([MISSED], 8)}).splitlines()
    assert lines[0] == "| | few | all |"
    assert lines[2:4] == ["| captions | 1 | 1 |", "| films | 4 | 8 |"]
    assert "| R@1 | 100.0 | 0.0 |" in lines


def test_splits_are_a_metadata_file(tmp_path: Path) -> None:
    tables = annotations(plan_films(2), ["train", "test"], tmp_path)
    (tmp_path / "film" / "TextData").mkdir(parents=True)
    write_tables(tmp_path / "film" / "TextData", "film", tables)
    write_splits(tmp_path, tmp_path / "splits.csv")
    lines = (tmp_path / "splits.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["video_id,split", "film00,train", "film01,test"]
