"""up: one command from a folder of videos to a page that finds seconds in them."""

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dreamprvr.cli.feature_verbs import STOPPED, need_video_packages
from dreamprvr.cli.library_verbs import KEPT_IN, LIBRARY, open_or_create
from dreamprvr.cli.page_process import PageProcess
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import reason
from dreamprvr.core.progress import ProgressBar
from dreamprvr.core.text import message_line, one_line

if TYPE_CHECKING:  # they import torch, which takes seconds
    from dreamprvr.extraction.encoder import Encoder
    from dreamprvr.extraction.extractor import Progress, Summary
    from dreamprvr.extraction.feature_file import ExtractionSettings
    from dreamprvr.extraction.find_videos import FoundVideo
    from dreamprvr.extraction.watching import Look, Status

FEATURES = "features.hdf5"
LOOK = 2.0  # seconds between looks at the videos
NOTED = 1.0  # seconds between two notes for the page
REDRAWN = 0.2  # seconds between two pictures of the progress
GROWING = "it is still being written"


def bring_up(
    videos: list[str],
    *,
    output: Path | None = None,
    watch: bool = False,
    open: bool = False,
    encoder: str | None = None,
    fps: float | None = None,
    window: float | None = None,
    ckpt_path: Path | None = None,
    metadata: Path | None = None,
    device: str = "auto",
    batch_size: int = 32,
    port: int = 8000,
    host: str = "127.0.0.1",
    allowed_host: list[str] | None = None,
    cache: Path | None = None,
) -> int:
    """Extract, index and serve videos: one command from a folder to the search page.

    Run again, it does only what is new, and goes on after an interruption. Indexed videos can be
    searched while the rest is extracted. Videos whose files are gone leave the library.

    Args:
        videos: folders (with all below them), files, or .txt lists with one path per line.
        output: folder for features and library; by default .dreamprvr in the first folder of
            videos.
        watch: keep watching: take in new and changed videos while the page is open.
        open: show the page in the browser.
        encoder: clip-b32, clip-l14, siglip2-base, one of an installed package, or
            transformers:FOLDER; by default that of the library, and clip-b32 for a new one.
        fps: frames to look at in a second; by default as the library, or the encoder's own.
        window: seconds of a row; by default as the library, or the encoder's own.
        ckpt_path: checkpoint of a trained model; without it, search is untrained.
        metadata: CSV file with a column video_id or path, and any others, to filter by.
        device: cpu, cuda, cuda:1, mps, or auto.
        batch_size: windows encoded at once.
        port: port of the page; 0 takes a free one.
        host: address of the page; any but this machine's own lets others in.
        allowed_host: host name or address that browsers may use for this machine; may be repeated.
        cache: folder for thumbnails, pieces of videos and clips, at most 2 GB.
    """
    need_video_packages("up")
    folder = output or default_folder(videos)
    try:
        (folder / LIBRARY).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({reason(error)}): name a folder by -o") from None
    display = Display()
    page = PageProcess(
        display.say, library=folder / LIBRARY, port=port, host=host, allowed_host=allowed_host,
        open=open, cache=cache, device=device,
    )  # fmt: skip
    upkeep = Upkeep(videos, folder, Options(ckpt_path, metadata, device, batch_size), display, page)
    try:
        upkeep.prepare(watch, encoder, fps, window)
        upkeep.run(watch)
        page.wait()
    except KeyboardInterrupt:
        display.clear()
        if not upkeep.at_work:  # the way to end it
            return 0
        print(STOPPED)
        raise
    finally:
        display.clear()
        page.close()
    return 0


def default_folder(videos: list[str]) -> Path:
    """Return the folder for features and library: `.dreamprvr` in the first folder of videos.

    Raises:
        UserError: no folder is named.
    """
    for name in videos:
        if Path(name).is_dir():
            return Path(name) / KEPT_IN
    missing = [name for name in videos if not Path(name).exists()]
    if missing:
        raise UserError(f"{one_line(missing[0])} does not exist: name a folder of videos")
    raise UserError("no folder of videos is named, so name one for the library by -o FOLDER")


@dataclass(frozen=True)
class Options:
    """Options of `up` for extracting and indexing, as `bring_up` describes them."""

    ckpt_path: Path | None = None
    metadata: Path | None = None
    device: str = "auto"
    batch_size: int = 32


