import json
from pathlib import Path

import pytest
from cli.running import refused, run
from search.libraries import library, video

HUGE = "99999999999999999999"


@pytest.fixture(autouse=True)
def _library(tmp_path: Path) -> None:
    films = (video("kitchen", pan=4), video("yard", dog=7), video("empty"))
    library(tmp_path, *films, metadata="video_id,tags\nyard,pets\nkitchen,food\n").close()


def test_lines() -> None:
    first, *_, last = run("search", "library", "dog").out.splitlines()
    assert first.split()[0] == "1"
    assert "00:07-00:1" in first  # the event lasts from 7 to 10, and smoothing widens it
    assert "yard" in first
    assert "3 videos in" in last


def test_json_k_and_filter() -> None:
    found = json.loads(run("search", "library", "dog", "-k", "1", "--json").out)
    assert [hit["video_id"] for hit in found["hits"]] == ["yard"]
    assert found["hits"][0]["moments"][0]["start"] == pytest.approx(7, abs=1)
    found = json.loads(run("search", "library", "dog", "--where", "tags=food", "--json").out)
    assert [hit["video_id"] for hit in found["hits"]] == ["kitchen"]
    assert found["searched"] == 1


def test_the_largest_numbers() -> None:
    words = ("-k", "1000000", "--moments", "1000000", "--candidates", "1000000")
    assert len(json.loads(run("search", "library", "dog", *words, "--json").out)["hits"]) == 3
    everything = run("search", "library", "dog", "--candidates", "all", "--json").out
    assert json.loads(everything)["scored"] == 3


def test_nothing_above_the_threshold() -> None:
    assert run("search", "library", "dog", "--threshold", "2").out.startswith("nothing found")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("library", " "), "query"),
        (("nowhere", "dog"), "nowhere is no library"),
        (("library", "dog", "--where", "tag=x"), "no metadata column 'tag'"),
        (("library", "dog", "--where", "tags"), "COLUMN=VALUE"),
        (("library", "dog", "-k", "0"), "argument -k: 0 is no whole number from 1 to 1,000,000"),
        (("library", "dog", "-k", HUGE), f"argument -k: {HUGE} is no whole number from 1 to "),
        (("library", "dog", "-k", "9" * 5000), f"argument -k: {'9' * 30}... is no whole number"),
        (("library", "dog", "--moments", HUGE), "from 1 to 1,000,000; see lightning search"),
        (("library", "dog", "--candidates", HUGE), "from 1 to 1,000,000; see lightning search"),
        (("library", "dog", "--candidates", "many"), "many is no whole number from 1 to 1,000,000"),
        (("library", "a \udcff"), "argument query: 'a \\udcff' is not UTF-8 text"),
        (("library", "dog", "--where", "tags=\udcff"), "'tags=\\udcff' is not UTF-8 text"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str) -> None:
    assert message in refused("search", *words)
