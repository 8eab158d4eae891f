"""The next state of a library: an engine that is written beside the one that is searched.

The engine changes its files in place, so a writer never touches those that are searched. With the
first change the files are copied to the folder of the next state, and all changes are made there.
Until `library.json` names that folder, nobody searches it. A server keeps one collection, in which
each video is replaced as a whole; its readers see videos as they are written.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamprvr.core.files import check_free_disk, plain_errors, sync
from dreamprvr.search.engine.disk import copy_files, used
from dreamprvr.search.engine.interface import (
    EVERY,
    Allowed,
    Engine,
    EngineHit,
    EngineQuery,
    Layout,
    Record,
)
from dreamprvr.search.engine.opening import open_engine
from dreamprvr.search.manifest import COPY, EDGE, Manifest


class Draft:
    """An engine to write, with the methods of `dreamprvr.search.engine.interface.Engine`.

    Args:
        folder: folder of the library, of which this process is the writer.
        manifest: manifest of the last finished state.
        engine: engine of that state, open; it stays open.
        find_layout: returns the vectors of a video; called when vectors are read or written.

    Attributes:
        manifest: manifest of the state that is written; that of the last one until the first
            change.
        is_changed: whether there is a change.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, engine: Engine, find_layout: Callable[[], Layout]
    ) -> None:
        self.folder, self.manifest, self.find_layout = folder, manifest, find_layout
        self.is_changed = False
        self._engine = engine

    def _changed(self, videos: bool) -> Engine:
        """Return the engine that is written, after making it with the first change.

        Args:
            videos: whether vectors or ids change, and not only payloads.
        """
        if not self.is_changed:
            following = self.manifest.next()
            if self.manifest.engine == EDGE:
                copy_engine(self.folder, self.manifest, following)
                self._engine = open_engine(self.folder, following, self.find_layout)
            self.manifest, self.is_changed = following, True
        if videos:
            self.manifest = replace(self.manifest, videos_of=self.manifest.state)
        return self._engine

    def upsert(self, records: Sequence[Record]) -> None:
        """Add or replace videos."""
        if records:
            self._changed(videos=True).upsert(records)

    def set_payloads(self, payloads: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace payloads."""
        if payloads:
            self._changed(videos=False).set_payloads(payloads)

    def delete(self, video_ids: Sequence[str]) -> None:
        """Remove videos."""
        if video_ids:
            self._changed(videos=True).delete(video_ids)

    def compact(self) -> None:
        """Rebuild the indexes, and free the disk space of deleted videos."""
        self._changed(videos=False).compact()

    def search(self, query: EngineQuery) -> list[EngineHit]:
        """Find the best videos as they are now."""
        return self._engine.search(query)

    def fetch(self, video_ids: Sequence[str]) -> list[Record]:
        """Return videos as they are now."""
        return self._engine.fetch(video_ids)

    def payloads(
        self, video_ids: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield payloads as they are now."""
        return self._engine.payloads(video_ids)

    def count(self, allowed: Allowed = EVERY) -> int:
        """Count videos as they are now."""
        return self._engine.count(allowed)

    def close(self) -> None:
        """Close what was written; the engine of the last finished state stays open."""
        if self.is_changed and self.manifest.engine == EDGE:
            self._engine.close()


def copy_engine(folder: Path, manifest: Manifest, following: Manifest) -> None:
    """Copy the files of a state to the folder of the next one, where they appear all at once.

    Args:
        folder: folder of the library, of which this process is the writer.
        manifest: manifest of the state to copy. This process has its engine open, so that nothing
            is left that opening it would change.
        following: manifest of the next state.

    Raises:
        UserError: the disk has no room, or the copy cannot be written.
    """
    source, partial = manifest.engine_in(folder), folder / COPY
    check_free_disk(folder, used(source), "a copy, which is written while the library is searched,")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with plain_errors(partial):
            copy_files(source, partial)
            os.rename(partial, following.engine_in(folder))
            sync(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
