import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from cli.running import refused, run
from PIL import Image
from search.libraries import features, library, video
from serve.browsing import Server

from dreamprvr.search import address
from dreamprvr.search.library import Library
from dreamprvr.serve.app import create_app
from dreamprvr.serve.keeper import Keeper

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


def test_a_line_says_how_sure_the_answer_is() -> None:
    first, *_, sure, _ = run("search", "library", "dog").out.splitlines()
    assert first.split()[1] == "100"  # on a scale that people can read
    assert sure.startswith("strong matches: 100% of random sentences score lower")
    assert "weak matches: 0% of random" in run("search", "library", "flibber").out


def test_other_queries_than_one_sentence() -> None:
    def ids(*words: str) -> list[str]:
        found = json.loads(run("search", "library", *words, "--json").out)
        return [hit["video_id"] for hit in found["hits"]]

    assert ids("--like", "yard@8", "-k", "1") != ["yard"]
    assert len(ids("dog", "--then", "cat")) == len(ids("dog", "--without", "cat")) == 3
    assert ids("dog", "--skip", "1") == ids("dog")[1:]
    assert ids("dog", "--name", "KITCH") == ["kitchen"]
    assert ids("dog", "--where", "length<1") == []
    assert ids("dog", "--where", "tags=food", "--where", "length>=5") == ["kitchen"]
    Image.new("RGB", (9, 9), (200, 0, 0)).save("red.png")
    assert len(ids("--image", "red.png")) == 3
    many = json.loads(run("search", "library", "dog", "--moments", "all", "--json").out)
    few = json.loads(run("search", "library", "dog", "--moments", "1", "--json").out)
    assert [len(hit["moments"]) for hit in few["hits"]] == [1, 1, 1]
    assert sum(len(hit["moments"]) for hit in many["hits"]) > 3


def test_subtitles_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").touch()
    (tmp_path / "talk.srt").write_text("00:00:01,000 --> 00:00:03,000\nold lighthouse\n")
    shown = replace(video("talk"), path=tmp_path / "talk.mp4")
    features(tmp_path / "talk.hdf5", [shown])
    assert run("index", "talk.hdf5", "-o", "talk").out.endswith("the library is in talk\n")
    assert '"old lighthouse"' in run("search", "talk", "the lighthouse").out
    words = ("search", "talk", "the lighthouse", "--no_subtitles")
    assert "lighthouse" not in run(*words).out


def test_the_largest_numbers() -> None:
    words = ("-k", "1000000", "--moments", "1000000", "--candidates", "1000000")
    assert len(json.loads(run("search", "library", "dog", *words, "--json").out)["hits"]) == 3
    everything = run("search", "library", "dog", "--candidates", "all", "--json").out
    assert json.loads(everything)["scored"] == 3


def test_nothing_above_the_threshold() -> None:
    assert run("search", "library", "dog", "--threshold", "2").out.startswith("nothing found")


@pytest.mark.parametrize("query", ["[1, 2]", "null", "1e3", "-5"])
def test_a_query_is_text_and_no_number_or_list(query: str) -> None:
    assert json.loads(run("search", "library", query, "--json").out)["query"] == query


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("library", " "), "query"),
        (("nowhere", "dog"), "nowhere is no library"),
        (("library", "dog", "--where", "tag=x"), "no metadata column 'tag'"),
        (("library", "dog", "--where", "tags"), "COLUMN=VALUE"),
        (("library", "dog", "-k", "0"), "k is 0; it must be at least 1"),
        (("library", "dog", "-k", HUGE), "k is above 1,000,000, the largest allowed number"),
        (("library", "dog", "-k", "9" * 5000), '"k": Exceeds the limit (4300 digits)'),
        (("library", "dog", "--moments", "some"), "--moments some: give a number, or all"),
        (("library",), "the query is None; it must be a sentence"),
        (("library", "dog", "--like", "yard@8"), "a search is for a sentence, a moment or a pict"),
        (("library", "--like", "yard"), "--like yard: write VIDEO@SECOND, say --like film@12.5"),
        (("library", "--like", "yard@-1"), "--like yard@-1: write VIDEO@SECOND"),
        (("library", "--like", "garden@1"), "no video of the library: 'garden'"),
        (("library", "--like", "yard@999"), "video yard ends at second"),
        (("library", "--image", "none.png"), "none.png is missing"),
        (("library", "dog", "--then", "a", "--without", "b"), "give either `without` or `then`"),
        (("library", "dog", "--skip", "-1"), "skip is -1; it must be at least 0"),
        (("library", "dog", "--where", "tags>=2"), "tags>=2 has no meaning: no value of the col"),
        (("library", "dog", "--moments", HUGE), "moments is above 1,000,000"),
        (("library", "dog", "--candidates", HUGE), "candidates is above 1,000,000"),
        (("library", "dog", "--candidates", "9" * 5000), f"--candidates {'9' * 30}"),
        (("library", "dog", "--candidates", "many"), "--candidates many: give a number, or all"),
        (("library", "a \udcff"), "the query is not Unicode text: 'a \\udcff'"),
        (("library", "dog", "--where", "tags=\udcff"), "where is not Unicode text: '\\udcff'"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str) -> None:
    assert message in refused("search", *words)


class Asked:
    """Stands for a server that answers, or has none."""

    def __init__(self, answer: str | None) -> None:
        self.answer, self.calls = answer, []  # type: ignore[var-annotated]

    def __call__(self, folder: Path, call: dict[str, object]) -> str | None:
        self.calls.append((folder, call))
        return self.answer


def test_a_running_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked("its answer")
    monkeypatch.setattr(address, "ask_server", asked)
    words = ("--where", "tags=pets", "--candidates", "7", "--json")
    assert run("search", "library", "dog", *words).out == "its answer\n"
    assert asked.calls == [(Path("library"), {
        "text": "dog", "k": 10, "skip": 0, "where": ["tags=pets"], "name": None, "without": None,
        "then": None, "like": None, "image": None, "moments": 3, "threshold": None,
        "candidates": 7, "rescored": 100, "subtitles": True, "json": True,
    })]  # fmt: skip
    assert "3 videos in" in run("search", "library", "dog", "--device", "cpu").out
    assert len(asked.calls) == 1
    asked.answer = None
    assert "3 videos in" in run("search", "library", "dog").out


def test_the_page_answers_as_the_command_does(tmp_path: Path) -> None:
    """With an open library, over the server's own route."""
    words = [("dog",), ("dog", "-k", "1", "--json"), ("dog", "--where", "tags=food", "--json")]
    alone = [run("search", "library", *each, "--device", "cpu").out for each in words]
    wrong = [refused("search", "library", "dog", "-k", "0", "--device", "cpu")]
    keeper = Keeper(Path("library"), lambda path: Library.open(path, "cpu"))
    with Server(create_app(keeper, tmp_path / "cache", search_token="t")) as server:
        with address.announced(Path("library"), "127.0.0.1", server.port, "t"):
            while keeper.contents is None:
                pass
            there = [run("search", "library", *each).out for each in words]
            wrong.append(refused("search", "library", "dog", "-k", "0"))
            run("library", "delete", "library", "empty")
            after = run("search", "library", "dog").out
            assert "2 videos in" in after  # at once
        with address.announced(Path("library"), "127.0.0.1", server.port, "another token"):
            assert address.ask_server(Path("library"), {}) is None
    assert [without_time(out) for out in there] == [without_time(out) for out in alone]
    assert wrong[0] == wrong[1]


def without_time(out: str) -> str:
    return re.sub(r"in \d+ ms|\"seconds\": [\d.e-]+", "", out)
