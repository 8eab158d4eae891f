"""Copies of videos that a browser cannot play, in a form that it can."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import MADE, SourceFile, probe
from dreamprvr.serve.jobs import Jobs
from dreamprvr.serve.remux import copy_streams
from dreamprvr.serve.transcode import transcode

_LONGEST = 854  # pixels: 480p


class Previews:
    """Made on demand, in the background, once.

    Where only the container is in the way, the streams are copied as they are (seconds an hour
    of video); else the video is encoded again, at 480p.

    Args:
        cache: where they are kept.
        jobs: makes them.
    """

    def __init__(self, cache: CacheFolder, jobs: Jobs) -> None:
        self.cache = cache
        self.jobs = jobs

    def path(self, source: SourceFile, force: bool = False) -> Path:
        """Where a video's preview lies, or would lie."""
        parts = ("preview", source.path, source.size, source.mtime_ns, MADE, _LONGEST, force)
        return self.cache.path(parts, "mp4")

    def find(self, source: SourceFile, force: bool = False) -> Path | None:
        """A video's preview, if it has been made."""
        return self.cache.find(self.path(source, force))

    def state(self, source: SourceFile, force: bool = False) -> dict[str, Any]:
        """`{"state": "needless" | "absent" | "working" | "ready" | "failed", "done", "message"}`.

        Args:
            source: the video.
            force: whether the browser at hand could not play what the others can: then a preview
                is always needed, and always encoded.

        Raises:
            Refusal: 415, the file is no video.
        """
        if not force and probe(source).mime is not None:
            return {"state": "needless", "done": 1.0, "message": ""}
        if self.find(source, force) is not None:
            return {"state": "ready", "done": 1.0, "message": ""}
        job = self.jobs.get(self.path(source, force).name)
        if job is None:
            return {"state": "absent", "done": 0.0, "message": ""}
        return {"state": job.state, "done": job.done, "message": job.message}

    def start(self, source: SourceFile, force: bool = False) -> dict[str, Any]:
        """Begin to make a preview, unless there is one or none is needed; then as `state`.

        Raises:
            Refusal: 415; 503, too many are waiting.
        """
        if self.state(source, force)["state"] in ("absent", "failed"):
            path = self.path(source, force)
            copies = not force and probe(source).copies
            self.jobs.start(path.name, lambda report: self._make(source, path, copies, report))
        return self.state(source, force)

    def _make(
        self, source: SourceFile, path: Path, copies: bool, report: Callable[[float], None]
    ) -> None:
        def write(partial: Path) -> None:
            if copies:
                with suppress(UserError):  # packets that an mp4 does not take
                    copy_streams(source.path, partial, report)
                    return
            transcode(source.path, partial, 0.0, None, _LONGEST, report)

        self.cache.make(path, write)
