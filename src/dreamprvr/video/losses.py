"""Seconds of a video for which there should be pictures and are none."""

from heapq import heappop, heappush
from pathlib import Path

MISSING_SHARE = 0.02  # of a file, or of its seconds, that is no loss yet
STEADY = {"mpegts", "mpeg"}  # formats without pauses, in which every part of a file has pictures
OTHER_SHARE = 0.2  # of such a file behind the last picture, from which it is another recording
# Formats of which only the first of several files in one is read, and how a file begins.
_SIGNATURES = {
    "flv": b"FLV\x01", "mov": b"ftyp", "matroska": b"\x1aE\xdf\xa3", "avi": b"AVI LIST",
    "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "gif": b"GIF8",
}  # fmt: skip
_BEHIND_BYTES = 2**24  # in which the next file is looked for
STANDSTILL = 10.0  # seconds without a new picture that are worth a line
LOST_SECONDS = 0.25  # lost pictures that are worth a line
_ROUNDING = 1e-4  # seconds
_SAID = 3  # places of a kind that a line names


class Losses:
    """Counts what is lost, and says it.

    Args:
        frame_seconds: for which a picture is shown on average.
        steady: a second without a packet is lost, as the format holds no pauses.

    Attributes:
        within: seconds lost before the end of the last picture.
        beyond: seconds lost behind it, or that have no place among the others.
        lines: what was odd, in words.
    """

    def __init__(self, frame_seconds: float, steady: bool) -> None:
        self.within = self.beyond = 0.0
        self.lines: list[str] = []
        self._still: list[tuple[float, float]] = []  # begins and lengths of pauses
        self._usual, self._shortest, self._steady = frame_seconds, float("inf"), steady
        self._expected: list[float] = []
        self._astray = 0.0  # seconds of `beyond` that are no fault of the header
        self._last = 0.0  # packet that was expected

    def expect(self, second: float) -> None:
        """Note a packet of pictures for a second."""
        heappush(self._expected, second)

    def astray(self, second: float, before: float) -> None:
        """Note a picture that cannot come after the one at `before`."""
        if second != before:
            self.beyond += self._usual
            self._astray += self._usual

    def seen(self, second: float, before: float | None) -> None:
        """Note a picture, and the second of the one before it."""
        gap = second if before is None else second - before
        if before is not None:
            self._shortest = min(self._shortest, gap)
        missed = self._missed(second, before)
        if missed is not None:
            self.within += second - missed
        elif before is not None and self._steady and gap > max(1.0, 3 * self._usual):
            self.within += gap - self._usual
        elif before is not None and gap > STANDSTILL:
            self._still.append((before, gap))

    def ended(self, end: float) -> None:
        """Note the end of the last picture."""
        missed = self._missed(float("inf"), end)
        if missed is not None:
            rest = max(self._last - missed + self._usual, 0.0)
            self.beyond += rest
            self._astray += rest

    def _missed(self, second: float, before: float | None) -> float | None:
        """The first packet between two pictures, and clearly apart from both."""
        usual = max(self._usual, 0.0 if self._shortest == float("inf") else self._shortest)
        missed = None
        while self._expected and self._expected[0] <= second + _ROUNDING:
            self._last = packet = heappop(self._expected)
            late = before is None or packet > before + 0.75 * usual
            if missed is None and late and packet < second - 0.75 * usual:
                missed = packet
        return missed

    def joined(self, seconds: list[float]) -> None:
        """Say where the clock of the file jumped."""
        where = ", ".join(f"{second:.1f}" for second in seconds[:_SAID])
        more = f" and {len(seconds) - _SAID} more places" if len(seconds) > _SAID else ""
        self.lines.append(f"its clock jumps at {where} s{more}: the next picture follows the last")

    def cut_off(self, end: float, expected: float, seconds: float) -> None:
        """Count the end of a file that its header promises."""
        self.beyond += seconds
        self.lines.append(f"truncated: ends at {end:.1f} s, and its header says {expected:.1f} s")

    def say_missing(self, damaged: int) -> None:
        """Say what is missing between the pictures; `damaged` pieces could not be read."""
        lost = self.within + self._astray
        if damaged:
            self.lines.append(
                f"damaged: {damaged} pieces could not be read, {lost:.1f} s have no pictures"
            )
        elif lost > LOST_SECONDS:
            self.lines.append(f"incomplete: {lost:.1f} s have no pictures")
        for begin, length in self._still[:_SAID]:
            self.lines.append(f"no new picture for {length:.1f} s, from {begin:.1f} s on")

    def look_behind(self, path: Path, kind: str, read_to: int, end: float) -> None:
        """Count a second file behind the one that was read.

        Args:
            path: of the file.
            kind: its format.
            read_to: byte up to which it was read.
            end: second at which its last picture ends.
        """
        size, signature, found = path.stat().st_size, _SIGNATURES.get(kind), -1
        if kind in STEADY:
            found = 0 if size - read_to > OTHER_SHARE * size else -1
        elif signature is not None and size - read_to > MISSING_SHARE * size:
            with path.open("rb") as file:
                file.seek(read_to)
                found = file.read(_BEHIND_BYTES).find(signature)
        if found >= 0:
            share = (size - read_to - found) / size
            self.beyond += end * share / (1 - share)
            self.lines.append(
                f"{share:.0%} of the file lie behind its end, and are not read: it seems to be "
                "several files in one"
            )
