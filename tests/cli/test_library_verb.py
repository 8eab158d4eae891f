import subprocess
import sys
from pathlib import Path

import pytest
from cli.running import refused, run
from search.libraries import features, library, video

BACK = "they come back with the next `lightning index` of a feature file that holds them\n"


@pytest.fixture(autouse=True)
def _library(tmp_path: Path) -> None:
    library(tmp_path, video("kitchen", pan=4), video("yard", dog=7)).close()


def test_list_describe_and_list_again(tmp_path: Path) -> None:
    assert run("library", "list", "library").out.splitlines()[-1] == "2 videos"
    (tmp_path / "videos.csv").write_text("video_id,title\nyard,The yard\n")
    run("library", "metadata", "library", "videos.csv")
    found = run("library", "list", "library", "--where", "title=The yard").out.splitlines()
    assert found[-1] == "1 videos"
    assert found[0].endswith("title=The yard")


def test_videos_are_listed_without_torch() -> None:
    code = (
        "import sys; from dreamprvr.cli.main import main; main(); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "library", "list", "library"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("2 videos\n")


def test_delete_and_compact() -> None:
    found = run("library", "delete", "library", "yard", "none")
    assert found.code == 1
    assert found.out == "1 of 2 videos deleted\n" + BACK
    assert found.err == "no video of the library: none\n"
    found = run("library", "delete", "library", "n\xe9", "a\\xe9")
    assert found.code == 1
    assert found.out == "0 of 2 videos deleted\n"
    assert found.err == "no video of the library: n\xe9\nno video of the library: a\\xe9\n"
    assert run("library", "compact", "library").code == 0
    out = run("search", "library", "dog").out
    assert "yard" not in out
    assert "1 videos in" in out


def test_ids_may_begin_with_a_dash(tmp_path: Path) -> None:
    features(tmp_path / "dash.hdf5", [video("-x"), video("--yard")])
    run("index", "dash.hdf5", "-o", "library")
    out = run("library", "delete", "library", "--", "-x", "--yard").out
    assert out == "2 of 2 videos deleted\n" + BACK
    assert refused("library", "delete", "library", "-x") == (
        "lightning library: unknown option -x (put -- before names that begin with a dash)"
    )


def test_text_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text("video_id,title\nyard,The yard\n")
    run("library", "metadata", "library", "videos.csv")
    line = refused("library", "list", "library", "--where", "title=\udcff")
    assert line == "where is not Unicode text: '\\udcff'"


def test_ids_are_text_and_no_numbers_or_lists(tmp_path: Path) -> None:
    ids = ("[1, 2]", "null", "1e3", "01")
    features(tmp_path / "ids.hdf5", [video(name) for name in ids])
    run("index", "ids.hdf5", "-o", "library")
    assert run("library", "delete", "library", *ids).out == "4 of 4 videos deleted\n" + BACK


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("delete", "library"), "needs the ids"),
        (("metadata", "library"), "needs a CSV"),
        (("metadata", "library", "a", "b"), "one CSV"),
        (("list", "library", "x"), "takes only the folder"),
        (("list", "nowhere"), "is no library"),
        (("burn", "library"), '"action"'),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str) -> None:
    assert message in refused("library", *words)


def test_ids_are_deleted_in_either_normal_form(tmp_path: Path) -> None:
    features(tmp_path / "f.hdf5", [video("e\u0301te\u0301"), video("a\N{ZERO WIDTH JOINER}b")])
    run("index", "f.hdf5", "-o", "library")
    assert "a\N{ZERO WIDTH JOINER}b" in run("library", "list", "library").out
    out = run("library", "delete", "library", "\xe9t\xe9", "a\N{ZERO WIDTH JOINER}b").out
    assert out.startswith("2 of 2 videos deleted")
