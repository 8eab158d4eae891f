"""Stills, previews and clips of videos, which are made on request and kept in the cache."""

from contextlib import suppress
from pathlib import Path

from PIL import Image

from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import NotPlayable, SourceFile, probe, readable
from dreamprvr.serve.schema import PreviewState
from dreamprvr.serve.transcode import copy_streams, fitted, transcode
from dreamprvr.serve.workers import Jobs, Report
from dreamprvr.video.reader import VideoReader

# Raise this whenever the same file would give another still, preview or clip than before, also
# because `dreamprvr.video` reads it better: files in the cache of another version are not used.
VERSION = 3
# pixels of the longer side, at most
_STILL = 480
_PREVIEW = 854  # 480p
_CLIP = 1920


class Media:
    """Makes files from videos, and keeps them.

    Args:
        cache: folder in which all of it is kept.
    """

    def __init__(self, cache: CacheFolder) -> None:
        self.cache = cache
        self.jobs = Jobs(waiting=8)

    def close(self) -> None:
        """Stop what is being made."""
        self.jobs.close()

    def still(self, source: SourceFile, second: float) -> Path:
        """Make a JPEG of what is on the screen at a second.

        Args:
            source: the video.
            second: second as a player shows it, in [0, duration]; rounded to tenths.

        Raises:
            NotPlayable: the video cannot be decoded.
        """
        tenth = round(second * 10)

        def write(partial: Path) -> None:
            with readable(source.path):
                shown = next(VideoReader(source.path).read(tenth / 10))
                pixels = shown.scaled(*fitted(shown, _STILL))
            Image.fromarray(pixels).save(partial, "JPEG", quality=82)

        return self.cache.make(self._path("still", "jpg", source, tenth), write)

    def clip(self, source: SourceFile, start: float, end: float) -> Path:
        """Make an mp4 of [start, end) of a video with its sound.

        It is encoded again rather than copied, as a copy could begin at a keyframe only: seconds
        early, or with a frozen picture.

        Args:
            source: the video.
            start: second as a player shows it.
            end: the same.

        Raises:
            NotPlayable: the video cannot be decoded or has nothing there.
        """
        path = self._path("clip", "mp4", source, f"{start:.3f}", f"{end:.3f}")
        report = self.jobs.check
        return self.cache.make(
            path, lambda partial: transcode(source.path, partial, start, end, _CLIP, report)
        )

    def preview(self, source: SourceFile, force: bool = False) -> Path | None:
        """Return a video's preview if it has been made; for the arguments see `preview_state`."""
        return self.cache.find(self._path("preview", "mp4", source, force))

    def preview_state(self, source: SourceFile, force: bool = False) -> PreviewState:
        """Return how far a video's preview is.

        Args:
            source: the video.
            force: the browser at hand could not play what others can, so that a preview is needed
                in any case, and its streams are encoded again.

        Raises:
            NotPlayable: the file is no video.
        """
        if not force and probe(source).mime is not None:
            return PreviewState(state="needless")
        if self.preview(source, force) is not None:
            return PreviewState(state="ready")
        job = self.jobs.get(self._path("preview", "mp4", source, force).name)
        return job or PreviewState(state="absent", done=0.0)

    def start_preview(self, source: SourceFile, force: bool = False) -> PreviewState:
        """Begin to make a preview if one is needed and missing, and return its state.

        Where only the container is in the way, the streams are copied as they are (seconds for an
        hour of video); else the video is encoded again, at 480p.

        Raises:
            NotPlayable: the file is no video.
            HTTPException: 503, too many previews are waiting.
        """
        if self.preview_state(source, force).state in ("absent", "failed"):
            path = self._path("preview", "mp4", source, force)
            copies = not force and probe(source).copies

            def make(report: Report) -> None:
                self.cache.make(path, lambda partial: write(partial, report))

            def write(partial: Path, report: Report) -> None:
                if copies:
                    with suppress(NotPlayable):  # packets that an mp4 does not take
                        copy_streams(source.path, partial, report)
                        return
                transcode(source.path, partial, 0.0, None, _PREVIEW, report)

            self.jobs.start(path.name, make)
        return self.preview_state(source, force)

    def _path(self, kind: str, ending: str, source: SourceFile, *details: object) -> Path:
        """Return the path of the file of this kind for this version of a video."""
        parts = (kind, VERSION, source.path, source.size, source.mtime_ns, *details)
        return self.cache.path(parts, ending)
