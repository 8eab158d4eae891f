"""Measure searches of the page: idle, after clients that have left, and while a process indexes.

    python -m benchmarks.page_searches [--videos N] [--added N] [--abandoned N] [--rounds N]

A library of made-up videos of 120 rows is served over HTTP. In each round one search is timed on an
idle server, and one right after other clients have sent searches and hung up. Then a process of its
own indexes more videos, and searches are timed until it has ended; all of them must be answered.
"""

import contextlib
import http.client
import json
import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import torch
import uvicorn
from torch import Tensor

from benchmarks.measuring import begin, parser, publish, seconds
from dreamprvr.extraction.encoder import QueryFeatures
from dreamprvr.extraction.encoders import register
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoFeatures, write_feature_file
from dreamprvr.search.library import Library
from dreamprvr.serve.app import create_app
from dreamprvr.serve.keeper import Keeper

DIM, ROWS = 512, 120
PAUSE = 0.05  # seconds between two looks at whether the page shows the new videos


class Numbers:
    """An encoder that gives each sentence random numbers of its own, at once."""

    name, fingerprint = "numbers", "0" * 32
    video_dim = text_dim = DIM
    searches_untrained = True
    frames_per_window = 1
    fps, window, stride = 1.0, 1.0, 1.0
    loaded = 0  # times that one was made

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        Numbers.loaded += 1

    def encode_windows(self, windows: Sequence[np.ndarray]) -> Tensor:
        """Encode no pictures: the features are made up.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def encode_query(self, text: str) -> QueryFeatures:
        """Return random numbers that depend on the text."""
        random = torch.Generator().manual_seed(hash(text) % 2**32)
        sentence = torch.randn(DIM, generator=random)
        return QueryFeatures(sentence[None], sentence)


def make_features(path: Path, count: int) -> Path:
    """Write a feature file of made-up videos; those of a smaller file are in a larger one too."""
    settings = ExtractionSettings(Numbers.name, Numbers.fingerprint, DIM, 1.0, 1.0, 1.0)

    def videos() -> Iterator[VideoFeatures]:
        for number in range(count):
            rows = np.random.default_rng(number).standard_normal((ROWS, DIM)).astype(np.float32)
            yield VideoFeatures(f"v{number}", 0.0, float(ROWS), Path(), 0, 0, rows=rows)

    write_feature_file(path, settings, videos())
    return path


def index(folder: Path, features: Path) -> None:
    """Index more videos, in a process of its own."""
    register(Numbers.name, Numbers)
    with Library.open(folder, "cpu") as library:
        library.update(features)


@contextlib.contextmanager
def served(opened: Callable[[], Any], folder: Path, cache: Path) -> Iterator[str]:
    """Serve the library of a folder, as `opened` returns it, and yield the host and port."""
    app = create_app(Keeper(folder, lambda path: opened()), cache)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Client:
    """Asks the server; each search has words of its own, so none is answered from memory."""

    def __init__(self, server: str) -> None:
        self.server, self.asked = server, 0

    def get(self, address: str) -> Any:
        """Return the JSON at an address.

        Raises:
            SystemExit: the server refuses.
        """
        connection = http.client.HTTPConnection(self.server, timeout=600)
        connection.request("GET", address)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"{address} was answered with {answer.status}: {body.decode()}")
        return json.loads(body)

    def _address(self) -> str:
        self.asked += 1
        return f"/api/search?{urlencode({'q': f'sentence {self.asked}'})}"

    def search(self) -> None:
        """Search, and wait for the answer."""
        self.get(self._address())

    def leave(self, count: int) -> None:
        """Send searches by as many connections, and close all of them."""
        host, _, port = self.server.partition(":")
        sockets = [socket.create_connection((host, int(port))) for _ in range(count)]
        for sender in sockets:
            sender.sendall(f"GET {self._address()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        for sender in sockets:
            sender.close()

    def wait_for(self, videos: int) -> float:
        """Wait until the page has a number of videos, and return the seconds."""

        def wait() -> None:
            while self.get("/api/library").get("videos") != videos:
                time.sleep(PAUSE)

        return seconds(wait)


def while_indexing(client: Client, work: Callable[..., None], *arguments: Path) -> list[float]:
    """Time searches while a process works."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    taken = []
    while process.is_alive():
        taken.append(seconds(client.search))
    process.join()
    if process.exitcode:
        raise SystemExit("the process that indexes has failed")
    return taken


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = parser(__doc__, "page_searches", rounds=7, videos=400, added=400, abandoned=250)
    args = begin(options, arguments)
    register(Numbers.name, Numbers)
    idle, left = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = make_features(folder / "first.hdf5", args.videos)
        more = make_features(folder / "more.hdf5", args.videos + args.added)
        with Library.create(folder / "library", first, device="cpu") as library:
            library.update(first)
        Numbers.loaded = 0
        opened = partial(Library.open, folder / "library", "cpu")
        with served(opened, folder / "library", folder / "cache") as address:
            client = Client(address)
            client.wait_for(args.videos)
            client.search()
            for _ in range(args.rounds):
                idle.append(seconds(client.search))
                client.leave(args.abandoned)
                left.append(seconds(client.search))
            writing = while_indexing(client, index, folder / "library", more)
            shown = client.wait_for(args.videos + args.added)

    rows = [
        {"search": "idle", **_cells(idle), "times idle": 1.0},
        {"search": f"after {args.abandoned} that were left", **_cells(left),
         "times idle": statistics.median(a / b for a, b in zip(left, idle, strict=True))},
        {"search": f"while {args.added} videos are indexed", **_cells(writing),
         "times idle": statistics.median(writing) / statistics.median(idle)},
    ]  # fmt: skip
    print(f"the page shows the new videos {shown:.1f} s after the process has ended; "
          f"encoders loaded by the page: {Numbers.loaded}")  # fmt: skip
    publish(args, rows, shown=shown, loaded=Numbers.loaded, writing=writing)


def _cells(taken: Sequence[float]) -> dict[str, Any]:
    milliseconds = [1000 * value for value in taken]
    return {
        "median ms": statistics.median(milliseconds), "slowest ms": max(milliseconds),
        "searches": len(taken),
    }  # fmt: skip


if __name__ == "__main__":
    main()