class Display:
    """The one progress display: a line that says which step is at work, and how far it is."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._drawn, self._step = 0.0, ""

    def show(self, step: str, done: int = 0, total: int = 0, text: str = "") -> None:
        """Show progress, see `ProgressBar`.

        Args:
            step: name of the step, such as "extracting".
            done: work that is done, in any unit.
            total: all work of the step, in the same unit; 0 if it is not known.
            text: what else to say.
        """
        now = time.monotonic()
        if step == self._step and now - self._drawn < REDRAWN:
            return
        self._drawn, self._step = now, step
        if self._bar is None:
            self._bar = ProgressBar(total=1, bar_format="{desc}", desc=step, leave=False)
        plain = text.replace("{", "{{").replace("}", "}}")
        how = f"{step}: {{percentage:3.0f}}%|{{bar}}| {plain}" if total else f"{step} ..."
        self._bar.bar_format, self._bar.total, self._bar.n = how, total or 1, done
        self._bar.refresh()

    def say(self, line: str) -> None:
        """Print a line above the progress."""
        if self._bar is None:
            print(line)
        else:
            self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()

    def clear(self) -> None:
        """Take the progress away until there is more."""
        bar, self._bar, self._step = self._bar, None, ""
        if bar is not None:
            bar.close()


@dataclass
class Upkeep:
    """Keeps a library up to date with videos.

    Args:
        videos: arguments of the command line that name the videos.
        folder: folder that holds features and library.
        options: options of extracting and indexing.
        display: shows the progress.
        page: the process that serves the library.

    Attributes:
        at_work: whether something is left to do.
    """

    videos: list[str]
    folder: Path
    options: Options
    display: Display
    page: PageProcess
    at_work: bool = True
    _failed: dict[Path, tuple["Status", str]] = field(default_factory=dict)
    _noted: float = -NOTED  # second of the last note for the page
    _lines: list[str] = field(default_factory=list)  # what the last indexing says
    _indexed: int = 0  # time of change of the features that were indexed last

    @property
    def features(self) -> Path:
        """Path of the feature file."""
        return self.folder / FEATURES

    @property
    def library(self) -> Path:
        """Folder of the library."""
        return self.folder / LIBRARY

    def prepare(
        self, watch: bool, encoder: str | None, fps: float | None, window: float | None
    ) -> None:
        """Start the page, and load the encoder.

        Args:
            watch: whether there may be no videos yet.
            encoder: name of the encoder; None for that of the library.
            fps: frames in a second, or None.
            window: seconds of a row, or None.

        Raises:
            UserError: there are no videos, the encoder is missing, or it or the checkpoint does
                not fit.
        """
        from dreamprvr.extraction.watching import Watcher

        self._watcher = Watcher(self.videos)
        if not watch:
            self._watcher.look()
        self._note(0, 0)
        self.page.start()
        self.display.show("loading the encoder")
        from dreamprvr.extraction.encoders import load_encoder
        from dreamprvr.extraction.extractor import settings_of
        from dreamprvr.extraction.feature_file import FeatureFile
        from dreamprvr.search.model import check_encoder, check_model, read_model

        stride = None
        if self.features.exists():
            with FeatureFile(self.features) as file:
                stored = file.settings
            encoder, stride = encoder or stored.encoder, stored.stride if window is None else None
            fps, window = fps or stored.fps, window or stored.window
        self.encoder: Encoder = load_encoder(encoder or "clip-b32", self.options.device)
        self.settings: ExtractionSettings = settings_of(self.encoder, fps, window, stride)
        model = None
        if path := self.options.ckpt_path:
            check_model(model := read_model(path), path, self.settings, trust_features=False)
        check_encoder(self.encoder, self.settings, model)

    def run(self, watch: bool) -> None:
        """Bring the library up to date, and go on to do so if it is to watch.

        Args:
            watch: whether to go on until the page ends.

        Raises:
            UserError: what is there cannot be extracted or indexed; with `watch`, only the first
                time, and later the reason is printed.
        """
        handled: dict[Path, Status] | None = None
        problem = ""
        while not self.page.has_ended():
            try:
                look = self._watcher.look()
            except UserError as error:  # nothing is left there, or not yet
                if not watch:
                    raise
                problem = self._say_once(problem, error)
                self.page.wait(LOOK)
                continue
            self.at_work = bool(look.growing) or look.whole != handled or bool(problem)
            if look.whole != handled or problem:
                try:
                    self._take_in(look, first=handled is None)
                    problem = ""
                except UserError as error:
                    if not watch or handled is None:
                        raise
                    problem = self._say_once(problem, error)
                handled = look.whole
            if self.at_work and not look.growing and not problem:
                self.at_work = False
                self.display.clear()
                done = f"watching {', '.join(self.videos)}" if watch else "all is done"
                self.display.say(f"{done}; Ctrl-C ends the page")
            if not self.at_work and not watch:
                return
            self.page.wait(LOOK)

    def _say_once(self, before: str, error: UserError) -> str:
        line = message_line(error)
        if line != before:
            self.display.say(line)
        return line

    def _take_in(self, look: "Look", first: bool) -> None:
        """Extract and index what is new, and drop what is gone."""
        from dreamprvr.extraction.extractor import extract

        if first and self.features.exists() and not (self.library / "library.json").exists():
            self._index()  # an earlier run was interrupted in between
        skipped = dict.fromkeys(look.growing, GROWING)
        for path, (status, why) in self._failed.items():
            if look.whole.get(path) == status:
                skipped[path] = why
        found = replace(
            look.found,
            videos=[v for v in look.found.videos if v.path in look.whole and v.path not in skipped],
            unseen=[*look.found.unseen, *skipped.items()],
        )
        found.videos += self._others({video.path for video in look.found.videos})
        summary = extract(
            found, self.encoder, self.settings, self.features, self.options.batch_size, prune=True,
            report=self._extracting, joined=self._index_meanwhile,
        )  # fmt: skip
        for path, why in summary.failures:
            if path in look.whole:
                self._failed[path] = (look.whole[path], why)
        if self._is_new():
            self._index()
        self._tell(summary, skipped, first)

    def _others(self, named: set[Path]) -> "list[FoundVideo]":
        """List videos that other arguments named before, if their files are there: they stay."""
        from dreamprvr.extraction.feature_file import FeatureFile
        from dreamprvr.extraction.find_videos import FoundVideo

        if not self.features.exists():
            return []
        with FeatureFile(self.features) as file:
            records = [file.record(name) for name in file.video_ids()]
        return [
            FoundVideo(record.video_id, record.path) for record in records
            if record.path not in named and record.path.exists()
        ]  # fmt: skip

    def _is_new(self) -> bool:
        with suppress(OSError):
            return self.features.stat().st_mtime_ns != self._indexed
        return False

    def _extracting(self, progress: "Progress") -> None:
        from dreamprvr.extraction.extractor import length

        left = f", {length(progress.left)} left" if progress.left else ""
        self.display.show("extracting", round(1000 * progress.share), 1000, progress.text + left)
        self._note(progress.finished, progress.total)

    def _index_meanwhile(self) -> None:
        """Index what has been extracted so far; if that fails, the end tries again."""
        try:
            self._index()
        except UserError as error:
            self.display.say(f"later: {message_line(error)}")
        if self.page.has_ended():
            raise UserError("the page has ended")

    def _index(self) -> None:
        """Index the feature file, and note lines on what there is now."""
        written = self.features.stat().st_mtime_ns
        self.display.show("indexing")

        def progress(done: int, total: int, video: str) -> None:
            self.display.show("indexing", done, total, f"{done:,}/{total:,} videos {video[-30:]}")

        opened = open_or_create(
            self.library, self.features, self.options.ckpt_path, device=self.options.device
        )
        with opened as library:
            report = library.update(self.features, self.options.metadata, progress, prune=True)
            count = len(library.videos())
        self._indexed = written
        self._lines = [f"warning: {one_line(line)}" for line in report.warnings]
        self._lines.append(f"{count:,} videos can be searched; the library is in {self.library}")

    def _tell(self, summary: "Summary", skipped: dict[Path, str], first: bool) -> None:
        """Print what was done: each time all that failed, and otherwise only what is new."""
        summary.failures = [item for item in summary.failures if item[0] not in skipped]
        plan = summary.plan
        if first or summary.extracted or summary.failures or plan.renamed or plan.dropped:
            self._lines = summary.lines() + self._lines
        for line in self._lines:
            self.display.say(line)
        self._lines = []

    def _note(self, done: int, total: int) -> None:
        """Let the page show how far the extraction is, as long as there is no library yet."""
        from dreamprvr.search.indexing import ProgressFile

        now = time.monotonic()
        if not (self.library / "library.json").exists() and now - self._noted >= NOTED:
            self._noted = now
            ProgressFile(self.library)(done, total, "")
