import pytest
from starlette.datastructures import QueryParams

from dreamprvr.serve.queries import MAX_QUERY, SearchRequest, read_request
from dreamprvr.serve.replies import Refusal

COLUMNS = {"tag": ("cooking", "travel"), "year": (2019, 2021)}


def test_everything() -> None:
    words = (
        "q=a++man%0Aruns&k=20&threshold=-0.5&where=tag%3Dtravel&where=year=2021&where=tag=cooking"
    )
    request = read_request(QueryParams(words), COLUMNS)
    assert (request.text, request.k, request.threshold) == ("a man runs", 20, -0.5)
    assert request.filters() == {"tag": ["cooking", "travel"], "year": 2021}


def test_the_sentence_alone() -> None:
    request = read_request(QueryParams("q=x&k=&threshold="), {})
    assert request == SearchRequest("x", 10, None, ())
    assert request.filters() is None


def test_the_same_search_is_the_same_request() -> None:
    one, two = (
        read_request(QueryParams(words), COLUMNS)
        for words in (
            "q=x&where=tag=a&where=year=2019",
            "q=+x&where=year=2019&where=tag=a&where=tag=a",
        )
    )
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        ("", 400, "q is empty"),
        ("q=+%20", 400, "q is empty"),
        ("q=" + "a" * (MAX_QUERY + 1), 413, "longer"),
        ("q=x&k=0", 400, "k is a whole number"),
        ("q=x&k=101", 400, "k is a whole number"),
        ("q=x&k=-1", 400, "k is a whole number"),
        ("q=x&k=%D9%A3", 400, "k is a whole number"),  # a digit, but not one of ours
        ("q=x&k=" + "1" * 5000, 400, "k is a whole number"),
        ("q=x&threshold=nan", 400, "threshold"),
        ("q=x&threshold=inf", 400, "threshold"),
        ("q=x&threshold=high", 400, "threshold"),
        ("q=x&where=tag", 400, "a column and a value"),
        ("q=x&where=place=here", 400, r"no column 'place' \(tag, year\)"),
        ("q=x" + "&where=tag=a" * 65, 413, "filters"),
    ],
)
def test_refusals(words: str, status: int, line: str) -> None:
    with pytest.raises(Refusal, match=line) as caught:
        read_request(QueryParams(words), COLUMNS)
    assert caught.value.status == status
