import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed_items import items

from data_modules.packed.pack import pack
from data_modules.packed.settings import packed_settings
from data_modules.packed.store import PackedStore, Unusable, write_manifest
from dreamprvr.core.errors import UserError

FILES = ["clips.rows", "clips.offsets", "frames.rows", "frames.offsets", "manifest.json"]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    videos, _ = items(tmp_path)
    settings = packed_settings(videos, "float32", tmp_path)
    pack(videos, tmp_path / "p", settings)
    return settings


def test_sizes(tmp_path: Path, settings: dict[str, Any]):
    store = PackedStore(tmp_path / "p", settings, verify=True)
    clips, offsets = store.field("clips")
    assert clips.shape == (9, 5)
    assert offsets.tolist() == [0, 2, 4, 6, 8]
    assert store.field("frames").offsets.tolist() == [0, 1, 5, 9, 12]
    assert store.bytes == sum((tmp_path / "p" / name).stat().st_size for name in FILES[:4])
    assert store.settings == settings


def test_other_settings(tmp_path: Path, settings: dict[str, Any]):
    with pytest.raises(Unusable, match="from other files or with other settings"):
        PackedStore(tmp_path / "p", {**settings, "format": 2}, verify=False)


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found(tmp_path: Path, settings: dict[str, Any], name: str):
    path = tmp_path / "p" / name
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        broken = bytearray(sound)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        with pytest.raises(Unusable, match=r"^is damaged: "):
            PackedStore(tmp_path / "p", settings, verify=True)
    path.write_bytes(sound)
    PackedStore(tmp_path / "p", settings, verify=True)


@pytest.mark.parametrize("name", FILES)
def test_files_cut_short_are_found_without_checksums(
    tmp_path: Path, settings: dict[str, Any], name: str
):
    path = tmp_path / "p" / name
    sound = path.read_bytes()
    for size in (0, 1, len(sound) // 2, len(sound) - 2):
        path.write_bytes(sound[:size])
        with pytest.raises(Unusable, match=r"^is damaged: "):
            PackedStore(tmp_path / "p", settings, verify=False)
    path.unlink()
    with pytest.raises(Unusable, match=r"^is (damaged: |missing$)"):
        PackedStore(tmp_path / "p", settings, verify=False)


def test_offsets_that_do_not_fit(tmp_path: Path, settings: dict[str, Any]):
    for place, value in ((0, 1), (1, 0), (4, 9)):
        offsets = np.array([0, 2, 4, 6, 8])
        offsets[place] = value
        (tmp_path / "p" / "clips.offsets").write_bytes(offsets.tobytes())
        with pytest.raises(Unusable, match=r"clips\.offsets and clips\.rows differ"):
            PackedStore(tmp_path / "p", settings, verify=False)


@pytest.mark.parametrize("text", [b"[]", b"null", b"{", b"\xff", b"{}", b'{"crc32": 1}'])
def test_manifests_that_are_none(tmp_path: Path, settings: dict[str, Any], text: bytes):
    (tmp_path / "p" / "manifest.json").write_bytes(text)
    with pytest.raises(Unusable, match=r"manifest\.json does not have its checksum"):
        PackedStore(tmp_path / "p", settings, verify=False)


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
def test_manifests_of_another_form(tmp_path: Path, settings: dict[str, Any], files: object):
    for manifest in ({"files": files}, {"settings": settings, "files": files}):
        text = json.dumps(write_manifest(manifest))
        (tmp_path / "p" / "manifest.json").write_text(text)
        with pytest.raises(Unusable, match=r"is damaged|other settings"):
            PackedStore(tmp_path / "p", settings, verify=True)


def test_files_of_sizes_that_are_no_rows(tmp_path: Path, settings: dict[str, Any]):
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
            PackedStore(tmp_path / "p", settings, verify=False)
        path.write_bytes(sound)


def test_a_copy_for_another_process(tmp_path: Path, settings: dict[str, Any]):
    store = PackedStore(tmp_path / "p", settings, verify=True)
    content = pickle.dumps(store)
    assert len(content) < 5000  # the rows stay where they are
    copy = pickle.loads(content)
    assert copy.field("frames").rows.equal(store.field("frames").rows)

    path = tmp_path / "p" / "manifest.json"
    other = json.loads(path.read_text())
    del other["crc32"]
    other["settings"]["format"] = 2
    path.write_text(json.dumps(write_manifest(other)))
    with pytest.raises(UserError, match="has been replaced while in use: start again"):
        pickle.loads(content).field("frames")
    path.unlink()
    with pytest.raises(UserError, match="is missing while in use"):
        pickle.loads(content).field("frames")
    store.field("frames")  # what is open stays open
