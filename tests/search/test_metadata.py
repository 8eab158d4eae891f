from pathlib import Path

import pytest
from shared import DATA, needs_data

from dreamprvr.core.errors import UserError
from dreamprvr.search.metadata import read_metadata


def table(folder: Path, text: str) -> Path:
    path = folder / "videos.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_lists_and_empty_cells(tmp_path: Path):
    path = table(
        tmp_path,
        'video_id,title,tags,year\na,"Pan, flip",cooking; home ;,2020\nb,,,\n\nz,lost,,\n',
    )
    found = read_metadata(path, {"a": Path("/a.mp4"), "b": Path("/b.mp4")})
    assert found.of == {
        "a": {"title": "Pan, flip", "tags": ["cooking", "home"], "year": "2020"},
        "b": {},
    }
    assert found.unknown == ("z",)
    assert found.warning(path) == f"{path}: 1 rows name no video of the library: z"


def test_paths_count_from_the_folder_of_the_csv(tmp_path: Path):
    path = table(tmp_path, f"path,title\nfilms/a.mp4,A\n{tmp_path}/b.mp4,B\n")
    videos = {"one": tmp_path / "films" / "a.mp4", "two": tmp_path / "b.mp4"}
    assert read_metadata(path, videos).of == {"one": {"title": "A"}, "two": {"title": "B"}}


def test_cells_may_hold_what_ends_lines_elsewhere(tmp_path: Path):
    path = tmp_path / "videos.csv"
    path.write_bytes('video_id,title,note\r\na,x\u2028y\x0bz\x85w,"two\r\nlines"\r\n'.encode())
    assert read_metadata(path, {"a": Path("/a.mp4")}).of == {
        "a": {"title": "x\u2028y\x0bz\x85w", "note": "two\nlines"}
    }


def test_a_path_that_disagrees_with_the_id_is_said(tmp_path: Path):
    rows = ["a,b.mp4,A", "b,b.mp4,B", "c,,C", "d,gone.mp4,D", " ,e.mp4,E", "x\x1b,a.mp4,X"]
    path = table(tmp_path, "\n".join(["video_id,path,title", *rows]))
    found = read_metadata(path, {name: tmp_path / f"{name}.mp4" for name in "abcde"})
    assert found.of == {name: {"title": name.upper()} for name in "abcde"}
    assert found.warning(path) == (
        f"{path}: 1 rows name no video of the library: x\\x1b; "
        "2 rows have another path than their video_id, which counts: a, d"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title\nx\n", "needs a column video_id or path; it has title"),
        ("video_id,title,title\na,x,y\n", "a name of its own"),
        ("video_id,title\na,x\na,y\n", "line 3: video 'a' comes twice"),
        ("video_id,a=b\na,x\n", "column 'a=b' could not be asked for by --where COLUMN=VALUE"),
        ("video_id,title\na\n", "line 2: 1 cells, but 2 columns"),
        ("video_id,title\n,x\n", "line 2: neither video_id nor path"),
        ('video_id,title\na,"x\n', "not CSV"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError) as caught:
        read_metadata(table(tmp_path, text), {"a": Path("/a.mp4")})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file(tmp_path: Path):
    with pytest.raises(UserError):
        read_metadata(table(tmp_path, ""), {})
    with pytest.raises(UserError):
        read_metadata(tmp_path / "none.csv", {})


def test_ids_and_paths_of_two_normal_forms_are_the_same(tmp_path: Path):
    videos = {"cafe\u0301": tmp_path / "cafe\u0301.mp4", " a ": tmp_path / "a.mp4"}
    path = table(tmp_path, "video_id,title\ncaf\u00e9,T\n a ,A\n")
    assert read_metadata(path, videos).of == {"cafe\u0301": {"title": "T"}, " a ": {"title": "A"}}
    path = table(tmp_path, "path,title\ncaf\u00e9.mp4,T\na\u200d.mp4,A\n")
    found = read_metadata(path, videos)
    assert found.of == {"cafe\u0301": {"title": "T"}}
    assert found.unknown == ("a\u200d.mp4",)


@needs_data
def test_a_row_in_another_normal_form_than_the_file_name():
    found = read_metadata(DATA / "hard_inputs" / "metadata_nfc.csv", {"cafe\u0301": Path("/c.mp4")})
    assert found.of == {"cafe\u0301": {"title": "T"}}
    assert not found.unknown


def test_long_names_are_cut(tmp_path: Path):
    path = table(tmp_path, "video_id,title\n" + "x" * 100_000 + ",T\n")
    assert len(read_metadata(path, {"a": Path("/a")}).warning(path)) < 500
