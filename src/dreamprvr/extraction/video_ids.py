"""Ids of videos: as short as the names of files allow, unique, and the same in every run."""

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamprvr.core.text import one_line


@dataclass(frozen=True)
class FoundVideo:
    """A file to extract.

    Args:
        video_id: unique among the files that were found with it.
        path: absolute, with links as they are.
        depth: how many names at the end of the path make the shortest id: from the folder that
            was given.
    """

    video_id: str
    path: Path
    depth: int = 1


def id_forms(path: Path, depth: int) -> Iterator[str]:
    """Ids that a file may have, the shortest first.

    The last `depth` names of its path with "__" between them and without the file's ending; with
    it; with more and more parent folders in front; and last one that no other file has.
    """
    parts = path.parts[-depth:]
    yield _id((*parts[:-1], path.stem))
    for count in range(depth, len(path.parts) + 1):
        yield _id(path.parts[-count:])
    digest = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    yield f"{_id(parts)}-{digest}"  # a/b.mp4 beside a__b.mp4


def names_of(path: Path) -> Iterator[str]:
    """All ids with an ending that a file may have, whatever folder was given."""
    yield from (_id(path.parts[-count:]) for count in range(1, len(path.parts) + 1))


def unique_ids(
    ids: Sequence[str], files: Sequence[tuple[Path, int]], taken: Collection[str] = frozenset()
) -> list[str]:
    """Ids of which those that are not unique are replaced by longer forms.

    Args:
        ids: of the files, to begin with.
        files: path and depth of each, see `id_forms`.
        taken: ids that others have.
    """
    found = list(ids)
    forms = [list(id_forms(path, depth)) for path, depth in files]
    begin = [form.index(name) if name in form else 0 for name, form in zip(ids, forms, strict=True)]
    for step in range(1, max(map(len, forms), default=0)):
        clashing = _clashing(found, taken)
        if not clashing:
            break
        for place in clashing:
            if step > begin[place]:  # never shorter than to begin with
                found[place] = forms[place][min(step, len(forms[place]) - 1)]
    return found


def _clashing(ids: Iterable[str], taken: Collection[str]) -> list[int]:
    count = Counter(ids)
    return [i for i, name in enumerate(ids) if count[name] > 1 or name in taken]


def _id(parts: Iterable[str]) -> str:
    """Names of folders and file as one that prints in a line and is Unicode.

    Bytes that are not UTF-8 become "\\xe9", and so do line ends and what else a terminal obeys.
    Characters that are only not seen, such as the joiners of an emoji, stay.
    """
    text = os.fsencode("__".join(part.strip("/") for part in parts))
    return one_line(text.decode("utf-8", "backslashreplace"))
