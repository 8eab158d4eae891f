import os
from pathlib import Path

from dreamprvr.extraction.feature_file import VideoRecord
from dreamprvr.extraction.find_videos import FoundVideo
from dreamprvr.extraction.plan import Plan, make_plan
from dreamprvr.extraction.store import Stored

OUTPUT = Path("features.hdf5")


def found(name: str, path: str | None = None) -> FoundVideo:
    """A video that is there, of the id's length."""
    video = FoundVideo(name, Path(path or f"{name}.mp4").absolute())
    if not video.path.exists():
        video.path.parent.mkdir(exist_ok=True)
        video.path.write_text(name)
    return video


def stored(*videos: FoundVideo) -> dict[str, Stored]:
    records = {}
    for video in videos:
        status = video.path.stat()
        records[video.video_id] = Stored(OUTPUT, VideoRecord(
            video.video_id, 0.0, 9.0, video.path, status.st_size, status.st_mtime_ns, "",
        ))  # fmt: skip
    return records


def ids(plan: Plan) -> tuple[list[str], list[str]]:
    return [video.video_id for video in plan.pending], sorted(plan.kept)


def test_new_ones_are_extracted_and_others_kept() -> None:
    a, b, c = found("a"), found("b"), found("c")
    plan = make_plan([a, b], stored(b, c), prune=False)
    assert ids(plan) == (["a"], ["b", "c"])
    assert (plan.unchanged, plan.unnamed, plan.changed) == (1, 1, False)


def test_prune_drops_what_is_not_named() -> None:
    a, b = found("a"), found("b")
    plan = make_plan([a], stored(a, b), prune=True)
    assert ids(plan) == ([], ["a"])
    assert (plan.unchanged, plan.unnamed, plan.changed) == (1, 0, True)
    assert not make_plan([a], stored(a), prune=True).changed


def test_a_change_of_size_or_time_counts() -> None:
    a, b = found("a"), found("b")
    before = stored(a, b)
    a.path.write_text("longer")
    os.utime(b.path, ns=(1, 1))
    plan = make_plan([a, b], before, prune=False)
    assert ids(plan) == (["a", "b"], ["a", "b"])  # what there is stays until it is replaced
    assert (plan.unchanged, plan.unnamed) == (0, 0)


def test_a_moved_file_is_not_extracted_again() -> None:
    a = found("a")
    before = stored(a)
    Path("there").mkdir()
    moved = FoundVideo("a", Path("there/a.mp4").absolute())
    a.path.rename(moved.path)
    plan = make_plan([moved], before, prune=False)
    assert ids(plan) == ([], ["a"])
    assert plan.changed
    assert plan.kept["a"].record.path == moved.path


def test_a_file_whose_id_has_become_longer() -> None:
    a = found("a")
    before = stored(a)
    plan = make_plan([FoundVideo("a.mp4", a.path), found("a.mkv", "a.mkv")], before, prune=False)
    assert ids(plan) == (["a.mkv"], ["a.mp4"])
    assert plan.kept["a.mp4"].record.video_id == "a"
    assert plan.changed


def test_another_file_of_the_same_id_is_not_replaced() -> None:
    one, two = found("a", "one/a.mp4"), found("a", "two/a.mp4")
    two.path.write_text("other")
    plan = make_plan([two], stored(one), prune=False)
    assert ids(plan) == ([], ["a"])
    assert plan.failures == [(two.path, f"{one.path} has the id 'a' already: rename one of them")]
    before = stored(one)
    one.path.unlink()
    assert ids(make_plan([two], before, prune=False)) == (["a"], ["a"])


def test_a_missing_file_keeps_what_was_extracted() -> None:
    a = found("a")
    before = stored(a)
    a.path.unlink()
    assert ids(make_plan([a], before, prune=False)) == (["a"], ["a"])
