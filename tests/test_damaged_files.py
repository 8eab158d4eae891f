"""Every reader of files of others, on any bytes and on damaged files of the right form.

The result is a valid table, or a UserError of one short line: never another exception.
`FILES=20000 pytest tests/test_damaged_files.py` tries as many new files for each reader as FILES
says; without it the same few hundred are tried each time.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from bigfiles import write_big_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search.libraries import SETTINGS

from data_modules.readers.bigfile import BigFile
from data_modules.readers.captions import read_captions
from data_modules.readers.labels import apply_labels, read_labels
from data_modules.readers.npz import ArrayFolder
from data_modules.readers.published import (
    read_activitynet,
    read_charades_sta,
    read_qvhighlights,
    read_tvr,
)
from data_modules.readers.tables import Annotations, read_tables
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import (
    load_json,
    load_json_lines,
    number,
    one_line,
    read_csv,
    read_lines,
)
from dreamprvr.core.yaml_text import load_yaml
from dreamprvr.extraction.find_videos import find_videos
from dreamprvr.search.catalogue import read_metadata
from dreamprvr.search.manifest import Manifest, check_engine, read_manifest

FILES = int(os.environ.get("FILES", 0))
COMMON = settings(
    max_examples=FILES or 200, derandomize=not FILES, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

# bytes that have broken readers before; they are put into valid files at any place
ODD = [
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\xbd", b"##",
    b"#enc#", b'"', b"'", b"\\", b"\\u0000", b"\\ud83d", b",", b":", b"{", b"}", b"[", b"]", b"NaN",
    b"1e999", b"-1", b"-Infinity", b"null", b"true", b"9" * 400, b"9" * 5000, b"0x1p9", b"1_0",
    "\u00e9e\u0301\u00a0\u2028\u202e\u200d".encode(), b"[" * 2000, b"a" * 3000, b"/..", b"<<: *a",
]  # fmt: skip

CAPTIONS = b"v1#enc#0 a man opens a door\nv1#enc#1 a dog\n\xc3\xa9#0 \xe2\x80\xa8x\n"
CAPTION_LINES = b'{"caption_id": "a b#enc#0", "caption": "x"}\n{"video_id": "v", "caption": "y"}\n'
CAPTION_TABLE = b'caption_id,video_id,caption\na b#enc#0,,"x, y"\n,v,z\n'
VIDEOS = b"video_id,duration,split,path\nv,3.5,train,\nw,,train,w.mp4\n"
QUERIES = (
    b'{"query_id": "v#enc#0", "video_ids": ["v"], "text": "x", "moments": [[0, 1.5]],'
    b' "split": "train"}\n'
)
ACTIVITYNET = (
    b'{"v_a": {"duration": 10.5, "timestamps": [[0, 3], [2.5, 11]], "sentences": ["A", "B"]},'
    b' "v_b": {"duration": 5, "timestamps": [[1, 2]], "sentences": ["\\u00e9"]}}'
)
CHARADES = b"AAAAA 0.0 6.9##a person\nBBBBB 1 30##another\n"
LENGTHS = b"id,subject,length\nAAAAA,x,30.5\nBBBBB,y,20\n"
TVR = (
    b'{"desc_id": 1, "vid_name": "s01", "desc": "x", "ts": [0, 5.5], "duration": 60}\n'
    b'{"desc_id": 2, "vid_name": "s02", "desc": "y"}\n'
)
LABELS = (
    b'{"query_id": "v_a#enc#0", "caption": "A", "gt_video_ids": ["v_a", "v_b"]}\n'
    b'{"query_id": "v_b#0", "gt_video_ids": ["v_b"]}\n'
)
QVHIGHLIGHTS = (
    b'{"qid": 1, "query": "x", "duration": 150, "vid": "-a_60.0_210.0", "relevant_clip_ids": [0],'
    b' "saliency_scores": [[4, 1, 1]], "relevant_windows": [[0, 2], [10, 160]]}\n'
    b'{"qid": 2, "query": "y", "duration": 142, "vid": "_b_0.0_150.0"}\n'
)
LIST = b"# films\na.mp4\nfolder\n\n ../b.mp4 \n"
METADATA = b'video_id,path,title,tags\na,,"x, y",p;q\n,b.mp4,z,\n'
YAML = b"data: &a {root: x, sizes: [1, 2.5]}\nmodel:\n  other: *a\n  text: 'x'\n"


class Reader(NamedTuple):
    """A reader, the name of its file, valid content, and the other files that it needs."""

    read: Callable[[Path], object]
    name: str
    valid: bytes
    others: dict[str, bytes] = {}


def charades(folder: Path) -> object:
    return read_charades_sta(folder / "c.txt", folder / "c.csv", "train")


def big_file(folder: Path) -> object:
    big = BigFile(folder)
    assert all(big.read(video).shape == (len(rows), 4) for video, rows in big.videos.items())
    return big


def labelled(folder: Path) -> object:
    path, (table, _) = folder / "l.jsonl", read_activitynet(folder / "a.json", "val")
    found = apply_labels(table, read_labels(path), path, "activitynet val")
    for line in (found.summary, *found.mismatches):
        assert one_line(line) == line
        assert len(line) < 1000
    return found.table.evaluated()


READERS = {
    "lines": Reader(lambda f: list(read_lines(f / "x.txt")), "x.txt", CAPTIONS),
    "json": Reader(lambda f: load_json(f / "x.json"), "x.json", ACTIVITYNET),
    "json lines": Reader(lambda f: list(load_json_lines(f / "x.jsonl")), "x.jsonl", TVR),
    "csv": Reader(lambda f: list(read_csv(f / "x.csv")[1]), "x.csv", METADATA),
    "captions": Reader(lambda f: read_captions(f / "c.txt"), "c.txt", CAPTIONS),
    "caption lines": Reader(lambda f: read_captions(f / "c.jsonl"), "c.jsonl", CAPTION_LINES),
    "caption table": Reader(lambda f: read_captions(f / "c.csv"), "c.csv", CAPTION_TABLE),
    "videos": Reader(
        lambda f: read_tables(f, "x"), "x_videos.csv", VIDEOS, {"x_queries.jsonl": QUERIES}
    ),
    "queries": Reader(
        lambda f: read_tables(f, "x"), "x_queries.jsonl", QUERIES, {"x_videos.csv": VIDEOS}
    ),
    "activitynet": Reader(lambda f: read_activitynet(f / "a.json", "train"), "a.json", ACTIVITYNET),
    "charades": Reader(charades, "c.txt", CHARADES, {"c.csv": LENGTHS}),
    "charades lengths": Reader(charades, "c.csv", LENGTHS, {"c.txt": CHARADES}),
    "tvr": Reader(lambda f: read_tvr(f / "t.jsonl", "train"), "t.jsonl", TVR),
    "labels": Reader(labelled, "l.jsonl", LABELS, {"a.json": ACTIVITYNET}),
    "qvhighlights": Reader(
        lambda f: read_qvhighlights(f / "q.jsonl", "train"), "q.jsonl", QVHIGHLIGHTS
    ),
    "list": Reader(lambda f: find_videos([f / "l.txt"]), "l.txt", LIST, {"a.mp4": b""}),
    "metadata": Reader(
        lambda f: read_metadata(f / "m.csv", {"a": f / "a.mp4", "b": f / "b.mp4"}),
        "m.csv", METADATA,
    ),
    "yaml": Reader(lambda f: load_yaml((f / "y").read_text("utf-8", "replace")), "y", YAML),
}  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file of which a few places are cut out, doubled or replaced."""
    content = valid
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 0, 1, 2, 5, 20, 1000])))
        new = draw(st.one_of(
            st.sampled_from(ODD), st.binary(max_size=4), st.just(content[start : stop + 9] * 2)
        ))  # fmt: skip
        content = content[:start] + new + content[stop:]
    return content


