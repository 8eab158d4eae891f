import pytest
import torch

from dreamprvr.checkpoint_shapes import differences, refuse_other_shapes
from dreamprvr.errors import UserError

OURS = {"a": torch.zeros(2, 3), "b": torch.zeros(4), "c": torch.zeros(())}


def test_equal_shapes_pass_whatever_the_values() -> None:
    theirs = {name: value + 1 for name, value in OURS.items()}
    assert differences(OURS, theirs) == []
    refuse_other_shapes(OURS, theirs)


def test_each_kind_of_difference_is_named() -> None:
    theirs = {"a": torch.zeros(3, 2), "c": torch.zeros(()), "d": torch.zeros(1)}
    assert differences(OURS, theirs) == [
        "1 missing: b",
        "1 extra: d",
        "1 of another size: a is (3, 2), not (2, 3)",
    ]


def test_long_lists_are_cut() -> None:
    theirs = OURS | {f"x{i}": torch.zeros(1) for i in range(7)}
    assert differences(OURS, theirs) == ["7 extra: x0, x1, x2, x3, x4, ..."]
    five = OURS | {f"x{i}": torch.zeros(1) for i in range(5)}
    assert differences(OURS, five) == ["5 extra: x0, x1, x2, x3, x4"]


def test_message_is_one_line_and_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"1 missing: c.*give the --config") as error:
        refuse_other_shapes(OURS, {"a": OURS["a"], "b": OURS["b"]})
    assert "\n" not in str(error.value)
