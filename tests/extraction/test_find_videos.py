import errno
import os
from pathlib import Path
from typing import Any

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.find_videos import find_videos, id_forms, names_of, unique_ids

GONE = "No such file or directory"


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def ids(*arguments: str) -> list[str]:
    return [video.video_id for video in find_videos(arguments).videos]


def test_a_folder_with_all_below_it() -> None:
    touch("v/b.mp4", "v/a.MKV", "v/sub/deep/c.d.webm", "v/notes.txt", "v/cover.jpg")
    touch("v/.hidden.mp4", "v/.trash/x.mp4")
    found = find_videos(["v"]).videos
    assert [video.video_id for video in found] == ["a", "b", "sub__deep__c.d"]
    assert [video.path for video in found] == [
        Path("v", name).absolute() for name in ("a.MKV", "b.mp4", "sub/deep/c.d.webm")
    ]


def test_files_are_taken_whatever_their_ending() -> None:
    touch("v/a.mp4", "v/b.dat", "v/c")
    assert ids("v/c", "v/b.dat", "v/a.mp4") == ["c", "b", "a"]


def test_endings_are_kept_where_only_they_differ() -> None:
    touch("v/a.mp4", "v/a.mkv", "v/b.mp4")
    assert ids("v") == ["a.mkv", "a.mp4", "b"]
    touch("v/a.mp4.avi")
    assert ids("v") == ["a.mkv", "v__a.mp4", "v__a.mp4.avi", "b"]


def test_folder_names_make_ids_unique() -> None:
    touch("one/a.mp4", "two/a.mp4", "two/b.mp4", "x/one/a.mp4")
    assert ids("one", "two") == ["one__a.mp4", "two__a.mp4", "b"]
    assert ids("one", "x/one") == [f"{Path.cwd().name}__one__a.mp4", "x__one__a.mp4"]


def test_ids_are_unique_even_for_names_that_imitate_a_folder() -> None:
    touch("v/a/b.mp4", "v/a__b.mp4", "v/a/b/c.mp4", "v/a__b/c.mp4", "v/c.mp4")
    found = ids("v")
    assert len(set(found)) == 5
    assert found == ids("v")
    assert "c" in found


def test_a_file_is_taken_once() -> None:
    touch("v/a.mp4", "v/b.mp4")
    os.symlink("a.mp4", "v/z.mp4")
    assert ids("v/b.mp4", "v", "v/a.mp4") == ["b", "a"]


def test_linked_folders_are_followed_but_not_round_in_circles() -> None:
    touch("v/a.mp4", "w/b.mp4")
    os.symlink("../w", "v/link")
    os.symlink("..", "v/loop")
    assert ids("v") == ["a", "link__b"]


def test_a_list() -> None:
    touch("v/a.mp4", "v/sub/b.dat", "w/c.mp4", "d.mp4")
    lines = [
        "# comment",
        "",
        " a.mp4 ",
        "sub/b.dat",
        str(Path("w").absolute()),
        "../d.mp4",
        "gone.mp4",
    ]
    Path("v/list.txt").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    found = find_videos(["v/list.txt"])
    assert [video.video_id for video in found.videos] == ["a", "sub__b", "c", "d"]
    assert found.unseen == [(Path("v/gone.mp4").absolute(), GONE)]


def test_ids_are_unicode_of_one_line() -> None:
    name = os.fsdecode(b"v/a\xff\n\x1b[31m.mp4")
    touch(name, "v/ä ☃.mp4")
    found = find_videos(["v"]).videos
    assert [video.video_id for video in found] == ["a\\xff\\n\\x1b[31m", "ä ☃"]
    assert found[0].path == Path(name).absolute()


def test_names_in_a_list_may_hold_other_line_separators() -> None:
    touch("v/a\u2028b\x0bc.mp4", "v/d.mp4")
    Path("list.txt").write_bytes("v/a\u2028b\x0bc.mp4\rv/d.mp4\r\n".encode())
    found = find_videos(["list.txt"])
    assert [video.path.name for video in found.videos] == ["a\u2028b\x0bc.mp4", "d.mp4"]
    assert found.unseen == []


def test_missing_files_are_reported_once_and_stop_nothing() -> None:
    touch("v/a.mp4")
    found = find_videos(["gone", "v", "gone", "v/b.mp4"])
    assert [video.video_id for video in found.videos] == ["a"]
    assert found.unseen == [(Path(name).absolute(), GONE) for name in ("gone", "v/b.mp4")]


def test_a_folder_that_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("v/a.mp4", "v/locked/b.mp4")
    locked, scandir = Path("v/locked").absolute(), os.scandir

    def refuse(path: str | Path) -> Any:  # the tests may run as root, who may do all
        if Path(path) == locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_videos(["v"])
    assert [video.video_id for video in found.videos] == ["a"]
    assert found.unseen == [(locked, "Permission denied")]


def test_a_list_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("list.txt")

    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"list\.txt may not be read: check"):
        find_videos(["list.txt"])


