"""The background of a library, and how sure a search is against it."""

import json
from pathlib import Path

import numpy as np
import pytest
from search.libraries import WORDS, features, library, video

from dreamprvr.search.background import (
    SENTENCES,
    Background,
    BackgroundFile,
    Level,
    sentences,
    strength_of,
)
from dreamprvr.search.library import Library
from dreamprvr.search.manifest import BACKGROUND
from dreamprvr.search.searching import Searcher


def test_the_sentences_are_always_the_same_and_all_different() -> None:
    made = sentences()
    assert made == sentences()
    assert len(set(made)) == len(made) == SENTENCES
    assert made[0] == "the moon signs the missing invoice without a reason"
    assert all(1 <= len(text.split()) <= 14 for text in made)


def test_shares_and_bounds_as_a_loop_counts_them() -> None:
    scores = tuple(sorted(np.random.default_rng(0).standard_normal(99).tolist()))
    level = Level(scores)
    for score in (-9.0, 0.0, scores[50], 9.0):
        assert level.share_below(score) == sum(other < score for other in scores) / 99
    assert level.middle == np.median(scores)
    assert level.share_below(level.bound + 1e-9) >= 0.99
    assert level.share_below(level.bound - 1e-9) < 0.99
    assert [strength_of(share) for share in (1, 0.99, 0.98, 0.95, 0.94, 0)] == [
        "strong", "strong", "fair", "fair", "weak", "weak",
    ]  # fmt: skip


def test_a_true_sentence_is_strong_and_nonsense_is_weak(tmp_path: Path) -> None:
    with library(tmp_path, video("a", dog=7), video("b", cat=3)) as made:
        found, nonsense = made.search("a dog"), made.search("flibber")
    assert found.strength == "strong"
    assert found.hits[0].relevance == 100
    assert nonsense.strength == "weak"
    assert nonsense.hits[0].relevance == 0


@pytest.fixture
def made_backgrounds(monkeypatch: pytest.MonkeyPatch) -> list[Background | None]:
    """The backgrounds that are made, in order."""
    found = []
    make = Searcher.background

    def watched(searcher: Searcher) -> Background | None:
        found.append(make(searcher))
        return found[-1]

    monkeypatch.setattr(Searcher, "background", watched)
    return found


def test_a_background_is_made_once_and_again_when_videos_change(
    tmp_path: Path, made_backgrounds: list[Background | None]
) -> None:
    path = tmp_path / "library" / BACKGROUND
    with library(tmp_path, video("a", dog=7), metadata="video_id,tags\na,x\n") as made:
        made.search("dog")
        made.search("cat")
    with Library.open(tmp_path / "library") as opened:
        opened.search("dog")
        assert len(made_backgrounds) == 1
        before = path.read_bytes()
        opened.update(tmp_path / "features.hdf5")  # nothing has changed
        opened.set_metadata(tmp_path / "videos.csv")
        opened.compact()
        assert path.read_bytes() == before
        changed = features(tmp_path / "new.hdf5", [video("a", seed=1, dog=7)])
        opened.update(changed)
        opened.prepare()
        assert len(made_backgrounds) == 2
        assert path.read_bytes() != before  # of as many videos, but others
        opened.delete(["a"])
        assert opened.search("dog").strength is None


GOOD = {"format": 1, "kind": "k", "videos": 2, "scores": {"videos": [2, 1], "moments": [0.5]}}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"kind": "other"},
        {"videos": 3},
        {"scores": {"videos": [1]}},
        {"scores": {"videos": [], "moments": [1]}},
        {"scores": {"videos": [1, None], "moments": [1]}},
        {"scores": {"videos": "12", "moments": [1]}},
        {"scores": []},
    ],
)
def test_a_file_of_another_library_or_a_damaged_one_is_not_used(
    tmp_path: Path, change: dict[str, object]
) -> None:
    file = BackgroundFile(tmp_path, "k")
    file.path.write_text(json.dumps(GOOD))
    assert file.read(2) == Background(Level((1.0, 2.0)), Level((0.5,)))
    file.path.write_text(json.dumps(GOOD | change))
    assert file.read(2) is None
    file.path.write_bytes(b"[" * 100_000 + b"\xff")
    assert file.read(2) is None


def test_a_link_in_the_place_of_the_file_is_neither_read_nor_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(json.dumps(GOOD))
    folder = tmp_path / "library"
    folder.mkdir()
    file = BackgroundFile(folder, "k")
    file.path.symlink_to(outside)
    assert file.read(2) is None
    file.write(Background(Level((1.0,)), Level((1.0,))), 2)
    assert json.loads(outside.read_text()) == GOOD
    assert file.read(2) is not None


def test_a_folder_that_may_not_be_written_is_no_error(tmp_path: Path) -> None:
    file = BackgroundFile(tmp_path / "a file" / "folder", "k")
    (tmp_path / "a file").touch()
    file.write(Background(Level((1.0,)), Level((1.0,))), 2)
    assert file.read(2) is None


def test_the_words_of_the_tests_are_no_words_of_the_background() -> None:
    assert not set(WORDS) & set(" ".join(sentences()).split())
