"""What is to be done: videos that are there already are not extracted again, and keep their ids."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from dreamprvr.extraction.store import Stored
from dreamprvr.extraction.video_ids import FoundVideo, id_forms, names_of, unique_ids


@dataclass
class Plan:
    """The videos of a run.

    Args:
        pending: to extract.
        kept: what the output keeps as it is, by id; `changed` says whether it has to be written
            again for that.
        unchanged: how many of the videos named are kept.
        renamed: how many are kept that had another name before.
        unnamed: how many are kept that were not named.
        unseen: how many are kept that lie where nothing could be looked at.
        dropped: how many are not kept, as they were not named.
    """

    pending: list[FoundVideo] = field(default_factory=list)
    kept: dict[str, Stored] = field(default_factory=dict)
    changed: bool = False
    unchanged: int = 0
    renamed: int = 0
    unnamed: int = 0
    unseen: int = 0
    dropped: int = 0


def make_plan(
    videos: Sequence[FoundVideo],
    stored: Mapping[str, Stored],
    prune: bool,
    unseen: Sequence[Path] = (),
) -> Plan:
    """Compare the videos named with what was extracted before.

    A file that was extracted before keeps its id, by whatever argument it is named now; another
    one that would have the same id gets a longer one. A video is unchanged if its size and time of
    change are those of then; it may have moved. A file that was renamed is known by its size and
    time, where the old file is gone: its rows stay, under the id of its new name. Videos that are
    not named now stay, whether their files are there or not, unless `prune`.

    Args:
        videos: named now.
        stored: extracted before, by id.
        prune: drop videos that are not named.
        unseen: folders and files that could not be looked at: what was extracted from there stays.
    """
    plan = Plan()
    ids = _ids(videos, stored, unseen)
    renamed = _renamed(videos, ids, stored, unseen)
    for name, video in zip(ids, videos, strict=True):
        if name in stored and _is_unchanged(video.path, stored[name]):
            record = stored[name].record
            if not _is_same_path(video.path, record.path):
                record, plan.changed = replace(record, path=video.path), True
            plan.kept[name] = Stored(stored[name].file, record)
            plan.unchanged += 1
        elif name in renamed:
            item = stored[renamed[name]]
            record = replace(item.record, path=video.path)
            plan.kept[name], plan.changed = Stored(item.file, record), True
            plan.renamed += 1
        else:
            plan.pending.append(replace(video, video_id=name))
    rest = {name: item for name, item in stored.items() if name not in renamed.values()}
    _keep_the_rest(plan, set(ids), rest, prune, unseen)
    return plan


def _ids(
    videos: Sequence[FoundVideo], stored: Mapping[str, Stored], unseen: Sequence[Path]
) -> list[str]:
    """The ids that videos have already, or have from now on."""
    by_path = {os.path.realpath(item.record.path): name for name, item in stored.items()}
    known = [by_path.get(os.path.realpath(video.path)) for video in videos]
    claimed = {name for name in known if name is not None}
    for place, video in enumerate(videos):
        if known[place] is None and (old := _moved(video, stored, claimed)):
            known[place] = old
            claimed.add(old)
    new = [video for video, name in zip(videos, known, strict=True) if name is None]
    names = [video.video_id for video in new]
    taken: set[str] = set()
    for name, item in stored.items() if new else ():
        path = item.record.path
        # the id of a file that is gone is free
        if name in claimed or os.path.exists(path) or _is_below(path, unseen):
            taken |= {name, *names_of(path)}
    found = iter(unique_ids(names, [(video.path, video.depth) for video in new], taken))
    return [next(found) if name is None else name for name in known]


def _moved(video: FoundVideo, stored: Mapping[str, Stored], claimed: set[str]) -> str | None:
    """The id of a video that lay elsewhere before: none that is still named there."""
    for name in dict.fromkeys([video.video_id, *id_forms(video.path, video.depth)]):
        if name in stored and name not in claimed and _is_unchanged(video.path, stored[name]):
            return name
    return None


def _renamed(
    videos: Sequence[FoundVideo],
    ids: Sequence[str],
    stored: Mapping[str, Stored],
    unseen: Sequence[Path],
) -> dict[str, str]:
    """Ids of videos that are there already under another id, with that id.

    Such a video is the only one named of its size and time, and so is the one that is stored; and
    the file of that one is gone.
    """
    gone: dict[tuple[int, int], list[str]] = defaultdict(list)
    new: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, item in stored.items():
        path = item.record.path
        if name not in ids and not _is_below(path, unseen) and not os.path.lexists(path):
            gone[item.record.size, item.record.mtime_ns].append(name)
    for name, video in zip(ids, videos, strict=True) if gone else ():
        if name not in stored:
            with suppress(OSError):
                status = video.path.stat()
                new[status.st_size, status.st_mtime_ns].append(name)
    return {
        names[0]: gone[key][0]
        for key, names in new.items()
        if len(names) == 1 and len(gone.get(key, ())) == 1
    }


def _keep_the_rest(
    plan: Plan, named: set[str], stored: Mapping[str, Stored], prune: bool, unseen: Sequence[Path]
) -> None:
    """Videos not named stay; what is stored of changed ones stays until they are extracted."""
    for name, item in stored.items():
        if name in plan.kept:
            continue
        hidden = _is_below(item.record.path, unseen)
        if prune and name not in named and not hidden:
            plan.changed = True
            plan.dropped += 1
            continue
        plan.kept[name] = item
        plan.unseen += hidden
        plan.unnamed += name not in named and not hidden


def _is_below(path: Path, places: Sequence[Path]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def _is_same_path(path: Path, before: Path) -> bool:
    return path == before or os.path.realpath(path) == os.path.realpath(before)


def _is_unchanged(path: Path, stored: Stored) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (stored.record.size, stored.record.mtime_ns)