def test_refusals() -> None:
    touch("v/notes.md")
    Path("null.txt").write_bytes(b"a\0b\n")
    gone = Path("gone").absolute()
    with pytest.raises(UserError, match=rf"^there is nothing to extract: {gone}: {GONE}$"):
        find_videos(["v", "gone"])
    with pytest.raises(UserError, match=r"gone: .* \(and 1 more\)$"):
        find_videos(["gone", "gone2"])
    with pytest.raises(
        UserError, match=r"^no videos in v \(1 file is no video: \.md 1\): name files"
    ):
        find_videos(["v"])
    with pytest.raises(UserError, match="NUL character"):
        find_videos(["null.txt"])
    os.mkfifo("pipe.txt")
    with pytest.raises(UserError, match=r"pipe\.txt is a pipe"):
        find_videos(["pipe.txt"])


TRANSPORT = (b"\x47" + bytes(187)) * 4


def write(name: str, content: bytes) -> None:
    touch(name)
    Path(name).write_bytes(content)


def test_unusual_endings_are_videos() -> None:
    endings = "3gpp m2t h264 265 qt mp4v vob mxf ogv f4v dv m2v rm mpe m1v divx 3gp2 trp mod tod ts"
    touch(*(f"v/{number:02d}.{ending}" for number, ending in enumerate(endings.split())))
    assert len(ids("v")) == len(endings.split())
    assert find_videos(["v"]).left_out == {}


def test_files_of_unknown_endings_are_recognised_by_their_first_bytes() -> None:
    for name in ("v/a.mod", "v/b.rec", "v/c", "v/d.dat"):
        write(name, TRANSPORT)
    write("v/e.ts", b"export const answer = 42\n")  # a program, not a stream
    write("v/f.mod", b"MODULE main;\n")
    write("v/g.unknown", bytes(range(256)))
    write("v/h.xyz", b"\x1a\x45\xdf\xa3")
    touch("v/i.jpg", "v/j.TXT", "v/k.txt", "v/l", "v/m.srt", "v/n.wav")
    found = find_videos(["v"])
    assert [video.video_id for video in found.videos] == ["a", "b", "c", "d", "h"]
    assert found.left_out_text() == (
        "9 files are not videos: .txt 2, no ending 1, .jpg 1, .mod 1, .srt 1, .ts 1, ..."
    )


def test_one_file_left_out() -> None:
    touch("v/a.mp4", "v/b.txt", "v/.hidden.txt")
    assert find_videos(["v"]).left_out_text() == "1 file is no video: .txt 1"


def test_invisible_characters_stay_in_ids() -> None:
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"
    touch(f"v/{family}.mp4", "v/a\xa0b\u200c.mp4", "v/x\u202ey.mp4")
    assert sorted(ids("v")) == sorted([family, "a\xa0b\u200c", "x\\u202ey"])


def test_libraries_and_captions_are_named_and_refused() -> None:
    Path("captions.txt").write_text("a#enc#0 a man runs\n")
    with pytest.raises(UserError, match=r"captions\.txt is a caption file, not a list of videos; "):
        find_videos(["captions.txt"])
    touch("library/library.json", "library/rows/a.f16")
    message = r"library is a library, not a folder of videos; it can be searched"
    with pytest.raises(UserError, match=message):
        find_videos(["library"])
    touch("v/a.mp4", "v/library/library.json", "v/library/b.mp4")
    assert ids("v") == ["a"]


def test_forms_of_an_id_get_longer() -> None:
    *forms, last = id_forms(Path("/t/p/z.mp4"), 2)
    assert forms == ["p__z", "p__z.mp4", "t__p__z.mp4", "__t__p__z.mp4"]
    assert last.startswith("p__z.mp4-")
    assert last == list(id_forms(Path("/t/p/z.mp4"), 2))[-1]
    assert list(names_of(Path("/p/z.mp4"))) == ["z.mp4", "p__z.mp4", "__p__z.mp4"]


def test_only_equal_ids_get_longer() -> None:
    files = [(Path(f"/v/{name}"), 1) for name in ("a.mp4", "a.mkv", "b.mp4")]
    assert unique_ids(["a", "a", "b"], files) == ["a.mp4", "a.mkv", "b"]
    assert unique_ids(["a", "b"], files[1:], {"a"}) == ["a.mkv", "b"]
    assert unique_ids(["a", "b"], files[1:], {"a", "a.mkv"}) == ["v__a.mkv", "b"]
    assert unique_ids([], []) == []


def test_ids_never_get_shorter() -> None:
    assert unique_ids(["v__a.mp4"], [(Path("/w/v/a.mp4"), 1)], {"v__a.mp4"}) == ["w__v__a.mp4"]


def test_names_that_imitate_folders() -> None:
    files = [(Path("/v/a/b.mp4"), 2), (Path("/v/a__b.mp4"), 1)]
    found = unique_ids(["a__b", "a__b"], files)
    assert len(set(found)) == 2
    assert all(name.startswith("a__b.mp4-") for name in found)
