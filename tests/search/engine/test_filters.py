import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine.filters import check_columns, may_find, parse_where
from dreamprvr.search.engine.interface import Allowed

FILM = {"title": "Pancakes", "tags": ["cooking", "home"], "year": 2020}


def test_the_same_column_again_allows_another_value():
    assert parse_where(["tags=cooking", "year = 2020", "tags=sport"]) == {
        "tags": ["cooking", "sport"],
        "year": ["2020"],
    }
    assert parse_where(["a=b=c"]) == {"a": ["b=c"]}


def test_a_bound_keeps_its_sign():
    assert parse_where(["year>=2020", "year < 2022", "length=60..300", "a>b=c"]) == {
        "year": [">=2020", "<2022"],
        "length": ["60..300"],
        "a": [">b=c"],
    }


@pytest.mark.parametrize("word", ["tags", "=cooking", "", "  =x", ">=3"])
def test_a_word_without_a_column_is_refused(word: str):
    with pytest.raises(UserError, match="COLUMN=VALUE"):
        parse_where([word])


@pytest.mark.parametrize(
    ("where", "met"),
    [
        ({}, True),
        ({"tags": "home"}, True),
        ({"tags": ["sport", "home"]}, True),
        ({"tags": "sport"}, False),
        ({"tags": "home", "year": "2021"}, False),
        ({"year": 2020}, True),
        ({"year": "2020"}, True),
        ({"place": "home"}, False),
    ],
)
def test_lists_are_filtered_as_the_engine_does_it(where: dict[str, object], met: bool):
    assert may_find(Allowed(where), "film", FILM) is met
    assert may_find(Allowed(where, {"film"}), "film", FILM) is met
    assert not may_find(Allowed(where, {"other"}), "film", FILM)
    assert not may_find(Allowed(where, besides={"film"}), "film", FILM)


def test_an_unknown_column_is_named_with_those_there_are():
    check_columns({"tags": "x"}, {"tags": ["y"]})
    with pytest.raises(UserError, match="no metadata column 'tag'; there are: tags, year"):
        check_columns({"tag": "x"}, {"tags": [], "year": []})
    with pytest.raises(UserError, match="--metadata CSV"):
        check_columns({"tag": "x"}, {})
