import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed_items import SIZES, items, tables

from data_modules.loading import packed_store as module
from data_modules.loading.dataset import VideoDataset
from data_modules.loading.packed_store import (
    PackedStore,
    Unusable,
    folder_name,
    kind_of,
    packed_settings,
    stored_dtype,
    write_manifest,
)
from data_modules.loading.packing import pack
from data_modules.readers.bigfile import BigFileFeatures
from dreamprvr.core.errors import UserError


def settings(data: Any, precision: Any = "float32", ignore: Path = Path("nowhere")):
    return packed_settings(data, precision, ignore)


def test_all_that_the_content_depends_on_makes_another_folder(tmp_path: Path):
    (tmp_path / "other").mkdir()
    videos, captions = items(tmp_path)
    other = [
        VideoDataset(tables(), videos.store, SIZES._replace(num_clips=3)),
        VideoDataset(tables(), videos.store, SIZES._replace(max_frames=3)),
        VideoDataset(tables(videos=3, captions=1), videos.store, SIZES),
        VideoDataset(tables(), captions.store, SIZES),
        items(tmp_path / "other")[0],  # a set of features with equal names of files
        captions,
    ]
    names = [folder_name(settings(data)) for data in (videos, *other)]
    names.append(folder_name(settings(videos, "float16")))
    assert len(set(names)) == len(names)
    assert folder_name(settings(items(tmp_path)[0])) == names[0]
    assert names[0].startswith("videos-float32-")
    assert names[-2].startswith("captions-float32-")


def test_settings_without_influence_give_the_same_folder(tmp_path: Path):
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


FILES = ["clips.rows", "clips.offsets", "frames.rows", "frames.offsets", "manifest.json"]


@pytest.fixture
def packed(tmp_path: Path) -> dict[str, Any]:
    videos, _ = items(tmp_path)
    packed = packed_settings(videos, "float32", tmp_path)
    pack(videos, tmp_path / "p", packed)
    return packed


def test_sizes(tmp_path: Path, packed: dict[str, Any]):
    store = PackedStore(tmp_path / "p", packed, verify=True)
    clips, offsets = store.field("clips")
    assert clips.shape == (9, 5)
    assert offsets.tolist() == [0, 2, 4, 6, 8]
    assert store.field("frames").offsets.tolist() == [0, 1, 5, 9, 12]
    assert store.bytes == sum((tmp_path / "p" / name).stat().st_size for name in FILES[:4])
    assert store.settings == packed


def test_other_settings(tmp_path: Path, packed: dict[str, Any]):
    with pytest.raises(Unusable, match="from other files or with other settings"):
        PackedStore(tmp_path / "p", {**packed, "format": 99}, verify=False)


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found(tmp_path: Path, packed: dict[str, Any], name: str):
    path = tmp_path / "p" / name
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        broken = bytearray(sound)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        with pytest.raises(Unusable, match=r"^is damaged: "):
            PackedStore(tmp_path / "p", packed, verify=True)
    path.write_bytes(sound)
    PackedStore(tmp_path / "p", packed, verify=True)


@pytest.mark.parametrize("name", FILES)
def test_files_cut_short_are_found_without_checksums(
    tmp_path: Path, packed: dict[str, Any], name: str
):
    path = tmp_path / "p" / name
    sound = path.read_bytes()
    for size in (0, 1, len(sound) // 2, len(sound) - 2):
        path.write_bytes(sound[:size])
        with pytest.raises(Unusable, match=r"^is damaged: "):
            PackedStore(tmp_path / "p", packed, verify=False)
    path.unlink()
    with pytest.raises(Unusable, match=r"^is (damaged: |missing$)"):
        PackedStore(tmp_path / "p", packed, verify=False)


def test_offsets_that_do_not_fit(tmp_path: Path, packed: dict[str, Any]):
    for place, value in ((0, 1), (1, 0), (4, 9)):
        offsets = np.array([0, 2, 4, 6, 8])
        offsets[place] = value
        (tmp_path / "p" / "clips.offsets").write_bytes(offsets.tobytes())
        with pytest.raises(Unusable, match=r"clips\.offsets and clips\.rows differ"):
            PackedStore(tmp_path / "p", packed, verify=False)


@pytest.mark.parametrize("text", [b"[]", b"null", b"{", b"\xff", b"{}", b'{"crc32": 1}'])
def test_broken_manifests_are_refused(tmp_path: Path, packed: dict[str, Any], text: bytes):
    (tmp_path / "p" / "manifest.json").write_bytes(text)
    with pytest.raises(Unusable, match=r"manifest\.json does not have its checksum"):
        PackedStore(tmp_path / "p", packed, verify=False)


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        {},
        {name: 3 for name in FILES},
        {name: {"bytes": "8"} for name in FILES},
        {name: {"bytes": 8, "crc32": 4} for name in FILES},
    ],
)
def test_manifests_of_another_form(tmp_path: Path, packed: dict[str, Any], files: object):
    for manifest in ({"files": files}, {"settings": packed, "files": files}):
        text = json.dumps(write_manifest(manifest))
        (tmp_path / "p" / "manifest.json").write_text(text)
        with pytest.raises(Unusable, match=r"is damaged|other settings"):
            PackedStore(tmp_path / "p", packed, verify=True)


def test_files_with_parts_of_rows_are_refused(tmp_path: Path, packed: dict[str, Any]):
    manifest = json.loads((tmp_path / "p" / "manifest.json").read_text())
    del manifest["crc32"]
    for name in FILES[:4]:
        changed = json.loads(json.dumps(manifest))
        path = tmp_path / "p" / name
        sound = path.read_bytes()
        path.write_bytes(sound[:6])
        changed["files"][name]["bytes"] = 6
        text = json.dumps(write_manifest(changed))
        (tmp_path / "p" / "manifest.json").write_text(text)
        with pytest.raises(Unusable, match="is damaged"):
            PackedStore(tmp_path / "p", packed, verify=False)
        path.write_bytes(sound)


def test_a_copy_for_another_process(tmp_path: Path, packed: dict[str, Any]):
    store = PackedStore(tmp_path / "p", packed, verify=True)
    content = pickle.dumps(store)
    assert len(content) < 5000  # the rows stay where they are
    copy = pickle.loads(content)
    assert copy.field("frames").rows.equal(store.field("frames").rows)

    path = tmp_path / "p" / "manifest.json"
    other = json.loads(path.read_text())
    del other["crc32"]
    other["settings"]["format"] = 99
    path.write_text(json.dumps(write_manifest(other)))
    with pytest.raises(UserError, match="has been replaced while in use: start again"):
        pickle.loads(content).field("frames")
    path.unlink()
    with pytest.raises(UserError, match="is missing while in use"):
        pickle.loads(content).field("frames")
    store.field("frames")  # what is open stays open
