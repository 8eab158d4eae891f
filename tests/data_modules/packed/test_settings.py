import os
from pathlib import Path
from typing import Any

import pytest
from packed_items import SIZES, items, tables

from data_modules.dataset import VideoDataset
from data_modules.features import BigFileFeatures
from data_modules.packed import settings as module
from data_modules.packed.settings import folder_name, kind_of, packed_settings, stored_dtype
from dreamprvr.core.errors import UserError


def settings(data: Any, precision: Any = "float32", ignore: Path = Path("nowhere")):
    return packed_settings(data, precision, ignore)


def test_all_that_the_content_depends_on_makes_another_folder(tmp_path: Path):
    videos, captions = items(tmp_path)
    other = [
        VideoDataset(tables(), videos.store, SIZES._replace(num_clips=3)),
        VideoDataset(tables(), videos.store, SIZES._replace(max_frames=3)),
        VideoDataset(tables(videos=3, captions=1), videos.store, SIZES),
        VideoDataset(tables(), captions.store, SIZES),
        captions,
    ]
    names = [folder_name(settings(data)) for data in (videos, *other)]
    names.append(folder_name(settings(videos, "float16")))
    assert len(set(names)) == len(names)
    assert folder_name(settings(items(tmp_path)[0])) == names[0]
    assert names[0].startswith("videos-float32-")
    assert names[-2].startswith("captions-float32-")


def test_what_does_not_matter_makes_the_same_folder(tmp_path: Path):
    videos, captions = items(tmp_path)
    longer = VideoDataset(tables(), videos.store, SIZES._replace(max_words=9))
    assert settings(longer) == settings(videos)
    assert settings(captions)["lengths"] == {"max_words": 3}


def test_a_changed_source_is_another_state_of_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    videos, _ = items(tmp_path)
    before = settings(videos)
    os.utime(videos.store.path, ns=(1, 1))
    after = settings(videos)
    assert after != before
    assert folder_name(after) == folder_name(before)
    monkeypatch.setattr(module, "FORMAT", 99)
    assert settings(videos) != after
    assert folder_name(settings(videos)) == folder_name(before)


def test_a_folder_is_all_its_files_without_the_packed_ones(tmp_path: Path):
    videos, _ = items(tmp_path)
    store = object.__new__(BigFileFeatures)
    store.path, store.dim = tmp_path, 5
    videos.store = store
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x").write_text("12")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "y").write_text("12")
    files = settings(videos, ignore=tmp_path / "inner" / ".." / "packed")["files"]
    assert list(files) == ["inner/x", "t.hdf5", "v.hdf5"]
    status = (tmp_path / "inner" / "x").stat()
    assert files["inner/x"] == [2, status.st_mtime_ns, status.st_ctime_ns]


def test_features_in_no_file(tmp_path: Path):
    videos, _ = items(tmp_path)
    videos.store.path = tmp_path / "http:"
    with pytest.raises(UserError, match=r"lie in no file.*leave out --data\.packed$"):
        settings(videos)


def test_types_and_kinds(tmp_path: Path):
    videos, captions = items(tmp_path)
    assert stored_dtype(settings(videos)).str == "<f4"
    assert stored_dtype(settings(videos, "float16")).str == "<f2"
    assert kind_of(settings(videos)) == "videos"
    assert kind_of(settings(captions)) == "captions"
