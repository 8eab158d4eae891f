"""Stills, pieces and clips of videos, which are made on request and kept in the cache."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageOps

from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import NotPlayable, SourceFile, readable
from dreamprvr.serve.pieces import Passes
from dreamprvr.serve.transcode import fitted, transcode
from dreamprvr.serve.workers import Check
from dreamprvr.video.reader import VideoReader

# Raise this whenever the same file would give another still, piece or clip than before, also
# because `dreamprvr.video` reads it better: files in the cache of another version are not used.
VERSION = 6
# pixels of the longer side, at most
_STILL = 480
_CLIP = 1920
# width and height of a still on a sheet
_CELL = (240, 135)
# The first load of the page may take 60 kB, and the page itself takes 36 kB.
_SHEET_BYTES = 18_000
_SHEET_QUALITIES = (60, 45, 30, 20, 10, 5)


class Media:
    """Makes files from videos, and keeps them.

    The paths are known before the files are made; their names say which version of which video
    they are of.

    Args:
        cache: folder in which all of it is kept.
    """

    def __init__(self, cache: CacheFolder) -> None:
        self.cache = cache
        self.passes = Passes()

    def still_path(self, source: SourceFile, second: float) -> Path:
        """Return the path of a still; for the arguments see `still`."""
        return self._path("still", "jpg", source, round(second * 10))

    def still(self, source: SourceFile, second: float, check: Check) -> Path:
        """Make a JPEG of what is on the screen at a second.

        Args:
            source: the video.
            second: second as a player shows it, in [0, duration]; rounded to tenths.
            check: called once; what it raises ends the work.

        Raises:
            NotPlayable: the video cannot be decoded.
        """

        def write(partial: Path) -> None:
            check()
            with readable(source.path):
                shown = next(VideoReader(source.path).read(round(second * 10) / 10))
                pixels = shown.scaled(*fitted(shown, _STILL))
            Image.fromarray(pixels).save(partial, "JPEG", quality=82)

        return self.cache.make(self.still_path(source, second), write)

    def sheet_path(self, sources: Sequence[SourceFile | None]) -> Path:
        """Return the path of a sheet of stills; for the arguments see `sheet`."""
        versions = [(s.path, s.size, s.mtime_ns, s.seconds) if s else () for s in sources]
        return self.cache.path(("sheet", VERSION, versions), "avif")

    def sheet(self, sources: Sequence[SourceFile | None], check: Check) -> Path:
        """Make an AVIF of one still of each video, one below the other, each 240 x 135 pixels.

        The stills are those of a third of each video's duration. The quality is lowered until the
        file has at most 18 kB, so that the start page loads fast.

        Args:
            sources: the videos. None and a video that cannot be decoded leave their place
                transparent.
            check: called before each video; what it raises ends the work.
        """
        width, height = _CELL
        sheet = Image.new("RGBA", (width, height * len(sources)))
        for row, source in enumerate(sources):
            with suppress(NotPlayable):
                if source is not None:
                    still = Image.open(self.still(source, source.seconds / 3, check))
                    sheet.paste(ImageOps.fit(still, _CELL), (0, row * height))

        def write(partial: Path) -> None:
            for quality in _SHEET_QUALITIES:
                sheet.save(partial, "AVIF", quality=quality, speed=8)
                if partial.stat().st_size <= _SHEET_BYTES:
                    break

        return self.cache.make(self.sheet_path(sources), write)

    def clip_path(self, source: SourceFile, start: float, end: float) -> Path:
        """Return the path of a clip; for the arguments see `clip`."""
        return self._path("clip", "mp4", source, f"{start:.3f}", f"{end:.3f}")

    def clip(self, source: SourceFile, start: float, end: float, check: Check) -> Path:
        """Make an mp4 of [start, end) of a video with its sound.

        It is encoded again rather than copied, as a copy could begin at a keyframe only: seconds
        early, or with a frozen picture.

        Args:
            source: the video.
            start: second as a player shows it.
            end: the same.
            check: called now and then; what it raises ends the work.

        Raises:
            NotPlayable: the video cannot be decoded or has nothing there.
        """
        return self.cache.make(
            self.clip_path(source, start, end),
            lambda partial: transcode(source.path, partial, start, end, _CLIP, check),
        )

    def piece_path(self, source: SourceFile, number: int) -> Path:
        """Return the path of a piece; for the arguments see `piece`."""
        return self._path("piece", "mp4", source, number)

    def piece(self, source: SourceFile, number: int, check: Check) -> Path:
        """Make one of the pieces of which a browser plays a video whose file it cannot play.

        Args:
            source: the video.
            number: number of the piece, from 0.
            check: called now and then; what it raises ends the work.

        Raises:
            NotPlayable: the video cannot be decoded, or ends before the piece.
        """
        return self.cache.make(
            self.piece_path(source, number),
            lambda partial: self.passes.write(source, number, partial, check),
        )

    def _path(self, kind: str, ending: str, source: SourceFile, *details: object) -> Path:
        """Return the path of the file of this kind for this version of a video."""
        parts = (kind, VERSION, source.path, source.size, source.mtime_ns, *details)
        return self.cache.path(parts, ending)
