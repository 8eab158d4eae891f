"""Extract videos to a feature file, going on where an earlier run ended."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.progress import ProgressBar
from dreamprvr.core.text import one_line, plural
from dreamprvr.extraction.encoder import Encoder
from dreamprvr.extraction.feature_file import (
    LARGEST_BATCH,
    ExtractionSettings,
    VideoFeatures,
    VideoRecord,
)
from dreamprvr.extraction.find_videos import FoundVideo, FoundVideos
from dreamprvr.extraction.output import FeatureOutput, Stored
from dreamprvr.extraction.plan import Plan, make_plan
from dreamprvr.extraction.windows import ReadAhead, WindowRead

BATCH_BYTES = 256 * 2**20  # bytes of pictures in a batch, above which it has fewer windows
BAR = "{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]"
RENEWING = 10  # with `joined`, work before a renewal, as a multiple of the time of a renewal


@dataclass
class Summary:
    """The result of an extraction, as lines for the user.

    Args:
        output: path of the feature file.
        plan: the videos that were kept, renamed and dropped.
        dim: numbers in a row.
        left_out: a line on files in folders that are not videos, or "".
        failures: files without a result, each with the reason.
        warnings: extracted files with something odd, each with a description.
        extracted: number of videos that were read in this run.
        video_seconds: length of these videos.
        elapsed: seconds that the run took.
    """

    output: Path
    plan: Plan
    dim: int
    left_out: str = ""
    failures: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[tuple[Path, str]] = field(default_factory=list)
    extracted: int = 0
    video_seconds: float = 0.0
    elapsed: float = 0.0

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 1 if a file failed, else 0."""
        return 1 if self.failures else 0

    def lines(self) -> list[str]:
        """Return a line for each file with a warning or failure, and then the totals."""
        lines = [f"{one_line(path)}: {text}" for path, text in self.warnings]
        lines += [f"{one_line(path)}: failed: {text}" for path, text in self.failures]
        plan = self.plan
        if plan.unnamed:
            lines.append(
                f"{plural(plan.unnamed, 'other video')} of {self.output} kept; --prune drops them"
            )
        if self.left_out:
            lines.append(self.left_out)
        if plan.dropped and not plan.kept:
            lines.append(
                f"nothing that was named could be extracted, so --prune dropped nothing: "
                f"{plural(plan.dropped, 'video')} of {self.output} kept"
            )
        total = f"{plural(self.extracted, 'video')} extracted"
        if self.extracted:
            total += f" ({length(self.video_seconds)} of video in {length(self.elapsed)})"
        counts = {
            "unchanged": plan.unchanged, "renamed": plan.renamed,
            "dropped": plan.dropped if plan.kept else 0, "kept unseen": plan.unseen,
        }  # fmt: skip
        parts = [total, *(f"{count:,} {name}" for name, count in counts.items() if count)]
        if self.failures:
            parts.append(f"{plural(len(self.failures), 'file')} failed")
        there = f"; features are in {self.output} (rows of {self.dim:,} numbers)"
        there = there if plan.kept or plan.dropped else ""
        return [*lines, ", ".join(parts) + there]


