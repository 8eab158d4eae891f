from pathlib import Path

import pytest
from search.libraries import features, library, video

from dreamprvr.core.errors import UserError
from dreamprvr.search.library import Library


@pytest.fixture
def films(tmp_path: Path) -> Path:
    return features(tmp_path / "features.hdf5", [video("a", dog=7)])


def test_what_an_interrupted_creation_left_is_replaced(tmp_path: Path, films: Path) -> None:
    made = tmp_path / "library"
    Library.create(made, films).close()
    (made / "library.json").unlink()
    (made / "model.ckpt").write_text("half")
    with Library.create(made, films) as again:
        assert again.update(films).added == ["a"]
    assert not (made / "model.ckpt").exists()


def test_a_library_is_not_made_twice(tmp_path: Path, films: Path) -> None:
    library(tmp_path, video("a")).close()
    with pytest.raises(UserError, match="is a library already"):
        Library.create(tmp_path / "library", films)


def test_other_files_are_left_alone(tmp_path: Path, films: Path) -> None:
    made = tmp_path / "library"
    made.mkdir()
    (made / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="name a new folder"):
        Library.create(made, films)
    assert [entry.name for entry in made.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way(tmp_path: Path, films: Path) -> None:
    (tmp_path / "library").write_text("")
    with pytest.raises(UserError, match="library"):
        Library.create(tmp_path / "library", films)


@pytest.mark.parametrize("engine", ["other", "", "ftp://x", "file:///x"])
def test_unknown_engines(tmp_path: Path, films: Path, engine: str) -> None:
    with pytest.raises(UserError, match="http"):
        Library.create(tmp_path / "library", films, engine=engine)


def test_features_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        Library.create(tmp_path / "library", tmp_path / "none.hdf5")
    assert not (tmp_path / "library").exists()
