from pathlib import Path

import pytest

from dreamprvr.search.results import LibraryVideo, clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00"), (59.99, "00:59"), (61, "01:01"), (3599, "59:59"), (3600, "1:00:00"),
     (36_062, "10:01:02")],
)  # fmt: skip
def test_clock(seconds: float, text: str):
    assert clock(seconds) == text


def test_title():
    assert LibraryVideo("a", Path("/a.mp4"), 1.0, {"title": "Pan"}).title == "Pan"
    assert LibraryVideo("a", None, 1.0, {"title": ""}).title == "a"
    assert LibraryVideo("a", None, 1.0, {}).title == "a"