def length(seconds: float) -> str:
    """Write seconds as "12.3 s", or as h:mm:ss from a minute on."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def settings_of(
    encoder: Encoder,
    fps: float | None = None,
    window: float | None = None,
    stride: float | None = None,
) -> ExtractionSettings:
    """Return the encoder's own settings, except for those that are given.

    Args:
        encoder: the encoder of the videos.
        fps: samples in a second, or None.
        window: seconds that a row covers, or None.
        stride: seconds from a row to the next, or None for the window, if that is given.

    Raises:
        UserError: a number is out of its limits, or a window may be too short for a sample.
    """
    if stride is None and window is not None:
        stride = window
    settings = ExtractionSettings(
        encoder.name, encoder.fingerprint, encoder.video_dim,
        encoder.fps if fps is None else fps, encoder.window if window is None else window,
        encoder.stride if stride is None else stride,
    )  # fmt: skip
    if settings.fps * settings.window < 1 - 1e-6:
        raise UserError(
            f"at {settings.fps} pictures a second, a window of {settings.window} s may get none: "
            f"give --fps {1 / settings.window:.4g} or more, or a longer --window"
        )
    return settings


def extract(
    found: FoundVideos,
    encoder: Encoder,
    settings: ExtractionSettings,
    output: Path,
    batch_size: int,
    prune: bool = False,
    show_progress: bool = True,
    report: "Report | None" = None,
    joined: Callable[[], None] | None = None,
) -> Summary:
    """Extract the videos that are not extracted yet. A broken file is reported and stops nothing.

    Whatever ends the run early (Ctrl-C, a full disk), finished videos are kept: in the output or,
    if the process was killed, beside it for the next run.

    Args:
        found: the videos to extract.
        encoder: the encoder that makes the rows.
        settings: how to cut the videos, see `settings_of`.
        output: path of the feature file.
        batch_size: number of windows in a call of the encoder; they may be of several videos.
        prune: drop videos from the output that were not found, unless nothing would be left.
        show_progress: whether to show how far it is, see `ProgressBar`.
        report: function that is told the progress in place of a bar, or None.
        joined: function called whenever the output has been renewed on the way, so that its videos
            can be used before all are extracted; None renews the output at the end alone. It is
            renewed after the first video, and then whenever the work since the last time took ten
            times as long as renewing it and calling the function.

    Raises:
        UserError: see `FeatureOutput`; or the disk is full, or the encoder is broken.
    """
    check_range("--batch_size", batch_size, 1, LARGEST_BATCH, whole=True)
    began = time.monotonic()
    with FeatureOutput(output, settings) as store:
        unseen = [path for path, _ in found.unseen]
        plan = make_plan(found.videos, store.stored(), prune, unseen)
        left_out, unread = found.left_out_text(), list(found.unseen)
        summary = Summary(output, plan, settings.video_dim, left_out, unread)
        run = _Run(encoder, store, summary, batch_size, joined)
        try:
            run.extract(show_progress and bool(plan.pending), report)
        finally:
            summary.elapsed = time.monotonic() - began
            parts = any(item.file != output for item in plan.kept.values())
            if plan.changed or parts:
                store.join(plan.kept)
    return summary


class _Run:
    """One pass over the pending videos."""

    def __init__(
        self, encoder: Encoder, store: FeatureOutput, summary: Summary, batch_size: int,
        joined: Callable[[], None] | None,
    ) -> None:  # fmt: skip
        self.store, self.summary, self.plan = store, summary, summary.plan
        self.joined = joined
        self.renewed, self.cost = time.monotonic(), 0.0  # when and in how many seconds
        self.batcher = Batcher(encoder, batch_size)
        self.count = encoder.frames_per_window
        self.waiting: list[VideoRecord] = []  # videos with rows in a batch that is not full

    def extract(self, show_progress: bool, report: "Report | None") -> None:
        """Read, encode and keep every pending video."""
        pending = self.plan.pending
        with (
            Progress(pending, show_progress, report) as progress,
            ReadAhead(pending, self.store.settings, self.count) as events,
        ):
            for event in events:
                if isinstance(event, VideoRecord):
                    self.waiting.append(event)
                    progress.done(event.video_id, event.duration)
                elif isinstance(event, WindowRead):
                    self.batcher.add(event.video.video_id, event.window.frames)
                    progress.within(event.video.video_id, event.window.end, event.expected_end)
                else:
                    self.batcher.forget(event.video.video_id)
                    self.summary.failures.append((event.video.path, event.reason))
                    progress.done(event.video.video_id, 0.0)
                self._keep_complete()
            self.batcher.flush()
            self._keep_complete()

    def _keep_complete(self) -> None:
        while self.waiting and self.batcher.is_complete(self.waiting[0].video_id):
            self._keep(self.waiting.pop(0))

    def _keep(self, record: VideoRecord) -> None:
        rows = self.batcher.take(record.video_id)
        if not np.isfinite(rows).all():
            reason = "the encoder gave NaN or infinite values"
            self.summary.failures.append((record.path, reason))
            return
        video = VideoFeatures(**vars(record), rows=rows)
        self.plan.kept[record.video_id] = self.store.add(video)
        self.summary.extracted += 1
        self.summary.video_seconds += record.duration
        if record.warning:
            self.summary.warnings.append((record.path, record.warning))
        since = time.monotonic() - self.renewed
        if self.joined is not None and since >= RENEWING * self.cost:
            self._renew_output(self.joined)

    def _renew_output(self, joined: Callable[[], None]) -> None:
        begin = time.monotonic()
        output, kept = self.store.path, self.plan.kept
        self.store.join(kept)
        for name, item in kept.items():  # the parts are gone
            kept[name] = Stored(output, replace(item.record, video_id=name))
        self.plan.changed = False
        joined()
        self.renewed = time.monotonic()
        self.cost = self.renewed - begin


class Batcher:
    """Collects windows until a batch is full, and rows until a video is complete.

    Args:
        encoder: the encoder of the windows.
        batch_size: largest number of windows in a call of the encoder.
    """

    def __init__(self, encoder: Encoder, batch_size: int) -> None:
        self._encoder, self._batch_size = encoder, batch_size
        self._waiting: list[tuple[str, np.ndarray]] = []
        self._bytes = 0
        self._rows: dict[str, list[np.ndarray]] = {}

    def add(self, video_id: str, frames: np.ndarray) -> None:
        """Take the next window of a video, frames (n, H, W, 3)."""
        if self._waiting and self._bytes + frames.nbytes > BATCH_BYTES:
            self.flush()
        self._waiting.append((video_id, frames))
        self._bytes += frames.nbytes
        if len(self._waiting) >= self._batch_size:
            self.flush()

    def flush(self) -> None:
        """Encode the windows that wait.

        Raises:
            UserError: the batch does not fit on the device, or the encoder gave rows of a wrong
                shape.
        """
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        try:
            encoded = self._encoder.encode_windows([frames for _, frames in waiting])
        except torch.OutOfMemoryError:
            raise UserError(
                f"a batch of {len(waiting)} windows does not fit on the device: give a smaller "
                "--batch_size"
            ) from None
        wanted = (len(waiting), self._encoder.video_dim)
        if tuple(encoded.shape) != wanted:
            raise UserError(
                f"encoder {self._encoder.name} gave rows of shape {tuple(encoded.shape)}, not "
                f"{wanted}: it is broken"
            )
        # each row is copied, since a view would keep the whole batch
        for (video_id, _), row in zip(waiting, encoded.float().numpy(), strict=True):
            self._rows.setdefault(video_id, []).append(row.copy())

    def is_complete(self, video_id: str) -> bool:
        """Check that all windows of a video that were added are encoded."""
        return all(waiting != video_id for waiting, _ in self._waiting)

    def take(self, video_id: str) -> np.ndarray:
        """Return the rows (N, F) of a complete video, and forget the video."""
        return np.stack(self._rows.pop(video_id))

    def forget(self, video_id: str) -> None:
        """Drop the windows and rows of a video that failed."""
        kept = [item for item in self._waiting if item[0] != video_id]
        self._bytes = sum(frames.nbytes for _, frames in kept)
        self._waiting = kept
        self._rows.pop(video_id, None)


class Progress:
    """Progress of the videos, as a bar or for a function: seconds of video in a second, time left.

    It counts bytes of the files, since their lengths in seconds are not known before they are read.

    Args:
        videos: the videos to extract.
        show: False for no bar.
        report: function that is called with this object in place of a bar; None for the bar.

    Attributes:
        total: number of the videos.
        finished: number of those that are done.
        share: part of the bytes that is done, from 0 to 1.
        text: numbers of videos, and speed.
        left: seconds that the rest will take if it goes on like that; 0 if not known yet.
    """

    def __init__(
        self, videos: list[FoundVideo], show: bool = True, report: "Report | None" = None
    ) -> None:
        self._report = report
        self._sizes = {video.video_id: _size(video) for video in videos}
        self._bytes, self._done_bytes = sum(self._sizes.values()), 0
        self._seconds, self._began = 0.0, time.monotonic()
        self.total, self.finished = len(videos), 0
        self.share, self.left, self.text = 0.0, 0.0, ""
        disable = report is not None or not show
        self._bar = ProgressBar(total=self._bytes, bar_format=BAR, disable=disable, mininterval=0.5)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def within(self, video_id: str, seconds: float, expected: float | None) -> None:
        """Show that a video has been read up to a second.

        Args:
            video_id: id of the video.
            seconds: the second up to which it has been read.
            expected: second at which it ends by its header; None if it does not say.
        """
        share = min(1.0, seconds / expected) if expected and expected > 0 else 0.0
        self._show(self._done_bytes + round(share * self._sizes[video_id]), seconds)

    def done(self, video_id: str, seconds: float) -> None:
        """Show that a video is done.

        Args:
            video_id: id of the video.
            seconds: its length; 0 if it failed.
        """
        self.finished += 1
        self._seconds += seconds
        self._done_bytes += self._sizes[video_id]
        self._show(self._done_bytes, 0.0)

    def _show(self, done: int, seconds: float) -> None:
        elapsed = max(time.monotonic() - self._began, 1e-3)
        rate = (self._seconds + seconds) / elapsed
        self.text = f"{self.finished:,}/{self.total:,} videos, {rate:.1f} s of video a second"
        self.share = done / self._bytes
        self.left = elapsed * (self._bytes - done) / done if done else 0.0
        if self._report is not None:
            self._report(self)
        self._bar.set_description_str(self.text, refresh=False)
        self._bar.update(max(0, done - self._bar.n))


Report = Callable[[Progress], None]


def _size(video: FoundVideo) -> int:
    with suppress(OSError):
        return max(1, video.path.stat().st_size)
    return 1
