"""The report of `data check`, as data and as plain text."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from data_modules.base import SplitSize
from dreamprvr.core.text import plural


class Spread(NamedTuple):
    """Smallest, mean and largest of some counts."""

    least: int
    mean: float
    most: int

    @classmethod
    def of(cls, counts: Iterable[int]) -> "Spread | None":
        """Return the spread of counts, None if there are none."""
        counts = list(counts)
        return cls(min(counts), sum(counts) / len(counts), max(counts)) if counts else None


@dataclass
class SplitSummary:
    """Counts of one split.

    Attributes:
        name: name of the split.
        videos: number of videos.
        captions: number of captions.
        expected: published numbers, None if they are not known.
        captions_per_video: captions of a video, also of those without captions.
        rows: rows of a video's features, before pooling.
        words: rows of a caption's features, before cutting.
        too_long: captions of which the network does not see the end.
    """

    name: str
    videos: int
    captions: int
    expected: SplitSize | None = None
    captions_per_video: Spread | None = None
    rows: Spread | None = None
    words: Spread | None = None
    too_long: int = 0


class FeatureSummary(NamedTuple):
    """One kind of features: "video features" or "text features", their size and where they lie."""

    kind: str
    dim: int
    path: Path


@dataclass
class Report:
    """The result of `check`.

    Attributes:
        name: name of the data set's class.
        folder: folder in which its files are expected.
        max_words: words of a caption that the network reads.
        splits: counts of each split, None for a split that cannot be read.
        features: kinds of features that can be opened.
        problems: one line for each reason why training would fail.
        remarks: one line for each oddity that training survives.
    """

    name: str
    folder: Path
    max_words: int
    splits: dict[str, SplitSummary | None] = field(default_factory=dict)
    features: list[FeatureSummary] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing keeps a training from running."""
        return not self.problems

    def text(self) -> str:
        """Return the report for a terminal, without a line break at its end."""
        blocks = [
            [f"{self.name} in {self.folder}"],
            self._sizes(),
            self._spreads(),
            _aligned([[f.kind, f"{f.dim}-d", str(f.path)] for f in self.features]),
            _listed("Problems (training would fail):", self.problems),
            _listed("Remarks (training works):", self.remarks),
            [
                f"{plural(len(self.problems), 'problem')} found."
                if self.problems
                else "No problems."
            ],
        ]
        return "\n\n".join("\n".join(block) for block in blocks if block)

    def _sizes(self) -> list[str]:
        rows = []
        for name, split in self.splits.items():
            if split is None:
                rows.append([name, "cannot be read"])
                continue
            videos, captions = split.expected or (None, None)
            rows.append(
                [
                    name,
                    _of(split.videos, videos, "video"),
                    _of(split.captions, captions, "caption"),
                ]
            )
        known = any(split and split.expected for split in self.splits.values())
        return _aligned(rows) + (["(found / expected)"] if known else [])

    def _spreads(self) -> list[str]:
        rows = [
            [
                split.name, _spread(split.captions_per_video), _spread(split.rows),
                _spread(split.words), f"{split.too_long:,}",
            ]
            for split in self.splits.values() if split
        ]  # fmt: skip
        header = ["", "captions per video", "rows per video", "words per caption"]
        header.append(f"captions over {self.max_words} words")
        return [*_aligned([header, *rows]), "(smallest / mean / largest)"] if rows else []


def _of(count: int, expected: int | None, noun: str) -> str:
    return plural(count, noun) if expected is None else f"{count:,} / {plural(expected, noun)}"


def _spread(spread: Spread | None) -> str:
    return f"{spread.least:,} / {spread.mean:,.1f} / {spread.most:,}" if spread else "-"


def _aligned(rows: list[list[str]]) -> list[str]:
    """Write rows of cells as lines whose columns are three spaces apart."""
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row):
            widths[column] = max(widths.get(column, 0), len(cell))
    return [
        "   ".join(f"{cell:<{widths[column]}}" for column, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def _listed(title: str, lines: list[str]) -> list[str]:
    return [title, *(f"- {line}" for line in lines)] if lines else []
