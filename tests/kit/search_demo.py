"""`make search-demo`: from nothing to searched films, in a terminal and in a browser.

    python -m tests.kit.search_demo [--folder runs/search-demo] [--no_serve]

It generates short films with known events, extracts them with an encoder without weights, trains
DreamPRVR on most of them, indexes all, and searches for captions of films that training did not
see. Each command is printed as one would type it, and then runs in this process.
"""

import argparse
import csv
import logging
import os
import shlex
import sys
import threading
import time
import warnings
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path

from data_modules.readers.tables import read_tables
from dreamprvr.core.errors import UserError
from tests.kit.__main__ import run
from tests.kit.film_plan import plan_films
from tests.kit.films import COLLECTION, make_films, split_names
from tests.kit.statistics_encoder import StatisticsEncoder

FILMS, VAL, TEST = 26, 2, 4
EVENTS = (18, 22)  # smallest and largest number in a film, which lasts under three minutes
EPOCHS = 70
ASKED = 3
PAUSE = 10.0  # seconds between two lines on how far a command is
CONFIG = Path(__file__).parent / "film.yaml"


def say(*words: str, how_far: Callable[[], str] | None = None) -> None:
    """Print a command as one would type it, and run it.

    Args:
        words: words of the command.
        how_far: says how far it is; printed every few seconds where the command shows nothing,
            as in a pipe.
    """
    print(f"\n$ python -m tests.kit {shlex.join(words)}", flush=True)
    ended = threading.Event()

    def tell(how_far: Callable[[], str]) -> None:
        while not ended.wait(PAUSE):
            print(how_far(), flush=True)

    if how_far is not None and not sys.stderr.isatty():
        threading.Thread(target=tell, args=(how_far,), daemon=True).start()
    try:
        run(*words)
    finally:
        ended.set()


def trained(runs: Path) -> str:
    """Say in which epoch the last training is, by its metrics."""
    files = sorted(runs.glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    lines = files[-1].read_text(encoding="utf-8").splitlines() if files else []
    epochs = [row["epoch"] for row in csv.DictReader(lines)]
    return f"{epochs[-1] if epochs else 0} epochs done"


def newest_checkpoint(runs: Path) -> Path:
    """Return the path of the best checkpoint of the last training.

    Args:
        runs: folder of the trainings.

    Raises:
        UserError: there is no training.
    """
    files = sorted(runs.glob("version_*/checkpoints/best.ckpt"), key=lambda p: p.stat().st_mtime)
    if not files:
        raise UserError(f"no training in {runs}: remove that folder and start again")
    return files[-1]


def captions(root: Path, number: int) -> list[tuple[str, str, tuple[float, float]]]:
    """Return caption, film and moment of some events of test films, evenly spread."""
    queries = read_tables(root / COLLECTION / "TextData", COLLECTION).split("test").queries
    step = max(1, len(queries) // number)
    rows = list(queries.itertuples(index=False))[step // 2 :: step][:number]
    return [(row.text, row.video_ids[0], row.moments[0]) for row in rows]


def build(
    folder: Path, films: int = FILMS, events: tuple[int, int] = EVENTS, epochs: int = EPOCHS
) -> Path:
    """Make films, features, a trained network and a library in one folder.

    Args:
        folder: folder of all results. Films, features and a library that it already holds are
            used again.
        films: number of films.
        events: smallest and largest number of events in a film.
        epochs: number of epochs of the training.

    Returns:
        The path of the library.
    """
    data, runs, library = folder / "data", folder / "training", folder / "library"
    print(f"rendering {films} films into {data / COLLECTION / 'videos'}", flush=True)
    make_films(
        data, plan_films(films, events), split_names(films, VAL, TEST), partial(print, flush=True)
    )
    features = data / COLLECTION / "features.hdf5"
    say("extract", str(data / COLLECTION / "videos"), "-o", str(features),
        "--encoder", StatisticsEncoder.name, "--prune")  # fmt: skip
    if not (library / "library.json").exists():
        words = ["fit", "--config", str(CONFIG), "--data.root", str(data)]
        words += ["--trainer.default_root_dir", str(runs), "--trainer.max_epochs", str(epochs)]
        words += ["--data.batch_size", "8"]  # small batches, since there are few films
        say(*words, how_far=partial(trained, runs))
    say("index", str(features), "--ckpt_path", str(newest_checkpoint(runs)), "-o", str(library))
    return library


def ask(data: Path, library: Path, number: int = ASKED) -> None:
    """Search for captions of test films, and print the true film and seconds of each."""
    for text, film, (start, end) in captions(data, number):
        say("search", str(library), text, "-k", "3")
        print(f"(true: {film}, second {start:.0f} to {end:.0f}; training never saw this film)")


def has_display() -> bool:
    """Check that this process can open a browser."""
    if sys.platform.startswith(("win", "darwin")):
        return True
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def main() -> None:
    """Run the command line. Ctrl-C ends the page, and with it the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.search_demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/search-demo"))
    parser.add_argument("--port", type=int, default=0, help="Port of the page [a free one].")
    parser.add_argument("--no_serve", action="store_true", help="Do not serve the page.")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # warnings of Lightning that no user can act on
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    begun = time.monotonic()
    try:
        library = build(options.folder)
        ask(options.folder / "data", library)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")
    print(f"\nfrom films to answers: {time.monotonic() - begun:.0f} s", flush=True)
    if not options.no_serve:
        words = ["serve", str(library), "--port", str(options.port)]
        say(*words, *(["--open"] if has_display() else []))


if __name__ == "__main__":
    main()
