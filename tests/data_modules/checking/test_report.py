from pathlib import Path

import pytest

from data_modules.base import SplitSize
from data_modules.checking.report import FeatureSummary, Report, SplitSummary, Spread
from data_modules.readers.store import some


def test_the_whole_text():
    report = Report("Charades", Path("data/charades"), 30)
    report.splits = {
        "train": SplitSummary(
            "train", 5338, 12408, SplitSize(5338, 12408), Spread(1, 2.324, 12),
            Spread(20, 60.04, 1200), Spread(3, 8, 21), 1000,
        ),
        "val": SplitSummary("val", 4, 9, SplitSize(1334, 3720)),
        "test": None,
    }  # fmt: skip
    report.features = [FeatureSummary("video features", 1024, Path("data/charades/v"))]
    report.problems, report.remarks = ["something is missing"], ["something is odd"]
    assert not report.ok
    assert (
        report.text()
        == """\
Charades in data/charades

train   5,338 / 5,338 videos   12,408 / 12,408 captions
val     4 / 1,334 videos       9 / 3,720 captions
test    cannot be read
(found / expected)

        captions per video   rows per video      words per caption   captions over 30 words
train   1 / 2.3 / 12         20 / 60.0 / 1,200   3 / 8.0 / 21        1,000
val     -                    -                   -                   0
(smallest / mean / largest)

video features   1024-d   data/charades/v

Problems (training would fail):
- something is missing

Remarks (training works):
- something is odd

1 problem found."""
    )


def test_no_problems_and_no_expectations():
    report = Report("Mine", Path("data/mine"), 30, {"train": SplitSummary("train", 1, 2)})
    assert report.ok
    assert "train   1 video   2 captions" in report.text()
    assert "expected" not in report.text()
    assert report.text().endswith("No problems.")
    report.problems = ["a", "b"]
    assert report.text().endswith("2 problems found.")


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (["a"], "1 video (a)"),
        (list("abcde"), "5 videos (a, b, c, d, e)"),
        (list("abcdefg"), "7 videos (a, b, c, d, e, ...)"),
        (["a\nb", "\udc80", "", "\x1b[2J", "é"], r"5 videos ('a\nb', '\udc80', '', '\x1b[2J', é)"),
    ],
)
def test_ids_are_escaped_for_a_terminal(ids: list[str], text: str):
    assert some(ids, "video") == text


def test_spread():
    assert Spread.of([3, 1, 2, 2]) == (1, 2.0, 3)
    assert Spread.of(iter(())) is None
