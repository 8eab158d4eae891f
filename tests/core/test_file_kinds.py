import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from extraction.movies import constant, write_movie

from dreamprvr.core.errors import UserError
from dreamprvr.core.file_kinds import (
    BIG_FILE,
    CAPTIONS,
    CHECKPOINT,
    EMPTY,
    FOLDER,
    HDF5,
    IMAGE,
    JSON,
    LIBRARY,
    RUN,
    SOUND,
    SUBTITLES,
    TEXT,
    UNKNOWN,
    VIDEO,
    VIDEOS,
    described,
    kind_of,
    kind_of_bytes,
    refuse_other_kinds,
)


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("mp4", "libx264"), ("mov", "libx264"), ("mkv", "libx264"), ("webm", "libvpx"),
        ("avi", "mpeg4"), ("flv", "libx264"), ("ts", "libx264"), ("m2ts", "libx264"),
        ("mpg", "mpeg2video"), ("vob", "mpeg2video"), ("m2v", "mpeg2video"), ("h264", "libx264"),
        ("3gp", "libx264"), ("wmv", "wmv2"), ("nut", "mpeg4"), ("mxf", "mpeg2video"),
    ],
)  # fmt: skip
def test_videos(ending: str, codec: str, tmp_path: Path) -> None:
    path = write_movie(tmp_path / f"a.{ending}", constant(1, 25), codec=codec)
    assert kind_of(path.rename(tmp_path / "unknown")) == VIDEO


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", EMPTY), (bytes(64), UNKNOWN), (b"\xff\xfe\xfd" * 9, UNKNOWN),
        (b"caf\xe9 noir", UNKNOWN), (b"\x89PNG\r\n", IMAGE), (b"\xff\xd8\xff\xe0", IMAGE),
        (b"GIF89a", IMAGE), (b"RIFF\0\0\0\0WEBP", IMAGE), (b"\0\0\0\x18ftypheic", IMAGE),
        (b"ID3\x03", SOUND), (b"RIFF\0\0\0\0WAVEfmt ", SOUND), (b"RIFF\0\0\0\0AVI LIST", VIDEO),
        (b"\0\0\0\x18ftypM4A ", SOUND), (b"OggS\0\x02" + bytes(22) + b"\x01vorbis", SOUND),
        (b"OggS\0\x02" + bytes(22) + b"\x80theora", VIDEO), (b"\0\0\0\x01\x40\x01\x0c", VIDEO),
        (b"hello", TEXT), ("ä".encode() * 2000 + b"\xc3", TEXT), (b'  {"a": 1}', JSON),
        (b"a#enc#0 a man", CAPTIONS), (b"WEBVTT\n", SUBTITLES),
        (b"1\n00:00:01,000 --> 00:00:02,000\n", SUBTITLES), (b"%PDF-1.7", "a PDF file"),
        (b"\x80\x04\x95", "a pickle"), (b"PK\x03\x04" + bytes(30) + b"a.txt", "a zip archive"),
        (bytes(512) + b"\x89HDF\r\n\x1a\n", HDF5), (b"<!DOCTYPE html>", "a web page"),
        (b"\x1f\x8b\x08\0", "an archive"), (b"x" * 257 + b"ustar", "an archive"),
        (b"\x93NUMPY", "a NumPy file"),
    ],
)  # fmt: skip
def test_first_bytes(head: bytes, kind: str) -> None:
    assert kind_of_bytes(head) == kind


def test_files_of_programs(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "h", "w") as file:
        file["a"] = np.ones(3)
    torch.save({"a": torch.ones(3)}, tmp_path / "new")
    torch.save({"a": 1}, tmp_path / "old", _use_new_zipfile_serialization=False)
    assert kind_of(tmp_path / "h") == HDF5
    assert kind_of(tmp_path / "new") == kind_of(tmp_path / "old") == CHECKPOINT


def test_kinds_of_folders_and_devices(tmp_path: Path) -> None:
    for name in ("library.json", "feature.bin", "checkpoints", "notes.txt"):
        (tmp_path / name.partition(".")[0]).mkdir()
        (tmp_path / name.partition(".")[0] / name).touch()
    kinds = [kind_of(tmp_path / name) for name in ("library", "feature", "checkpoints", "notes")]
    assert kinds == [LIBRARY, BIG_FILE, RUN, FOLDER]
    (tmp_path / "notes" / "a.unknown").write_bytes(b"\x1a\x45\xdf\xa3")
    assert kind_of(tmp_path / "notes") == VIDEOS
    os.mkfifo(tmp_path / "fifo")  # opening it would wait for ever
    assert kind_of(tmp_path / "fifo") == kind_of(tmp_path / "missing") == UNKNOWN


def test_the_description_has_advice(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\x1a\x45\xdf\xa3")
    assert described(path, "a checkpoint") == (
        "a video, not a checkpoint; extract its features first: "
        f"lightning extract {path} -o features.hdf5"
    )
    with pytest.raises(UserError, match="a is a video, not a feature file; extract its features"):
        refuse_other_kinds(path, "a feature file", HDF5)
    refuse_other_kinds(path, "a video", VIDEO)
    path.write_bytes(bytes(9))
    refuse_other_kinds(path, "a feature file", HDF5)  # whoever opens it knows more
