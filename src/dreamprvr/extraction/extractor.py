"""Videos -> a feature file, going on where an earlier run ended."""

import time
from pathlib import Path

import numpy as np

from dreamprvr.core.errors import UserError, check_range
from dreamprvr.extraction.batching import Batcher
from dreamprvr.extraction.encoder import Encoder
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoFeatures
from dreamprvr.extraction.find_videos import Found
from dreamprvr.extraction.plan import Plan, make_plan
from dreamprvr.extraction.progress import Progress
from dreamprvr.extraction.reading import Cut, Done, ReadAhead
from dreamprvr.extraction.settings import LARGEST_BATCH
from dreamprvr.extraction.store import FeatureStore
from dreamprvr.extraction.summary import Summary


def settings_of(
    encoder: Encoder,
    fps: float | None = None,
    window: float | None = None,
    stride: float | None = None,
) -> ExtractionSettings:
    """The encoder's own settings, but for those given; a window without a stride is its own.

    Raises:
        UserError: a number is not above 0, or windows are too short to see a picture.
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
            f"at {settings.fps} looks a second, a window of {settings.window} s may see nothing: "
            f"give --fps {1 / settings.window:.4g} or more, or a longer --window"
        )
    return settings


def extract(
    found: Found,
    encoder: Encoder,
    settings: ExtractionSettings,
    output: Path,
    batch_size: int = 32,
    prune: bool = False,
    show_progress: bool | None = None,
) -> Summary:
    """Extract what is not extracted yet; a broken file is reported and stops nothing.

    Whatever ends the run early (Ctrl-C, a full disk), finished videos are kept: in the output, or,
    if the process was killed, beside it for the next run.

    Args:
        found: what to extract.
        encoder: makes the rows.
        settings: see `settings_of`.
        output: the feature file.
        batch_size: windows a call of the encoder; they may be of several videos.
        prune: drop videos from the output that were not found, unless it would hold nothing then.
        show_progress: False never shows a bar; None only on a terminal.

    Raises:
        UserError: see `FeatureStore`; the disk is full; the encoder is broken.
    """
    check_range("--batch_size", batch_size, 1, LARGEST_BATCH, whole=True)
    began = time.monotonic()
    with FeatureStore(output, settings) as store:
        unseen = [path for path, _ in found.unseen]
        plan = make_plan(found.videos, store.stored(), prune, unseen)
        summary = Summary(
            output, unchanged=plan.unchanged, unnamed=plan.unnamed, unseen=plan.unseen,
            renamed=plan.renamed, left_out=found.left_out_text(), failures=list(found.unseen),
        )  # fmt: skip
        run = _Run(encoder, settings, store, plan, summary, batch_size)
        try:
            run.extract(show_progress)
        finally:
            summary.elapsed = time.monotonic() - began
            parts = any(item.file != output for item in plan.kept.values())
            if plan.changed or parts:
                store.join(plan.kept)
        summary.pruned(plan.dropped, bool(plan.kept))
    return summary


class _Run:
    """One pass over the videos that are pending."""

    def __init__(
        self,
        encoder: Encoder,
        settings: ExtractionSettings,
        store: FeatureStore,
        plan: Plan,
        summary: Summary,
        batch_size: int,
    ) -> None:
        self.settings, self.store, self.plan, self.summary = settings, store, plan, summary
        self.batcher = Batcher(encoder, batch_size)
        self.count = encoder.frames_per_window
        self.waiting: list[Done] = []  # read, but for rows in a batch that is not full

    def extract(self, show_progress: bool | None) -> None:
        """Read, encode and keep every pending video."""
        pending = self.plan.pending
        with (
            Progress(pending, show_progress if pending else False) as progress,
            ReadAhead(pending, self.settings, self.count) as events,
        ):
            for event in events:
                if isinstance(event, Cut):
                    self.batcher.add(event.video.video_id, event.window.frames)
                    progress.within(event.video, event.window.end, event.expected_end)
                elif isinstance(event, Done):
                    self.waiting.append(event)
                    progress.finished(event.video, event.duration)
                else:
                    self.batcher.forget(event.video.video_id)
                    self.summary.failures.append((event.video.path, event.reason))
                    progress.finished(event.video, 0.0)
                self._keep_complete()
            self.batcher.flush()
            self._keep_complete()

    def _keep_complete(self) -> None:
        while self.waiting and self.batcher.is_complete(self.waiting[0].video.video_id):
            self._keep(self.waiting.pop(0))

    def _keep(self, done: Done) -> None:
        video = done.video
        rows = self.batcher.take(video.video_id)
        if not np.isfinite(rows).all():
            self.summary.failures.append((video.path, "the encoder gave NaN or infinite values"))
            return
        self.plan.kept[video.video_id] = self.store.add(
            VideoFeatures(
                video.video_id, rows, done.start, done.duration, video.path, done.size,
                done.mtime_ns, done.warning,
            )
        )  # fmt: skip
        self.summary.extracted += 1
        self.summary.video_seconds += done.duration
        if done.warning:
            self.summary.warnings.append((video.path, done.warning))
