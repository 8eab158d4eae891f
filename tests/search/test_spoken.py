"""The full-text index of subtitles, and searches that use it."""

import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.libraries import features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.feature_file import VideoFeatures
from dreamprvr.search import spoken as spoken_module
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import SPOKEN
from dreamprvr.search.results import SpokenMoment, as_text
from dreamprvr.search.spoken import SpokenWords
from dreamprvr.search.subtitles import words_of


def srt(*lines: str) -> str:
    """A subtitle every 20 seconds, each a passage of its own."""
    return "\n".join(
        f"00:{i // 3:02d}:{20 * (i % 3):02d},000 --> 00:{i // 3:02d}:{20 * (i % 3) + 5:02d},000\n"
        f"{line}\n"
        for i, line in enumerate(lines)
    )


def film(folder: Path, name: str, *lines: str, **events: int) -> VideoFeatures:
    """A video whose file exists, with subtitles beside it."""
    path = folder / f"{name}.mp4"
    path.touch()
    if lines:
        path.with_suffix(".srt").write_text(srt(*lines))
    made = video(name, rows=60, **events)
    return VideoFeatures(name, 0.0, 60.0, path, 100, 5, rows=made.rows)


def plain_search(texts: dict[str, list[str]], query: str) -> dict[str, float]:
    """The share of the sentence in the best passage of each video, by loops."""
    passages = [(name, set(words_of(line))) for name, lines in texts.items() for line in lines]
    counts = {w: max(1, sum(w in said for _, said in passages)) for w in words_of(query)}
    weights = {
        w: math.log(1 + (len(passages) + 1) / (n + 0.5))
        for w, n in counts.items()
        if n <= max(10, 0.1 * len(passages))
    }
    shares: dict[str, float] = {}
    for name, said in passages:
        share = sum(v for w, v in weights.items() if w in said) / sum(weights.values())
        if share >= 0.5:
            shares[name] = max(share, shares.get(name, 0))
    return shares


