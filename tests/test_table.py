import pytest

from dreamprvr.table import COLUMNS, results_table


def row(*values: float) -> dict[str, float]:
    return dict(zip(COLUMNS, values, strict=True))


def test_layout() -> None:
    rows = {"chance": row(0.04, 0.25, 0.55, 5, 5.84), "DreamPRVR": row(8.7, 27.5, 40.3, 100, 176.5)}
    assert results_table(rows).split("\n") == [
        "              R@1     R@5    R@10   R@100    SumR",
        "chance        0.0     0.2     0.6     5.0     5.8",
        "DreamPRVR     8.7    27.5    40.3   100.0   176.5",
    ]


def test_the_corner_names_data_set_and_split() -> None:
    assert results_table({"a": row(1, 2, 3, 4, 10)}, "tvr test").split("\n") == [
        "tvr test     R@1     R@5    R@10   R@100    SumR",
        "a            1.0     2.0     3.0     4.0    10.0",
    ]


def test_other_entries_are_not_shown() -> None:
    assert results_table({"a": row(1, 2, 3, 4, 10) | {"loss": 9.9}}).count("9.9") == 0


def test_no_rows() -> None:
    assert results_table({}).split() == list(COLUMNS)


def test_a_missing_column_is_an_error() -> None:
    with pytest.raises(KeyError, match="SumR"):
        results_table({"a": {"R@1": 1, "R@5": 1, "R@10": 1, "R@100": 1}})
