"""Videos that come back under another id, so that they do not stand in a library twice."""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from dreamprvr.search.catalogue import SOURCE, Payload, path_of

_CONTENT = ("digest", "rows", "size", "mtime_ns")


class Renames:
    """Library videos that a feature file does not hold, to be found again in what it holds.

    Args:
        known: payloads of the library's videos, by id.
        present: path of each video of the feature file, by id, as payloads have it.
    """

    def __init__(self, known: Mapping[str, Payload], present: Mapping[str, str]) -> None:
        shared = {path for path, count in Counter(present.values()).items() if count > 1}
        self._unclear = {"", ".", *shared}
        self._gone = {name: known[name] for name in sorted(known.keys() - present.keys())}
        self._places: dict[Any, list[str]] = defaultdict(list)
        self._contents: dict[Any, list[str]] = defaultdict(list)
        for video_id, payload in self._gone.items():
            self._places[payload[SOURCE]["path"]].append(video_id)
            self._contents[_content(payload)].append(video_id)

    def replaced_by(self, payload: Payload, new: bool) -> list[str]:
        """Ids under which the library has the same video; each is given once.

        Args:
            payload: of a video of the feature file.
            new: whether the library lacks its id; then a file that was renamed is found as well:
                its rows, size and time are the same, and the old file is gone.
        """
        path = payload[SOURCE]["path"]
        if path in self._unclear:
            return []
        found = [name for name in self._places[path] if name in self._gone]
        if new and not found:
            same = [name for name in self._contents[_content(payload)] if name in self._gone]
            if len(same) == 1 and not os.path.lexists(path_of(self._gone[same[0]])):
                found = same
        for name in found:
            del self._gone[name]
        return found


def _content(payload: Payload) -> tuple[Any, ...]:
    return tuple(payload[SOURCE].get(name) for name in _CONTENT)
