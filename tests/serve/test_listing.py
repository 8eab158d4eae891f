import os
from pathlib import Path

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.listing import listing


def made(folder: Path, name: str, age: int) -> LibraryVideo:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (1e9 - age, 1e9 - age))
    return LibraryVideo(path.stem, path, 5.0, {})


def ids(videos: list[LibraryVideo]) -> list[str]:
    return [video.video_id for video in videos]


def test_newest_first_and_missing_files_last(tmp_path: Path) -> None:
    videos = [made(tmp_path, "old.mp4", 9), made(tmp_path, "new.mp4", 1)]
    videos += [LibraryVideo("b", None, 5.0, {}), LibraryVideo("a", tmp_path / "a.mp4", 5.0, {})]
    total, found = listing(videos).part("", 0, 10)
    assert (total, ids(found)) == (4, ["new", "old", "a", "b"])
    total, found = listing(videos).part("", 1, 2)
    assert (total, ids(found)) == (4, ["old", "a"])


def test_folders_are_named_below_the_one_of_all(tmp_path: Path) -> None:
    videos = [
        made(tmp_path, "x/2021/one.mp4", 1), made(tmp_path, "x/2022/two.mp4", 2),
        made(tmp_path, "y/three.mp4", 3), made(tmp_path, "four.mp4", 4),
    ]  # fmt: skip
    found = listing(videos)
    assert found.names() == [(tmp_path.name, 1), ("x", 2), ("y", 1)]
    total, some = found.part("x", 0, 10)
    assert (total, ids(some)) == (2, ["one", "two"])
    assert found.part("nowhere", 0, 10) == (0, [])
    assert listing([]).names() == []
    assert listing(videos[:1]).names() == [("2021", 1)]


def test_folders_whose_names_are_not_unicode(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"plain"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).mkdir()
    videos = [
        LibraryVideo("a", Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/a.mp4")), 5.0, {}),
        LibraryVideo("b", tmp_path / "plain" / "b.mp4", 5.0, {}),
    ]
    assert listing(videos).names() == [("caf\ufffd", 1), ("plain", 1)]
