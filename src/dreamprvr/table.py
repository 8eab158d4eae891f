"""The results table of docs/protocol.md, as text."""

from collections.abc import Mapping

COLUMNS = ("R@1", "R@5", "R@10", "R@100", "SumR")


def results_table(rows: Mapping[str, Mapping[str, float]], corner: str = "") -> str:
    """Lay out rows of recalls in %, one decimal, under the usual header.

    Args:
        rows: by name, each holding `R@1`, `R@5`, `R@10`, `R@100` and `SumR`.
        corner: stands before the header: data set and split, where the rows do not say them.
    """
    width = max(map(len, [corner, *rows]))
    lines = [f"{corner:<{width}}" + "".join(f"{column:>8}" for column in COLUMNS)]
    for name, row in rows.items():
        lines.append(f"{name:<{width}}" + "".join(f"{row[column]:8.1f}" for column in COLUMNS))
    return "\n".join(lines)
