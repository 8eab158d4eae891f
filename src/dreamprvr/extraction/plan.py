"""Decide which videos to extract: those extracted before are kept, with their ids."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from dreamprvr.extraction.find_videos import FoundVideo, id_forms, names_of, unique_ids
from dreamprvr.extraction.output import Stored


@dataclass
class Plan:
    """The videos of a run.

    Args:
        pending: videos to extract.
        kept: videos of the output that it keeps, by id.
        changed: True if the output must be written again even if nothing is extracted.
        unchanged: number of named videos that are kept.
        renamed: number of videos that are kept and had another name before.
        unnamed: number of videos that are kept although they were not named.
        unseen: number of videos that are kept because their place could not be read.
        dropped: number of videos that are not kept, because they were not named.
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
    """Compare the videos that are named now with those that were extracted before.

    A file that was extracted before keeps its id, whatever argument names it now. Another file that
    would have the same id gets a longer one. A video is unchanged if its size and time of change
    are the same as then, even if it has moved. A file that was renamed is recognised by its size
    and time if the old file is gone: its rows stay, under the id of its new name. Videos that are
    not named now stay, whether or not their files exist, unless `prune` is set.

    Args:
        videos: videos that are named now.
        stored: videos that were extracted before, by id.
        prune: drop videos that are not named.
        unseen: folders and files that could not be read; videos extracted from there are kept.
    """
    plan = Plan()
    ids = _ids(videos, stored, unseen)
    renamed = _renamed(videos, ids, stored, unseen)
    for name, video in zip(ids, videos, strict=True):
        if name in stored and _is_unchanged(video.path, stored[name]):
            record = stored[name].record
            if os.path.realpath(video.path) != os.path.realpath(record.path):
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
    """Return the id of each video: the one it has already, or else a new one."""
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
    new_ids = iter(unique_ids(names, [(video.path, video.depth) for video in new], taken))
    return [next(new_ids) if name is None else name for name in known]


def _moved(video: FoundVideo, stored: Mapping[str, Stored], claimed: set[str]) -> str | None:
    """Return the id of a video that lay elsewhere before, unless a named video has it; or None."""
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
    """Return the old ids of videos whose files were renamed, by their new ids.

    A file counts as renamed if it is the only named one of its size and time, if only one stored
    video had that size and time, and if the file of the stored video is gone.
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
    """Keep videos that are not named, and the old rows of changed ones until they are extracted."""
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


def _is_unchanged(path: Path, stored: Stored) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (stored.record.size, stored.record.mtime_ns)
