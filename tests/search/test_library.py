"""Libraries as users have them: made, filled, searched, changed."""

from pathlib import Path

from search.libraries import library, video

from dreamprvr.search.library import Library

CSV = "video_id,title,tags\na,First,cooking;home\nb,Second,garden\n"


def test_the_right_video_and_second(tmp_path: Path) -> None:
    videos = [video("a", dog=7), video("b", cat=3, rows=30), video("c")]
    with library(tmp_path, *videos) as made:
        result = made.search("a cat")
    assert result.hits[0].video.video_id == "b"
    assert result.searched == 3
    best = result.hits[0].moments[0]
    assert best.start <= 3 < best.peak < 6 <= best.end
    assert best.end - best.start < 8


def test_filters(tmp_path: Path) -> None:
    with library(tmp_path, video("a", dog=7), video("b", dog=3), metadata=CSV) as made:
        found = made.search("dog", where={"tags": "garden"})
        assert [hit.video.title for hit in found.hits] == ["Second"]
        assert found.searched == 1
        assert made.columns() == {
            "tags": ["cooking", "garden", "home"],
            "title": ["First", "Second"],
        }


def test_it_opens_again(tmp_path: Path) -> None:
    library(tmp_path, video("a", dog=7), video("b", dog=3)).close()
    with Library.open(tmp_path / "library") as again:
        assert [v.video_id for v in again.videos()] == ["a", "b"]
        assert len(again.search("dog").hits) == 2
