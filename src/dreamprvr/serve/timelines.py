"""Writes chosen moments for editing programs: a table, an EDL (CMX 3600) and FCPXML, by timecode.

A timeline has one frame rate. Seconds become frames of that rate, counted from the beginning of
each file, which has second 0 and timecode 0; in the timeline the moments follow each other.
"""

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import av

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.exports import harmless
from dreamprvr.video.source import VideoError, open_video

_NO_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_COLUMNS = (
    "moment", "video", "title", "file", "start_timecode", "end_timecode", "start_seconds",
    "end_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class FrameRate:
    """A frame rate, and how its timecode counts.

    Args:
        exact: frames in a second.
        nominal: number of frames that a second of timecode has.
        drop: whether timecode leaves out numbers, so that it keeps step with the clock: the first
            of each minute, but not of each tenth minute. No frame is lost by that.
    """

    exact: Fraction
    nominal: int
    drop: bool = False

    def frame(self, second: float) -> int:
        """Return the number of the frame that begins nearest to a second."""
        return round(Fraction(second) * self.exact)

    def timecode(self, frame: int) -> str:
        """Write the number of a frame as hh:mm:ss:ff, of drop-frame timecode as hh:mm:ss;ff."""
        if self.drop:
            minute = 60 * self.nominal - self._dropped
            tens, rest = divmod(frame, 10 * minute + self._dropped)
            frame += self._dropped * (9 * tens + max(rest - self._dropped, 0) // minute)
        seconds, rest = divmod(frame, self.nominal)
        hours, minutes = seconds // 3600 % 24, seconds // 60 % 60
        sign = ";" if self.drop else ":"
        return f"{hours:02d}:{minutes:02d}:{seconds % 60:02d}{sign}{rest:02d}"

    @property
    def hour(self) -> int:
        """Return the frame whose timecode is one hour."""
        return 3600 * self.nominal - 54 * self._dropped

    @property
    def _dropped(self) -> int:
        """Return how many numbers are left out at once: 2 of 30 frames, 4 of 60."""
        return self.nominal // 15 if self.drop else 0

    def duration(self, frames: int) -> str:
        """Write a number of frames as a fraction of seconds, as FCPXML has them."""
        return f"{frames * self.exact.denominator}/{self.exact.numerator}s"


RATES = {
    "23.976": FrameRate(Fraction(24000, 1001), 24),
    "24": FrameRate(Fraction(24), 24),
    "25": FrameRate(Fraction(25), 25),
    "29.97": FrameRate(Fraction(30000, 1001), 30, drop=True),
    "30": FrameRate(Fraction(30), 30),
    "50": FrameRate(Fraction(50), 50),
    "59.94": FrameRate(Fraction(60000, 1001), 60, drop=True),
    "60": FrameRate(Fraction(60), 60),
}


@dataclass(frozen=True)
class Cut:
    """A moment to hand over.

    Args:
        video: the video.
        start: first second.
        end: last second.
        has_sound: whether the video has sound.
    """

    video: LibraryVideo
    start: float
    end: float
    has_sound: bool = False

    @property
    def file(self) -> str:
        """Return the name of the video's file, without its folder; the id if it is unknown."""
        if (path := self.video.path) is None:
            return self.video.video_id
        return os.fsencode(path.name).decode(errors="replace")

    def frames(self, rate: FrameRate) -> tuple[int, int]:
        """Return the first frame, and the first one after the moment; it has at least one."""
        first = rate.frame(self.start)
        return first, max(rate.frame(self.end), first + 1)


def has_sound(path: Path | None) -> bool:
    """Look whether a video file has sound; one that is missing or no video has none.

    Args:
        path: path of the file; None if it is unknown.
    """
    try:
        return path is not None and path.is_file() and _has_sound(path, path.stat().st_mtime_ns)
    except (VideoError, av.FFmpegError, OSError):
        return False


@lru_cache(maxsize=1024)
def _has_sound(path: Path, changed: int) -> bool:
    with open_video(path) as (container, _):
        return bool(container.streams.audio)


def cuts_csv(cuts: Sequence[Cut], rate: FrameRate) -> bytes:
    """Write a table with one row for each moment, in UTF-8 with a byte order mark."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for number, cut in enumerate(cuts, start=1):
        first, last = cut.frames(rate)
        writer.writerow([
            number, harmless(cut.video.video_id), harmless(cut.video.title), harmless(cut.file),
            rate.timecode(first), rate.timecode(last), f"{cut.start:.3f}", f"{cut.end:.3f}",
        ])  # fmt: skip
    return text.getvalue().encode("utf-8-sig", errors="replace")


def cuts_edl(cuts: Sequence[Cut], rate: FrameRate) -> bytes:
    """Write an edit decision list; its timeline begins at one hour."""
    lines = ["TITLE: DreamPRVR", f"FCM: {'DROP FRAME' if rate.drop else 'NON-DROP FRAME'}", ""]
    at = rate.hour
    for number, cut in enumerate(cuts, start=1):
        first, last = cut.frames(rate)
        codes = " ".join(map(rate.timecode, (first, last, at, at + last - first)))
        lines += [
            f"{number:03d}  AX       {'B' if cut.has_sound else 'V'}     C        {codes}",
            f"* FROM CLIP NAME: {_line(cut.file)}", f"* COMMENT: {_line(cut.video.title)}", "",
        ]  # fmt: skip
        at += last - first
    return "\n".join(lines).encode(errors="replace")


def cuts_fcpxml(cuts: Sequence[Cut], rate: FrameRate) -> bytes:
    """Write a project for Final Cut Pro, and what else reads FCPXML.

    Files are named without their folders, so the program asks where they are.
    """
    tree = ElementTree.Element("fcpxml", version="1.9")
    resources = ElementTree.SubElement(tree, "resources")
    ElementTree.SubElement(
        resources, "format", id="r1", frameDuration=rate.duration(1), width="1920", height="1080"
    )
    event = ElementTree.SubElement(ElementTree.SubElement(tree, "library"), "event", name="Moments")
    project = ElementTree.SubElement(event, "project", name="DreamPRVR")
    spans = [cut.frames(rate) for cut in cuts]
    code = "DF" if rate.drop else "NDF"
    sequence = ElementTree.SubElement(
        project, "sequence", format="r1", tcStart="0s", tcFormat=code,
        duration=rate.duration(sum(last - first for first, last in spans)),
    )  # fmt: skip
    spine = ElementTree.SubElement(sequence, "spine")
    assets: dict[str, str] = {}
    at = 0
    for cut, (first, last) in zip(cuts, spans, strict=True):
        if cut.video.video_id not in assets:
            assets[cut.video.video_id] = f"r{len(assets) + 2}"
            _add_asset(resources, assets[cut.video.video_id], cut, rate, last)
        ElementTree.SubElement(
            spine, "asset-clip", ref=assets[cut.video.video_id], name=_line(cut.video.title),
            offset=rate.duration(at), start=rate.duration(first),
            duration=rate.duration(last - first), tcFormat=code,
        )  # fmt: skip
        at += last - first
    ElementTree.indent(tree)
    text = ElementTree.tostring(tree, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{text}\n'.encode()


def _add_asset(
    resources: ElementTree.Element, name: str, cut: Cut, rate: FrameRate, last: int
) -> None:
    frames = max(rate.frame(cut.video.duration), last)
    asset = ElementTree.SubElement(
        resources, "asset", id=name, name=_line(cut.file), start="0s",
        duration=rate.duration(frames), hasVideo="1",
    )  # fmt: skip
    if cut.has_sound:
        asset.set("hasAudio", "1")
    path = cut.video.path
    source = cut.file.encode(errors="replace") if path is None else os.fsencode(path.name)
    ElementTree.SubElement(asset, "media-rep", kind="original-media", src=f"./{quote(source)}")


def _line(text: str) -> str:
    """Bring a text to one line of characters that XML may hold."""
    return " ".join(_NO_XML.sub("\ufffd", text).split())
