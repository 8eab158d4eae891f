"""Damage small feature files in every place, and check that each ends in data or in one line.

    python -m tests.fuzz_hdf5                 # one bit of each byte, cuts, runs of zeros: minutes
    python -m tests.fuzz_hdf5 --bits 8        # every bit
    python -m tests.fuzz_hdf5 --only extract  # only files with this in their names
    python -m tests.fuzz_hdf5 --sample 100    # 100 damaged forms of each file, chosen at random

A damaged file must be refused in one line, or read as it was; a hang, a crash or a traceback is a
failure. Damage to the values of files without our checksums may go unnoticed, and is counted. In
files of `lightning extract` and `extract-text` it is a failure as well.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from data_modules.readers import hdf5_check
from data_modules.readers.features import open_features
from dreamprvr.core.errors import UserError
from dreamprvr.extraction.feature_file import (
    ExtractionSettings,
    FeatureFile,
    VideoFeatures,
    write_feature_file,
)
from dreamprvr.extraction.text_features import CaptionWords, TextFile, TextSettings, write_text_file

BATCH = 500  # damaged files that one process reads
SECONDS = 300  # for one file
LAYOUTS: dict[str, dict[str, object]] = {
    "plain": {},
    "gzip": {"chunks": (2, 3), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (4, 2), "compression": "lzf"},
    "growing": {"chunks": (2, 3), "maxshape": (None, 3), "fletcher32": True},
}
OURS = ("extract", "words")

# the content of a file: rows by id and, for files of ours, settings and records
Read = dict[str, object]


def make_files(folder: Path) -> dict[str, Path]:
    """Write small files: two versions of HDF5, flat and grouped, and those of our own."""
    values = np.random.default_rng(0)
    rows = [values.standard_normal((4, 3)).astype(np.float32) for _ in range(12)]
    made: dict[str, Path] = {}
    for libver in ("earliest", "latest"):
        for layout, options in LAYOUTS.items():
            for form, count in (("flat", 3), ("grouped", 3), ("many", 12)):
                if form == "many" and layout != "plain":
                    continue
                path = folder / f"{libver}-{layout}-{form}.hdf5"
                with h5py.File(path, "w", libver=libver) as file:
                    for number in range(count):
                        name = f"v{number}/i3d" if form == "grouped" else f"v{number}"
                        file.create_dataset(name, data=rows[number], **options)
                made[path.stem] = path
    settings = ExtractionSettings("clip", "abc", 3, 2.0, 1.0, 0.5)
    videos = [
        VideoFeatures(f"v{i}", 0.5, 4.0, Path("/v/a.mp4"), 7, 8, "odd", rows=rows[i])
        for i in range(3)
    ]
    made["extract"] = folder / "extract.hdf5"
    write_feature_file(made["extract"], settings, videos)
    captions = [CaptionWords(f"v#enc#{i}", f"a man {i}", rows[i]) for i in range(3)]
    made["words"] = folder / "words.hdf5"
    write_text_file(made["words"], TextSettings("clip", "abc", 3), captions)
    return made


def read(name: str, path: Path) -> Read:
    """Read all of a file as the program does."""
    store = open_features(path)
    found: Read = {key: (store.rows(key), store[key].tobytes()) for key in list(store.keys())}
    assert "no such id" not in store
    if name == "extract":
        with FeatureFile(path) as file:
            found["settings"] = file.settings
            found |= {f"record {key}": file.record(key) for key in file.video_ids()}
    if name == "words":
        with TextFile(path) as texts:
            found["settings"] = texts.settings
            found |= {f"text {key}": texts.text(key) for key in list(texts.keys())}
    store.close()  # type: ignore[attr-defined]
    return found


def damages(whole: bytes, bits: int) -> Iterator[Callable[[], bytes]]:
    """Give all damaged forms of a file's content."""

    def flip(place: int, bit: int) -> bytes:
        return whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]

    def zeros(place: int) -> bytes:
        return whole[:place] + bytes(16) + whole[place + 16 :]

    for place in range(len(whole)):
        for bit in range(bits):
            yield lambda place=place, bit=bit: flip(place, (place + bit) % 8)
    for place in range(0, len(whole), 16):
        yield lambda place=place: zeros(place)
        yield lambda place=place: whole[:place]


def outcome(name: str, path: Path, right: Read) -> str:
    """Read a damaged file, and name the outcome in a word or two."""
    try:
        found = read(name, path)
    except UserError as error:
        return "failure: two lines" if "\n" in str(error) else "refused"
    except BaseException as error:
        return f"failure: {type(error).__name__}: {error}".replace("\n", " ")[:150]
    if found == right:
        return "as it was"
    return f"failure: other values in {name}" if name in OURS else "unnoticed"


class Form(NamedTuple):
    """A damaged form of a file.

    Attributes:
        name: kind of the file, see `make_files`.
        path: path to write it to.
        right: content of the undamaged file.
        make: gives the damaged bytes.
    """

    name: str
    path: Path
    right: Read
    make: Callable[[], bytes]


def fuzz(files: dict[str, Path], bits: int, sample: int | None = None) -> dict[str, Counter[str]]:
    """Read damaged forms of files in processes that may die of it.

    Args:
        files: paths of the undamaged files by their kind, see `make_files`; the damaged ones lie
            beside them.
        bits: number of bits of each byte that are flipped, each alone.
        sample: number of forms of each file to read, chosen at random; None for all.

    Returns:
        The number of times of each outcome, by the kind of the file.
    """
    todo: list[Form] = []
    for name, path in files.items():
        forms, right = list(damages(path.read_bytes(), bits)), read(name, path)
        if sample is not None:
            forms = random.Random(name).sample(forms, sample)
        todo += [Form(name, path.with_suffix(".damaged"), right, form) for form in forms]
    counts: dict[str, Counter[str]] = {name: Counter() for name in files}
    while todo:
        reading, writing = os.pipe()
        if not (process := os.fork()):
            os.close(reading)
            _read_batch(todo[:BATCH], writing)
        os.close(writing)
        with open(reading) as pipe:
            said = pipe.read().splitlines()
        _, status = os.waitpid(process, 0)
        if status:
            said.append(f"failure: ended by signal {os.WTERMSIG(status)}")
        for form, found in zip(todo, said, strict=False):
            counts[form.name][found] += 1
        del todo[: len(said)]
    return counts


def _read_batch(forms: list[Form], writing: int) -> None:
    """Read some damaged files, and write each outcome on a line."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # HDF5 prints what it finds
    for form in forms:
        form.path.write_bytes(form.make())
        signal.alarm(SECONDS)
        os.write(writing, (outcome(form.name, form.path, form.right) + "\n").encode())
    hdf5_check._walker.close()
    os._exit(0)


def main() -> int:
    """Fuzz the files; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", type=int, default=1, help="bits of each byte (default: 1)")
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--sample", type=int, help="forms of each file (default: all)")
    options = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = os.devnull  # every file is walked
    hdf5_check.CPU_SECONDS = 2
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, path in make_files(Path(folder)).items():
            if options.only in name:
                counts = fuzz({name: path}, options.bits, options.sample)[name]
                print(f"{name}: {dict(counts)}", flush=True)
                total += counts
    print(f"{total.total():,} inputs: {dict(total)}")
    return int(any(key.startswith("failure") for key in total))


if __name__ == "__main__":
    sys.exit(main())
