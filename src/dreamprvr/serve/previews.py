"""Copies of videos that a browser cannot play, in a form that it can."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dreamprvr.errors import UserError
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import SourceFile, probe
from dreamprvr.serve.jobs import Jobs
from dreamprvr.serve.transcode import copy_streams, transcode

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

    def path(self, source: SourceFile) -> Path:
        """Where a video's preview lies, or would lie."""
        parts = ("preview", source.path, source.size, source.mtime_ns, _LONGEST)
        return self.cache.path(parts, "mp4")

    def find(self, source: SourceFile) -> Path | None:
        """A video's preview, if it has been made."""
        return self.cache.find(self.path(source))

    def state(self, source: SourceFile) -> dict[str, Any]:
        """`{"state": "needless" | "absent" | "working" | "ready" | "failed", "done", "message"}`.

        Raises:
            Refusal: 415, the file is no video.
        """
        if probe(source).mime is not None:
            return {"state": "needless", "done": 1.0, "message": ""}
        if self.find(source) is not None:
            return {"state": "ready", "done": 1.0, "message": ""}
        job = self.jobs.get(self.path(source).name)
        if job is None:
            return {"state": "absent", "done": 0.0, "message": ""}
        return {"state": job.state, "done": job.done, "message": job.message}

    def start(self, source: SourceFile) -> dict[str, Any]:
        """Begin to make a preview, unless there is one or none is needed; then as `state`.

        Raises:
            Refusal: 415; 503, too many are waiting.
        """
        if self.state(source)["state"] in ("absent", "failed"):
            path = self.path(source)
            self.jobs.start(path.name, lambda report: self._make(source, path, report))
        return self.state(source)

    def _make(self, source: SourceFile, path: Path, report: Callable[[float], None]) -> None:
        def write(partial: Path) -> None:
            if probe(source).copies:
                with suppress(UserError):  # packets that an mp4 does not take
                    copy_streams(source.path, partial, report)
                    return
            transcode(source.path, partial, 0.0, None, _LONGEST, report)

        self.cache.make(path, write)