def contents(valid: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes, any text, and damaged valid files; these are three of four."""
    text = st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass"))
    return st.one_of(st.binary(max_size=200), text, *[damaged(valid)] * 6)


def result(read: Callable[[], object]) -> object:
    """Call a reader on its file; a refusal must be one short line."""
    try:
        return read()
    except UserError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        assert one_line(message) == message
        assert len(message) < 500
        return None


def check(found: Any) -> None:
    """Hold what was read against the schema."""
    tables = found[0] if isinstance(found, tuple) and found else found
    if not isinstance(tables, Annotations):
        return
    known = dict(zip(tables.videos["video_id"], tables.videos["duration"], strict=True))
    assert all(isinstance(v, str) and v for v in known)
    assert all(math.isnan(d) or 0 < d < math.inf for d in known.values())
    assert tables.queries["query_id"].is_unique
    for query in tables.queries.itertuples():
        assert query.query_id
        assert query.video_ids
        assert set(query.video_ids) <= set(known)
        assert isinstance(query.text, str)
        assert all(0 <= start <= end < math.inf for start, end in query.moments)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_file_is_read_or_refused(tmp_path: Path, name: str):
    reader = READERS[name]
    for other, content in reader.others.items():
        (tmp_path / other).write_bytes(content)
    path = tmp_path / reader.name
    path.write_bytes(reader.valid)
    assert reader.read(tmp_path) is not None

    @COMMON
    @given(contents(reader.valid))
    def run(content: bytes) -> None:
        path.write_bytes(content)
        check(result(lambda: reader.read(tmp_path)))

    run()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["video2frames.txt", "id.txt", "shape.txt", "feature.bin"])
def test_a_big_file_is_read_or_refused(tmp_path: Path, name: str):
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    folder = write_big_file(tmp_path, {"v_a": rows, "v'\u00e9": rows[:1]})
    path = folder / name

    @COMMON
    @given(contents(path.read_bytes()))
    def run(content: bytes) -> None:
        path.write_bytes(content)
        result(lambda: big_file(folder))

    run()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v.npz", "packed.npz", "v.npy"])
def test_an_array_is_read_or_refused(tmp_path: Path, name: str):
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    path = tmp_path / name
    write = {"v.npz": np.savez, "packed.npz": np.savez_compressed, "v.npy": np.save}[name]
    write(path, rows)

    @COMMON
    @given(contents(path.read_bytes()))
    def run(content: bytes) -> None:
        path.write_bytes(content)
        result(lambda: ArrayFolder(tmp_path))

    run()


@pytest.mark.slow
def test_the_description_of_a_library_is_read_or_refused(tmp_path: Path):
    Manifest(SETTINGS, 6, "http://localhost:6333", "videos", "").write(tmp_path)
    path = tmp_path / "library.json"

    @COMMON
    @given(contents(path.read_bytes()))
    def run(content: bytes) -> None:
        path.write_bytes(content)
        result(lambda: read_manifest(tmp_path))

    run()


ADDRESS = damaged(b"http://localhost:6333/x").map(lambda b: b.decode("utf-8", "replace"))


@COMMON
@given(st.one_of(st.text(), st.text().map("http://{}".format), ADDRESS))
def test_an_address_is_taken_or_refused(engine: str):
    result(lambda: check_engine(engine, "--engine"))


@COMMON
@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.just(10**400)))
def test_a_number_is_finite_or_none(value: object):
    found = number(value)
    assert found is None or math.isfinite(found)
