"""What is to be done: videos that are there already are not extracted again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dreamprvr.extraction.find_videos import FoundVideo
from dreamprvr.extraction.store import Stored


@dataclass
class Plan:
    """The videos of a run.

    Args:
        pending: to extract.
        kept: what the output keeps as it is, by id; `changed` says whether it has to be written
            again for that.
        unchanged: how many of the videos named are kept.
        unnamed: how many are kept that were not named.
        failures: files that cannot be taken, with the reason.
    """

    pending: list[FoundVideo] = field(default_factory=list)
    kept: dict[str, Stored] = field(default_factory=dict)
    changed: bool = False
    unchanged: int = 0
    unnamed: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)


def make_plan(videos: Sequence[FoundVideo], stored: Mapping[str, Stored], prune: bool) -> Plan:
    """Compare the videos named with what was extracted before.

    A video is unchanged if its size and time of change are those of then. It may have moved, or
    have another id since a file of the same name lies beside it. Videos that are not named now
    stay, whether their files are there or not, unless `prune`.

    Args:
        videos: named now.
        stored: extracted before, by id.
        prune: drop videos that are not named.
    """
    plan = Plan()
    by_path = {item.record.path: name for name, item in stored.items()}
    used: set[str] = set()
    for video in videos:
        old = by_path.get(video.path, video.video_id)
        if old in stored and _is_unchanged(video.path, stored[old]):
            used.add(old)
            record = replace(stored[old].record, path=video.path)
            plan.kept[video.video_id] = Stored(stored[old].file, record)
            plan.changed |= (old, record) != (video.video_id, stored[old].record)
            plan.unchanged += 1
        elif _is_of_another_file(video, stored):
            other = stored[video.video_id].record.path
            plan.failures.append(
                (video.path, f"{other} has the id {video.video_id!r} already: rename one of them")
            )
        else:
            plan.pending.append(video)
    _keep_the_rest(plan, videos, stored, used, prune)
    return plan


def _keep_the_rest(
    plan: Plan,
    videos: Sequence[FoundVideo],
    stored: Mapping[str, Stored],
    used: set[str],
    prune: bool,
) -> None:
    """Videos not named stay; what is stored of changed ones stays until they are extracted."""
    named = {video.video_id for video in videos}
    for name, item in stored.items():
        if name in used or name in plan.kept:
            continue
        if prune and name not in named:
            plan.changed = True
            continue
        plan.kept[name] = item
        plan.unnamed += name not in named


def _is_unchanged(path: Path, stored: Stored) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (stored.record.size, stored.record.mtime_ns)


def _is_of_another_file(video: FoundVideo, stored: Mapping[str, Stored]) -> bool:
    """Whether a video's id is that of a file elsewhere, which is still there."""
    if video.video_id not in stored:
        return False
    other = stored[video.video_id].record.path
    return other != video.path and other.exists() and not other.samefile(video.path)
