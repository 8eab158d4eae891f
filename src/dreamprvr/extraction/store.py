"""A feature file that grows a video at a time, and survives being killed: see `parts`.

Each finished video is a small feature file of its own. At the end, and after Ctrl-C, the parts and
the old output are copied into a new file that takes the output's place in one step.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.feature_file import (
    ExtractionSettings,
    FeatureFile,
    VideoFeatures,
    VideoRecord,
    write_feature_file,
)
from dreamprvr.extraction.parts import PartsFolder


@dataclass(frozen=True)
class Stored:
    """A video that was extracted before: the file that holds it, and what is known of it."""

    file: Path
    record: VideoRecord


class FeatureStore:
    """The output of an extraction, opened by one process at a time; a context manager.

    Args:
        output: the feature file; it need not be there yet.
        settings: of this run.

    Raises:
        UserError: another run writes it, it was made with other settings, or is something else.
    """

    def __init__(self, output: Path, settings: ExtractionSettings) -> None:
        self.output, self.settings = output, settings
        self.parts = PartsFolder(output, "extract")

    def __enter__(self) -> "FeatureStore":
        self.parts.hold()
        try:
            for path in self.parts.files():
                self._check(
                    path,
                    "an earlier run left it: give the same options again, or delete "
                    f"{self.parts.path}",
                )
            if self.output.exists():
                self._check(self.output, "give the same options again, or another -o")
        except BaseException:
            self.parts.release()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.parts.release()

    def stored(self) -> dict[str, Stored]:
        """Every video that is there, by its id: those of the output and of the parts."""
        found: dict[str, Stored] = {}
        files = [self.output] if self.output.exists() else []
        for path in files + self.parts.files():
            with FeatureFile.open(path) as file:
                found.update({name: Stored(path, file.record(name)) for name in file.video_ids()})
        return found

    def add(self, video: VideoFeatures) -> Stored:
        """Keep a finished video: once this returns, it survives whatever happens."""
        name = hashlib.blake2b(video.video_id.encode(), digest_size=16).hexdigest()
        path = self.parts.path / f"{name}.hdf5"
        write_feature_file(path, self.settings, [video])
        fields = {key: value for key, value in vars(video).items() if key != "rows"}
        return Stored(path, VideoRecord(**fields))

    def join(self, videos: Mapping[str, Stored]) -> None:
        """Make the output hold just these videos, under these ids, and drop the parts."""
        if not videos:
            return
        write_feature_file(self.parts.joined, self.settings, self._read(videos))
        self.parts.finish()

    def _read(self, videos: Mapping[str, Stored]) -> Iterator[VideoFeatures]:
        old = FeatureFile.open(self.output) if self.output.exists() else None
        for name, stored in sorted(videos.items()):
            record = stored.record
            if old is not None and stored.file == self.output:
                video = old.read(record.video_id)
            else:
                with FeatureFile.open(stored.file) as part:
                    video = part.read(record.video_id)
            yield replace(video, video_id=name, path=record.path)
        if old is not None:
            old.close()

    def _check(self, path: Path, advice: str) -> None:
        with FeatureFile.open(path) as file:
            if differences := file.settings.differences(self.settings):
                raise UserError(f"{path} was made with {differences}: {advice}")
