"""What an extraction has done, in lines."""

from dataclasses import dataclass, field
from pathlib import Path

from dreamprvr.core.text import one_line


@dataclass
class Summary:
    """Counts of an extraction.

    Args:
        output: the feature file.
        extracted: videos that were read now.
        unchanged: videos named that were there already.
        unnamed: videos of the output that were not named.
        unseen: videos of the output that lie where nothing could be looked at.
        dropped: videos that the output no longer has.
        undropped: videos that were to be dropped, but nothing would have been left.
        video_seconds: length of the videos that were read now.
        elapsed: seconds that it took.
        renamed: videos that were there under the name that their file had before.
        left_out: a line on files of folders that are not videos, or "".
        failures: files that gave nothing, with the reason.
        warnings: files that gave something, and what is odd about them.
    """

    output: Path
    extracted: int = 0
    unchanged: int = 0
    unnamed: int = 0
    unseen: int = 0
    dropped: int = 0
    undropped: int = 0
    video_seconds: float = 0.0
    elapsed: float = 0.0
    renamed: int = 0
    left_out: str = ""
    failures: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 if a file failed, else 0."""
        return 1 if self.failures else 0

    def pruned(self, count: int, rest: bool) -> None:
        """Note how many videos were not named; without any others they stay."""
        self.dropped, self.undropped = (count, 0) if rest else (0, count)

    def lines(self) -> list[str]:
        """A line for each odd file, then the total."""
        lines = [f"{one_line(path)}: {text}" for path, text in self.warnings]
        lines += [f"{one_line(path)}: failed: {text}" for path, text in self.failures]
        if self.unnamed:
            lines.append(
                f"{_count(self.unnamed, 'other video')} of {self.output} kept; --prune drops them"
            )
        if self.left_out:
            lines.append(self.left_out)
        if self.undropped:
            lines.append(
                f"nothing that was named could be extracted, so --prune dropped nothing: "
                f"{_count(self.undropped, 'video')} of {self.output} kept"
            )
        return [*lines, self._total()]

    def _total(self) -> str:
        parts = [f"{_count(self.extracted, 'video')} extracted"]
        if self.extracted:
            parts[0] += f" ({length(self.video_seconds)} of video in {length(self.elapsed)})"
        if self.unchanged:
            parts.append(f"{self.unchanged:,} unchanged")
        if self.renamed:
            parts.append(f"{self.renamed:,} renamed")
        if self.dropped:
            parts.append(f"{self.dropped:,} dropped")
        if self.unseen:
            parts.append(f"{self.unseen:,} kept unseen")
        if self.failures:
            parts.append(f"{self.failures_text()} failed")
        kept = self.unchanged + self.renamed + self.unnamed + self.unseen + self.undropped
        there = f"; features are in {self.output}" if self.extracted + kept else ""
        return ", ".join(parts) + there

    def failures_text(self) -> str:
        """How many files failed: "2 files"."""
        return _count(len(self.failures), "file")


def length(seconds: float) -> str:
    """Seconds as "12.3 s", or as h:mm:ss from a minute on."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
