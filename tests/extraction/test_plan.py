import os
import shutil
from dataclasses import replace
from pathlib import Path

from dreamprvr.extraction.feature_file import VideoRecord
from dreamprvr.extraction.find_videos import FoundVideo
from dreamprvr.extraction.output import Stored
from dreamprvr.extraction.plan import Plan, make_plan

OUTPUT = Path("features.hdf5")


def found(name: str, path: str | None = None, depth: int = 1) -> FoundVideo:
    """A video that is there, of the id's length."""
    video = FoundVideo(name, Path(path or f"{name}.mp4").absolute(), depth)
    if not video.path.exists():
        video.path.parent.mkdir(parents=True, exist_ok=True)
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


def test_new_videos_are_extracted_and_others_kept() -> None:
    a, b, c = found("a"), found("b"), found("c")
    plan = make_plan([a, b], stored(b, c), prune=False)
    assert ids(plan) == (["a"], ["b", "c"])
    assert (plan.unchanged, plan.unnamed, plan.changed) == (1, 1, False)


def test_prune_drops_videos_that_are_not_named() -> None:
    a, b = found("a"), found("b")
    plan = make_plan([a], stored(a, b), prune=True)
    assert ids(plan) == ([], ["a"])
    assert (plan.unchanged, plan.unnamed, plan.dropped, plan.changed) == (1, 0, 1, True)
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


def test_a_file_keeps_its_id_and_newcomers_get_longer_ones() -> None:
    a, b = found("p__z", "t/p/z.mp4", 2), found("p__z.mkv", "t/p/z.mkv", 2)
    before = stored(a)
    # beside the other one it is found as p__z.mp4; by itself as z
    plan = make_plan([FoundVideo("p__z.mp4", a.path, 2), b], before, prune=False)
    assert ids(plan) == (["p__z.mkv"], ["p__z"])
    assert not plan.changed
    alone = make_plan([FoundVideo("z", a.path)], before, prune=True)
    assert ids(alone) == ([], ["p__z"])
    assert not alone.changed


def test_a_file_that_changed_keeps_its_id_too() -> None:
    a = found("p__z", "p/z.mp4")
    before = stored(a)
    a.path.write_text("longer")
    plan = make_plan([FoundVideo("z", a.path), found("z.mkv", "p/z.mkv")], before, prune=False)
    assert ids(plan) == (["p__z", "z.mkv"], ["p__z"])


def test_a_file_is_the_same_behind_a_link() -> None:
    a = found("a", "v/a.mp4")
    Path("w").symlink_to("v")
    plan = make_plan([FoundVideo("w__a", Path("w/a.mp4").absolute())], stored(a), prune=True)
    assert ids(plan) == ([], ["a"])
    assert not plan.changed
    assert plan.kept["a"].record.path == a.path
    before = stored(a)
    a.path.write_text("longer")
    linked = FoundVideo("w__b", Path("w/a.mp4").absolute())
    assert ids(make_plan([linked], before, prune=False)) == (["a"], ["a"])


def test_another_file_of_the_same_id_gets_a_longer_one() -> None:
    one, two = found("a", "one/a.mp4"), found("a", "two/a.mp4")
    two.path.write_text("other")
    for prune in (False, True):
        plan = make_plan([two], stored(one), prune)
        assert ids(plan) == (["two__a.mp4"], [] if prune else ["a"])
    before = stored(one)
    assert ids(make_plan([two, one], before, prune=False)) == (["two__a.mp4"], ["a"])
    one.path.unlink()
    assert ids(make_plan([two], before, prune=False)) == (["a"], ["a"])
    # it may be on a disk that is away
    away = make_plan([two], before, prune=False, unseen=[one.path.parent])
    assert ids(away) == (["two__a.mp4"], ["a"])


def test_files_moved_together_keep_their_ids() -> None:
    one, two = found("a", "old/one/a.mp4"), found("two__a.mp4", "old/two/a.mp4")
    before = stored(one, two)
    Path("old").rename("new")
    moved = [
        FoundVideo(f"{name}__a.mp4", Path(f"new/{name}/a.mp4").absolute())
        for name in ("one", "two")
    ]
    plan = make_plan(moved, before, prune=True)
    assert ids(plan) == ([], ["a", "two__a.mp4"])
    assert [plan.kept[name].record.path for name in before] == [video.path for video in moved]


def test_videos_in_unreadable_places_are_not_pruned() -> None:
    a, b, c = found("a"), found("b", "away/b.mp4"), found("c", "there/c.mp4")
    for place in (b.path, b.path.parent):
        plan = make_plan([a], stored(a, b, c), prune=True, unseen=[place])
        assert ids(plan) == ([], ["a", "b"])
        assert (plan.unchanged, plan.unnamed, plan.unseen, plan.dropped) == (1, 0, 1, 1)


def test_a_missing_file_keeps_what_was_extracted() -> None:
    a = found("a")
    before = stored(a)
    a.path.unlink()
    assert ids(make_plan([a], before, prune=False)) == (["a"], ["a"])


def test_a_renamed_file_is_not_extracted_again() -> None:
    a, b = found("a"), found("b")
    before = stored(a, b)
    new = Path("new.mp4").absolute()
    a.path.rename(new)
    plan = make_plan([found("new", "new.mp4"), b], before, prune=False)
    assert ids(plan) == ([], ["b", "new"])
    assert plan.kept["new"] == Stored(OUTPUT, replace(before["a"].record, path=new))
    assert (plan.renamed, plan.unchanged, plan.unnamed, plan.changed) == (1, 1, 0, True)


def test_a_copy_is_extracted() -> None:
    a = found("a")
    before = stored(a)
    shutil.copy2(a.path, "copy.mp4")
    assert ids(make_plan([found("copy")], before, prune=False)) == (["copy"], ["a"])
    a.path.unlink()  # two of that size and time: which one it was is unknown
    shutil.copy2("copy.mp4", "third.mp4")
    plan = make_plan([found("copy"), found("third")], before, prune=False)
    assert ids(plan) == (["copy", "third"], ["a"])


def test_a_file_in_an_unreadable_place_does_not_count_as_renamed() -> None:
    a = found("a", "disk/a.mp4")
    before = stored(a)
    a.path.rename(Path("new.mp4").absolute())
    unseen = [Path("disk").absolute()]
    assert ids(make_plan([found("new")], before, prune=False, unseen=unseen)) == (["new"], ["a"])