def test_found_passages_are_those_of_a_loop(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    vocabulary = [f"w{i}" for i in range(40)]
    texts = {
        f"v{i}": [f"the {' '.join(random.choice(vocabulary, 5))}" for _ in range(3)]
        for i in range(30)
    }
    videos = {}
    for name, lines in texts.items():
        film(tmp_path, name, *lines)
        videos[name] = tmp_path / f"{name}.mp4", 60.0
    index = SpokenWords(tmp_path)
    assert index.update(videos, videos) == []
    for _ in range(20):
        query = f"the {' '.join(random.choice(vocabulary, 3))} unheard"
        found = index.find(query, lambda name: True)
        shares = {each[0].video_id: max(s.share for s in each) for each in found}
        assert shares == pytest.approx(plain_search(texts, query))
        few = index.find(query, lambda name: name in ("v1", "v2"))
        assert {each[0].video_id for each in few} == shares.keys() & {"v1", "v2"}
    assert index.find("the", lambda name: True) == []  # every passage has it
    assert index.find("...", lambda name: True) == []
    assert index.find('" OR *', lambda name: True) == []


def test_a_video_is_found_by_its_words(tmp_path: Path) -> None:
    talk = film(tmp_path, "talk", "hello", "the lighthouse keeper sleeps", cat=3)
    videos = [film(tmp_path, "dog", dog=7), talk]
    with library(tmp_path, *videos, metadata="video_id,tags\ntalk,x\ndog,y\n") as made:
        found = made.search("where the lighthouse keeper sleeps")
        first = found.hits[0]
        assert first.video.video_id == "talk"
        moment = first.moments[0]
        assert isinstance(moment, SpokenMoment)
        assert (moment.start, moment.end, moment.peak) == (20, 25, 22.5)
        assert moment.words == "the lighthouse keeper sleeps"
        assert first.relevance == round(100 * moment.share)
        assert found.strength in ("fair", "strong")
        assert '"the lighthouse keeper sleeps"' in as_text(found)
        assert "subtitles say" in as_text(found)
        off = made.search("where the lighthouse keeper sleeps", subtitles=False)
        assert not any(isinstance(m, SpokenMoment) for hit in off.hits for m in hit.moments)
        only_dog = made.search("the lighthouse keeper sleeps", where={"tags": "y"})
        assert [hit.video.video_id for hit in only_dog.hits] == ["dog"]
        assert made.search("dog").hits[0].video.video_id == "dog"
        both = made.search("dog", then="lighthouse keeper")
        assert not any(isinstance(m, SpokenMoment) for hit in both.hits for m in hit.moments)


def test_words_stand_beside_what_is_seen(tmp_path: Path) -> None:
    """Reciprocal rank fusion: the second by pictures and first by words is the first."""
    films = [film(tmp_path, f"v{i}", dog=i + 1) for i in range(5)]
    with library(tmp_path, *films) as made:
        seen = [hit.video.video_id for hit in made.search("dog").hits]
    said = seen[2]
    film(tmp_path, said, "my dog")
    with Library.open(tmp_path / "library") as made:
        made.update(tmp_path / "features.hdf5")
        names = [hit.video.video_id for hit in made.search("dog").hits]
        assert names == [said, *[name for name in seen if name != said]]
        pages = [made.search("dog", k=2, skip=i).hits for i in (0, 2, 4)]
        assert [hit.video.video_id for page in pages for hit in page] == names
        assert made.search("dog", threshold=2.0).hits[0].video.video_id == said


def test_an_update_reads_only_files_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    original = spoken_module.read_passages

    def watched(path: Path, duration: float) -> Any:
        read.append(path.name)
        return original(path, duration)

    monkeypatch.setattr(spoken_module, "read_passages", watched)
    films = [film(tmp_path, "a", "one lighthouse"), film(tmp_path, "b", "two"), film(tmp_path, "c")]

    def heard(words: str) -> list[str]:
        found = SpokenWords(tmp_path / "library").find(words, lambda name: True)
        return [each[0].video_id for each in found]

    with library(tmp_path, *films) as made:
        assert read == ["a.srt", "b.srt"]
        made.update(tmp_path / "features.hdf5")
        assert len(read) == 2
        (tmp_path / "b.srt").write_text(srt("three lanterns"))
        (tmp_path / "c.en.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nlighthouse\n")
        made.update(tmp_path / "features.hdf5")
        assert read[2:] == ["b.srt", "c.en.vtt"]
        assert (heard("two"), heard("three"), heard("lighthouse")) == ([], ["b"], ["c", "a"])
        made.delete(["a"])
        assert heard("lighthouse") == ["c"]
        (tmp_path / "c.en.vtt").unlink()
        made.update(features(tmp_path / "fewer.hdf5", films[1:]))
        assert heard("lighthouse") == []
        (tmp_path / "b.mp4").unlink()  # out of reach, perhaps
        (tmp_path / "b.srt").unlink()
        made.update(tmp_path / "fewer.hdf5")
        assert heard("three") == ["b"]
        made.update(features(tmp_path / "last.hdf5", films[2:]), prune=True)
        assert heard("three") == []


def test_damaged_subtitles_are_a_warning(tmp_path: Path) -> None:
    made = film(tmp_path, "a")
    (tmp_path / "a.srt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "a.en.srt").write_text(srt("lighthouse"))
    path = features(tmp_path / "features.hdf5", [made])
    with Library.create(tmp_path / "library", path) as opened:
        (line,) = opened.update(path).warnings
        assert line.startswith("subtitles are left out: ")
        assert "a.srt" in line
        assert opened.search("lighthouse").hits[0].moments[0].start == 0


def test_a_python_without_the_index_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamprvr.search.library.has_index", lambda: False)
    path = features(tmp_path / "features.hdf5", [film(tmp_path, "a", "lighthouse")])
    with Library.create(tmp_path / "library", path) as opened:
        (line,) = opened.update(path).warnings
        assert "no full-text index: subtitles are left out" in line
        assert len(opened.search("lighthouse").hits) == 1


@pytest.mark.parametrize(
    "change",
    [
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON files BEGIN DELETE FROM passages; END",
        "DROP TABLE files",
        "DROP TABLE words",
    ],
)
def test_a_file_of_a_stranger_is_refused(tmp_path: Path, change: str) -> None:
    film(tmp_path, "a", "lighthouse")
    index = SpokenWords(tmp_path)
    videos = {"a": (tmp_path / "a.mp4", 60.0)}
    index.update(videos, videos)
    with sqlite3.connect(index.path) as database:
        database.execute(change)
    database.close()
    for work in (lambda: index.find("lighthouse", bool), lambda: index.update(videos, [])):
        with pytest.raises(UserError, match=r"is damaged .*: remove it and index again"):
            work()


def test_garbage_and_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / SPOKEN).write_bytes(b"SQLite format 3\0" + bytes(4000))
    with pytest.raises(UserError, match="is damaged"):
        SpokenWords(tmp_path).find("lighthouse", bool)
    (tmp_path / SPOKEN).unlink()
    (tmp_path / SPOKEN).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="link"):
        SpokenWords(tmp_path).find("lighthouse", bool)
