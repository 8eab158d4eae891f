"""The bar: videos, seconds of video a second, time left."""

import time
from contextlib import suppress
from types import TracebackType

from tqdm import tqdm

from dreamprvr.extraction.find_videos import FoundVideo

FORMAT = "{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]"


class Progress:
    """Counts in bytes of the files: their lengths are not known before they are read.

    Args:
        videos: to extract.
        show: False never shows a bar; None only on a terminal.
    """

    def __init__(self, videos: list[FoundVideo], show: bool | None = None) -> None:
        self._sizes = {video.video_id: _size(video) for video in videos}
        self._total, self._finished, self._done_bytes = len(videos), 0, 0
        self._seconds, self._began = 0.0, time.monotonic()
        disable = None if show is None else not show
        self._bar = tqdm(
            total=sum(self._sizes.values()), bar_format=FORMAT, disable=disable, mininterval=0.5
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def within(self, video: FoundVideo, seconds: float, expected: float | None) -> None:
        """A video has been read until a second; the header says that it ends at `expected`."""
        share = min(1.0, seconds / expected) if expected and expected > 0 else 0.0
        self._show(self._done_bytes + round(share * self._sizes[video.video_id]), seconds)

    def finished(self, video: FoundVideo, seconds: float) -> None:
        """A video of so many seconds is done; 0 if it failed."""
        self._finished += 1
        self._seconds += seconds
        self._done_bytes += self._sizes[video.video_id]
        self._show(self._done_bytes, 0.0)

    def _show(self, done: int, seconds: float) -> None:
        rate = (self._seconds + seconds) / max(time.monotonic() - self._began, 1e-3)
        text = f"{self._finished:,}/{self._total:,} videos, {rate:.1f} s of video a second"
        self._bar.set_description_str(text, refresh=False)
        self._bar.update(max(0, done - self._bar.n))


def _size(video: FoundVideo) -> int:
    with suppress(OSError):
        return max(1, video.path.stat().st_size)
    return 1
