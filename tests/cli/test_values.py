from argparse import ArgumentTypeError

import pytest

from dreamprvr.cli.values import count, text


def test_counts() -> None:
    assert [count()(word) for word in ("1", "1000000")] == [1, 1_000_000]
    assert count(3)("3") == 3


@pytest.mark.parametrize("word", ["0", "-1", "4", "1.5", "", "x", "1e3", "9" * 5000])
def test_other_numbers(word: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r" is no whole number from 1 to 3$"):
        count(3)(word)


def test_text() -> None:
    assert text("a \u00e4 \u2603") == "a \u00e4 \u2603"
    with pytest.raises(ArgumentTypeError, match=r"^'\u00e4 \\udcff' is not UTF-8 text$"):
        text("\u00e4 \udcff")
