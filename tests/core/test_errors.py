import math

import pytest

from dreamprvr.core.errors import UserError, check_range


@pytest.mark.parametrize("value", [1, 2.5, 1_000_000])
def test_numbers_within_the_limits(value: float) -> None:
    check_range("x", value, 1, 1_000_000)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "x is 0; it must be a whole number from 1 to 1,000"),
        (1.5, "x is 1.5; it must be a whole number from 1 to 1,000"),
        (True, "x is True; it must be a whole number from 1 to 1,000"),
        ("1", "x is '1'; it must be a whole number from 1 to 1,000"),
        (10**400, "x is too large; it must be a whole number from 1 to 1,000"),
    ],
)
def test_numbers_out_of_the_limits_are_refused(value: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_range("x", value, 1, 1000, whole=True)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_infinite_numbers_are_refused(value: object) -> None:
    with pytest.raises(UserError, match=f"^x is {value}; it must be a number from 0 to 1$"):
        check_range("x", value, 0, 1)
