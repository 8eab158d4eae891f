"""Pieces of a video for browsers that cannot play its file: made where the player is, on demand.

A piece is a fragmented mp4 of its own with the times of the whole video, so that a player appends
pieces in any order (Media Source Extensions). Making the next piece goes on where the last one
ended, without a seek. Sound is cut at packets, which lie on one grid for the whole video, so
pieces that were made in different passes fit together.
"""

import math
import threading
import time
from pathlib import Path

import av

from dreamprvr.serve.containers import SourceFile, readable
from dreamprvr.serve.transcode import BLOCK, RATE, Cutter, Mp4, ticks
from dreamprvr.serve.workers import Check

SECONDS = 1.0  # length of a piece; nothing is seen before the first one is made
MIME = 'video/mp4; codecs="avc1.640028"'
MIME_WITH_SOUND = 'video/mp4; codecs="avc1.640028,mp4a.40.2"'
_LONGEST = 854  # pixels of the longer side: 480p
_QUALITY = {"preset": "superfast", "crf": "23", "bf": "0"}
# one fragment, whose times are those of the packets
_FRAGMENT = {
    "movflags": "empty_moov+default_base_moof+frag_discont", "use_editlist": "0",
    "avoid_negative_ts": "disabled",
}  # fmt: skip
_SLACK = 1.5  # seconds that the sound may lie behind the picture; so many pictures are held
_HELD = 4  # passes that wait for a request of their next piece
_IDLE = 30.0  # seconds after which a pass that waits is given up


def count(seconds: float) -> int:
    """Return the number of pieces of a video of that length."""
    return max(math.ceil(seconds / SECONDS - 1e-3), 1)


class Passes:
    """Makes pieces, and holds passes over videos that can go on with the next piece."""

    def __init__(self) -> None:
        self._held: list[_Pass] = []
        self._lock = threading.Lock()

    def write(self, source: SourceFile, number: int, target: Path, check: Check) -> None:
        """Write a piece.

        Args:
            source: the video.
            number: number of the piece, from 0.
            target: path of the piece; it is overwritten.
            check: called now and then; what it raises ends the work.

        Raises:
            NotPlayable: the video cannot be decoded, or ends before the piece.
        """
        with self._lock:
            found = next((one for one in self._held if one.goes_on(source, number)), None)
            if found is not None:
                self._held.remove(found)
        one = found or _Pass(source, number)
        try:
            one.write(target, check)
        except BaseException:
            one.cutter.close()
            raise
        with self._lock:
            self._held.append(one)
            dropped, self._held = self._held[:-_HELD], self._held[-_HELD:]
        for other in dropped:
            other.cutter.close()

    def close_idle(self, seconds: float = _IDLE) -> None:
        """Give up the passes that have waited for so many seconds."""
        now = time.monotonic()
        with self._lock:
            old = [one for one in self._held if now - one.since >= seconds]
            self._held = [one for one in self._held if one not in old]
        for one in old:
            one.cutter.close()


class _Pass:
    """One pass over a video, of which piece `number` is the next."""

    def __init__(self, source: SourceFile, number: int) -> None:
        self.source, self.number = source, number
        self.since = time.monotonic()
        self.cutter = Cutter(source.path, number * SECONDS, _LONGEST)

    def goes_on(self, source: SourceFile, number: int) -> bool:
        """Return whether the next piece is that of a video."""
        return (self.source, self.number) == (source, number) and not self.cutter.is_over

    def write(self, target: Path, check: Check) -> None:
        """Write the next piece."""
        begin, end = self.number * SECONDS, (self.number + 1) * SECONDS
        pictures = self.cutter.part(begin, end, _SLACK, check)
        reader = self.cutter.reader
        with (
            readable(reader.path),
            av.open(target, "w", format="mp4", container_options=_FRAGMENT) as container,
        ):
            mp4 = Mp4(container, self.cutter.size, reader.rate, reader.has_sound, _QUALITY)
            for picture in pictures:
                check()
                mp4.show(picture.frame, *ticks(picture.begin, picture.end))
            first, last = (math.floor(second * RATE / BLOCK) * BLOCK for second in (begin, end))
            if reader.has_sound:
                # packets overlap: the first and last ones need the sound around them
                sound = self.cutter.sound.take(first - 2 * BLOCK, last + BLOCK)
                mp4.sound(sound, first - 2 * BLOCK, range(first, last))
            mp4.finish()
        self.number += 1
        self.since = time.monotonic()
