import math

import pytest

from data_modules.repairs import fit, one_line, read_duration, read_moment, remarks
from dreamprvr.core.errors import UserError


@pytest.mark.parametrize(
    ("moment", "duration", "fitted", "done"),
    [
        ((1, 2), 10, (1, 2), set()),
        ((1, 10.5), 10, (1, 10), {"past"}),
        ((1, 10.6), 10, (1, 10), {"past", "far"}),
        ((3, 1), 10, (1, 3), {"swapped"}),
        ((38, 13), 12.17, (12.17, 12.17), {"swapped", "past", "far", "outside"}),
        ((-1, 2), 10, (0, 2), {"negative"}),
        ((-2, -1), 10, (0, 0), {"negative", "outside"}),
        ((4, 4), 10, (4, 4), {"empty"}),
        ((4, 400), math.nan, (4, 400), set()),
    ],
)
def test_fit(moment: tuple, duration: float, fitted: tuple, done: set[str]):
    assert fit(moment, duration) == (fitted, done)


@pytest.mark.parametrize(
    ("text", "line", "had_break"),
    [
        (" A man  runs. ", "A man  runs.", False),
        ("\nA man.", "A man.", True),
        ("while people \napplaud.", "while people applaud.", True),
        ("a\r\n\n b", "a b", True),
    ],
)
def test_one_line(text: str, line: str, had_break: bool):
    assert one_line(text) == (line, had_break)


def test_remarks_name_only_what_happened():
    assert remarks([set(), set()], 0) == []
    assert remarks([{"past", "far"}] * 1619 + [{"past"}], 2) == [
        "1,620 moments end after their video (1,619 by more than 0.5 s): clipped",
        "2 videos have no known duration: their moments are not clipped",
    ]


@pytest.mark.parametrize(
    "value", [0, -1, "x", None, True, math.nan, "inf", [1], 10**400, 10**9, "1_0"]
)
def test_bad_durations(value: object):
    with pytest.raises(UserError, match=r"here: duration .* not a positive number"):
        read_duration("here", value)
    with pytest.raises(UserError, match=r"here: moment .* not"):
        read_moment("here", [0, value] if value not in (0, -1, 10**9) else [value])


def test_numbers_may_be_text():
    assert read_duration("here", "30.5") == 30.5
    assert read_moment("here", ["0.0", 7]) == (0, 7)
