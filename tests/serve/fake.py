"""A library without an engine: known answers, and errors where the page uses it wrongly."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dreamprvr.search.conditions import _meeting
from dreamprvr.search.examples import read_picture
from dreamprvr.search.queries import Query
from dreamprvr.search.results import Curve, Hit, LibraryVideo, Moment, SearchResult
from dreamprvr.serve.keeper import Keeper


class FakeLibrary:
    """Answers with every video, in the order given; the first scores 0.9, the next 0.8, ...

    The curve of a video has its peak at three fifths of its duration, and a lower one at a fifth.

    Args:
        videos: what it holds.
        registers: of every hit; () is a library without a trained model.
        delay: seconds a search takes.
    """

    def __init__(
        self, videos: Sequence[LibraryVideo], registers: tuple[float, ...] = (0.42, -0.1, 0.07),
        delay: float = 0.0,
    ) -> None:  # fmt: skip
        self.held = list(videos)
        self.registers = registers
        self.delay = delay
        self.calls: list[dict[str, Any]] = []
        self.is_closed = False
        self.newer: FakeLibrary | None = None
        self.version = 0
        self._inside = threading.Lock()

    def search(
        self, text: str | None, k: int = 10, where: Mapping[str, Any] | None = None,
        moments: int = 3, threshold: float | None = None, *, image: bytes | None = None,
        without: str | None = None, then: str | None = None,
    ) -> SearchResult:  # fmt: skip
        assert self._inside.acquire(blocking=False), "two searches at once"
        try:
            time.sleep(self.delay)
            call = {"text": text, "k": k, "where": where, "threshold": threshold}
            call |= {"image": image, "without": without, "then": then}
            self.calls.append(call)
            if image is not None:
                read_picture(image)  # refuses other files
            query = Query(text, image=image, without=without, then=then).shown
            videos = self.videos(where)
            hits = [self._hit(rank, video) for rank, video in enumerate(videos, start=1)]
            kept = [hit for hit in hits if threshold is None or hit.score >= threshold]
            return SearchResult(query, tuple(kept[:k]), self.delay, len(videos), len(videos))
        finally:
            self._inside.release()

    def video(self, video_id: str) -> LibraryVideo | None:
        return next((video for video in self.held if video.video_id == video_id), None)

    def videos(self, where: Mapping[str, Any] | None = None) -> list[LibraryVideo]:
        def passes(video: LibraryVideo) -> bool:
            for column, wanted in (where or {}).items():
                values = [str(video.metadata[column])] if column in video.metadata else []
                if column == "length":
                    values = [str(video.duration)]
                if not _meeting(column, wanted, values):
                    return False
            return True

        return [video for video in self.held if passes(video)]

    def columns(self) -> dict[str, list[str]]:
        names = sorted({name for video in self.held for name in video.metadata} - {"title"})
        return {
            name: sorted({str(v.metadata[name]) for v in self.held if name in v.metadata})
            for name in names
        }

    def prepare(self) -> None:
        pass

    def renewed(self) -> "FakeLibrary | None":
        newer, self.newer = self.newer, None
        if newer is not None:
            newer.version = self.version + 1
        return newer

    def close(self) -> None:
        self.is_closed = True

    def _hit(self, rank: int, video: LibraryVideo) -> Hit:
        duration = video.duration
        starts = np.arange(0, duration, max(duration / 200, 0.1))
        ends = np.append(starts[1:], duration)
        middles, width = (starts + ends) / 2, duration / 15
        scores = sum(
            height * np.exp(-(((middles - place * duration) / width) ** 2) / 2)
            for height, place in ((1.0, 0.6), (0.55, 0.2))
        )
        score = round(1.0 - rank / 10, 6)
        curve = Curve(tuple(starts), tuple(ends), tuple(score * scores))
        moments = tuple(
            Moment(
                round(place * duration - width, 3),
                round(place * duration + width, 3),
                place * duration,
                score * height,
            )
            for height, place in ((1.0, 0.6), (0.55, 0.2))
        )
        return Hit(rank, video, score, moments, curve, self.registers)


def keeper_of(library: FakeLibrary, folder: Path) -> Keeper:
    return Keeper(folder, lambda path: library)
