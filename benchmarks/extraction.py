"""Compare `lightning extract` on the CPU with a plain loop and with a published extractor.

    python -m benchmarks.extraction [--videos PATH ...] [--public PYTHON] [--rounds N]

All encode a picture of each second with a CLIP of the sizes of ViT-B/32 and random weights, which
is loaded before. There are two sets of videos: those that are named, and a made-up film (`--minutes
10`) of 640 x 360 at 25 pictures a second. The ways take turns:

- `loop`: PyAV decodes all pictures, and transformers encodes one at a time;
- `clip-video-encode`, if `--public` names the Python of an environment that has it; it encodes
  every nth picture, with n such that a set gives as many pictures as it has seconds;
- `extract`: the product, from the files to the feature file;
- `decoding` and `encoding`: its two parts, one without the other.

"hidden" is the share of the shorter part that takes no time in `extract`, as it goes on beside the
longer one: 1 if it takes as long as the longer part alone, 0 if as long as both one by one.
"""

import contextlib
import json
import select
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from benchmarks.encoders import made
from benchmarks.films import PART, write_film
from benchmarks.measuring import begin, comparison, interleave, parser, publish, table
from dreamprvr.extraction.extractor import extract, settings_of
from dreamprvr.extraction.find_videos import FoundVideos, find_videos
from dreamprvr.extraction.windows import ReadAhead, WindowRead

SIZE, RATE = (640, 360), 25
BATCH = 32  # windows in a call of the encoder, as `lightning extract` has it by default
SCRIPT = Path(__file__).with_name("public_extractor.py")
Ways = dict[str, Callable[[], object]]
Job = dict[str, Any]


def one_at_a_time(paths: Sequence[Path], encoder: Any, target: Path) -> None:
    """Decode all pictures of each video, and encode the first one of each second by itself.

    Args:
        paths: the videos.
        encoder: the product's encoder, of which only processor and model are used.
        target: file that the rows of a video are saved to.
    """
    for path in paths:
        rows: list[np.ndarray] = []
        with av.open(path) as container, torch.inference_mode():
            for frame in container.decode(video=0):
                if frame.time is not None and frame.time >= len(rows):
                    inputs = encoder.processor(images=frame.to_image(), return_tensors="pt")
                    rows.append(encoder.model.get_image_features(**inputs).pooler_output.numpy())
        np.save(target, np.concatenate(rows))


def windows_of(found: FoundVideos, encoder: Any) -> Iterator[np.ndarray]:
    """Decode all videos as `extract` does, and yield the pictures (n, H, W, 3) of each window."""
    with ReadAhead(found.videos, settings_of(encoder), encoder.frames_per_window) as events:
        yield from (event.window.frames for event in events if isinstance(event, WindowRead))


def decode(found: FoundVideos, encoder: Any) -> None:
    """Decode all videos, and forget the pictures."""
    for _ in windows_of(found, encoder):
        pass


def encode(windows: Sequence[np.ndarray], encoder: Any) -> None:
    """Encode windows that were decoded before."""
    for start in range(0, len(windows), BATCH):
        encoder.encode_windows(windows[start : start + BATCH])


def into_new_file(found: FoundVideos, encoder: Any) -> None:
    """Extract all videos to a feature file that does not exist yet."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "features.hdf5"
        extract(found, encoder, settings_of(encoder), output, BATCH, show_progress=False)


@contextlib.contextmanager
def published(python: str | None) -> Iterator[Callable[[Job], None] | None]:
    """Start the published extractor, and end it.

    Args:
        python: Python of the environment that has it, or None.

    Yields:
        A function that has a job done, see `public_extractor.py`; None without a Python.
    """
    if python is None:
        yield None
        return
    command = [python, str(SCRIPT), str(torch.get_num_threads())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        _wait(process)
        yield partial(_have_done, process)


def _have_done(process: "subprocess.Popen[str]", job: Job) -> None:
    print(json.dumps(job), file=process.stdin, flush=True)
    _wait(process)


def _wait(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    # its own processes may outlive it, and would keep the pipe open
    while process.poll() is None and not select.select([process.stdout], [], [], 1.0)[0]:
        pass
    if process.poll() is not None or not process.stdout.readline():
        raise RuntimeError("the published extractor ended; its messages say why")


def ways_of(
    found: FoundVideos,
    encoder: Any,
    folder: Path,
    publicly: Callable[[Job], None] | None,
) -> tuple[Ways, int]:
    """Return all ways to extract a set of videos, and the number of its windows."""
    paths, windows = [video.path for video in found.videos], list(windows_of(found, encoder))
    ways: Ways = {"loop": partial(one_at_a_time, paths, encoder, folder / "rows.npy")}
    if publicly is not None:
        job = {
            "videos": list(map(str, paths)), "folder": str(folder),
            "nth": max(1, round(pictures(paths) / len(windows))),
        }  # fmt: skip
        ways["clip-video-encode"] = partial(publicly, job)
    ways |= {
        "extract": partial(into_new_file, found, encoder),
        "decoding": partial(decode, found, encoder),
        "encoding": partial(encode, windows, encoder),
    }
    return ways, len(windows)


def pictures(paths: Sequence[Path]) -> int:
    """Count the pictures of videos by their headers."""
    count = 0
    for path in paths:
        with av.open(path) as container:
            count += container.streams.video[0].frames
    return count


def hidden(taken: dict[str, list[float]]) -> float:
    """Return the median share of the shorter part that goes on beside the longer one."""
    return statistics.median(
        (decoding + encoding - both) / min(decoding, encoding)
        for both, decoding, encoding in zip(
            taken["extract"], taken["decoding"], taken["encoding"], strict=True
        )
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser(__doc__, "extraction", rounds=3, minutes=10)
    options.add_argument("--videos", nargs="+", default=[], help="videos, or folders of videos")
    options.add_argument("--public", metavar="PYTHON", help="Python that has clip-video-encode")
    args = begin(options, arguments)
    encoder, rows, seconds = made("clip-b32"), [], {}
    with tempfile.TemporaryDirectory() as name, published(args.public) as publicly:
        folder = Path(name)
        write_film(folder / "film.mp4", "libx264", SIZE, RATE, args.minutes * 60 // PART)
        (folder / "part.mp4").unlink()
        sets = {"named": find_videos(args.videos)} if args.videos else {}
        for kind, found in {**sets, "film": find_videos([folder / "film.mp4"])}.items():
            ways, windows = ways_of(found, encoder, folder, publicly)
            taken = seconds[kind] = interleave(ways, args.rounds)
            there = [
                {
                    "videos": kind, "way": way, **cells,
                    "video s a second": windows / cells["seconds"],
                    "hidden": hidden(taken) if way == "extract" else None,
                }
                for way, cells in comparison(taken).items()
            ]  # fmt: skip
            print(table(there), flush=True)
            rows += there
    publish(args, rows, seconds=seconds)


if __name__ == "__main__":
    main()
