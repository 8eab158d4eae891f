"""Count and report the seconds of a video that should have pictures and have none."""

from heapq import heappop, heappush
from pathlib import Path

MISSING_SHARE = 0.02  # share of a file, or of its seconds, that may be missing unreported
STEADY = {"mpegts", "mpeg"}  # formats without pauses: every part of a file has pictures
OTHER_SHARE = 0.2  # share of such a file after the last picture that is another recording
# First bytes of formats of which libav reads only the first file if several were joined.
_SIGNATURES = {
    "flv": b"FLV\x01", "mov": b"ftyp", "matroska": b"\x1aE\xdf\xa3", "avi": b"AVI LIST",
    "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "gif": b"GIF8",
}  # fmt: skip
_BEHIND_BYTES = 2**24  # bytes that are searched for the next file
STANDSTILL = 10.0  # seconds without a new picture above which a pause is reported
LOST_SECONDS = 0.25  # seconds of lost pictures above which they are reported
_ROUNDING = 1e-4  # seconds
_SHOWN = 3  # places of a kind that a line names


class Losses:
    """Counts the seconds without pictures, and describes them.

    Args:
        frame_seconds: average time for which a picture is shown.
        steady: True if the format has no pauses, so that a second without a packet is lost.

    Attributes:
        within: seconds lost before the end of the last picture.
        beyond: seconds lost after it, or without a place among the others.
        lines: oddities of the video in words.
    """

    def __init__(self, frame_seconds: float, steady: bool) -> None:
        self.within = self.beyond = 0.0
        self.lines: list[str] = []
        self._still: list[tuple[float, float]] = []  # begin and length of each pause
        self._usual, self._shortest, self._steady = frame_seconds, float("inf"), steady
        self._expected: list[float] = []
        self._astray = 0.0  # seconds of `beyond` that are not an error of the header
        self._last = 0.0  # second of the last expected packet

    def expect(self, second: float) -> None:
        """Note that a packet should give a picture at a second."""
        heappush(self._expected, second)

    def astray(self, second: float, before: float) -> None:
        """Note a picture that is out of order.

        Args:
            second: second of the picture.
            before: second of the picture before it.
        """
        if second != before:
            self.beyond += self._usual
            self._astray += self._usual

    def seen(self, second: float, before: float | None) -> None:
        """Note a picture.

        Args:
            second: second of the picture.
            before: second of the picture before it; None for the first one.
        """
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
        """Note the second at which the last picture ends."""
        missed = self._missed(float("inf"), end)
        if missed is not None:
            rest = max(self._last - missed + self._usual, 0.0)
            self.beyond += rest
            self._astray += rest

    def _missed(self, second: float, before: float | None) -> float | None:
        """Return the second of the first packet that lies clearly between two pictures, or None."""
        usual = max(self._usual, 0.0 if self._shortest == float("inf") else self._shortest)
        missed = None
        while self._expected and self._expected[0] <= second + _ROUNDING:
            self._last = packet = heappop(self._expected)
            late = before is None or packet > before + 0.75 * usual
            if missed is None and late and packet < second - 0.75 * usual:
                missed = packet
        return missed

    def joined(self, seconds: list[float]) -> None:
        """Report the seconds at which the clock of the file jumped."""
        where = ", ".join(f"{second:.1f}" for second in seconds[:_SHOWN])
        more = f" and {len(seconds) - _SHOWN} more places" if len(seconds) > _SHOWN else ""
        self.lines.append(f"its clock jumps at {where} s{more}: the next picture follows the last")

    def cut_off(self, end: float, expected: float, seconds: float) -> None:
        """Count the end of a file that its header promises and that is missing.

        Args:
            end: second at which the last picture ends.
            expected: second at which the video ends by its header.
            seconds: number of seconds that are missing.
        """
        self.beyond += seconds
        self.lines.append(f"truncated: ends at {end:.1f} s, and its header says {expected:.1f} s")

    def say_missing(self, damaged: int) -> None:
        """Report seconds without pictures, and pauses.

        Args:
            damaged: number of packets that could not be read.
        """
        lost = self.within + self._astray
        if damaged:
            self.lines.append(
                f"damaged: {damaged} pieces could not be read, {lost:.1f} s have no pictures"
            )
        elif lost > LOST_SECONDS:
            self.lines.append(f"incomplete: {lost:.1f} s have no pictures")
        for begin, length in self._still[:_SHOWN]:
            self.lines.append(f"no new picture for {length:.1f} s, from {begin:.1f} s on")

    def look_behind(self, path: Path, kind: str, read_to: int, end: float) -> None:
        """Count a second recording in the file, after the one that was read.

        Args:
            path: path of the file.
            kind: name of its format.
            read_to: byte up to which it was read.
            end: second at which its last picture ends.
        """
        size, signature, place = path.stat().st_size, _SIGNATURES.get(kind), -1
        if kind in STEADY:
            place = 0 if size - read_to > OTHER_SHARE * size else -1
        elif signature is not None and size - read_to > MISSING_SHARE * size:
            with path.open("rb") as file:
                file.seek(read_to)
                place = file.read(_BEHIND_BYTES).find(signature)
        if place >= 0:
            share = (size - read_to - place) / size
            self.beyond += end * share / (1 - share)
            self.lines.append(
                f"{share:.0%} of the file lie behind its end, and are not read: it seems to be "
                "several files in one"
            )
