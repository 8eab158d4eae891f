"""Threads for blocking work. Queues are bounded: what does not fit is refused at once."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from starlette.exceptions import HTTPException

P = ParamSpec("P")
T = TypeVar("T")
Check = Callable[[], None]
"""Called now and then by a piece of work, which ends by what it raises."""


class Stopped(Exception):
    """Raised by a check when nobody waits for the work any more."""


class Workers:
    """Runs blocking work of one kind away from the event loop.

    Args:
        name: name of the work in the plural, for refusals: "searches".
        threads: number of pieces that run at once; one thread also serves as a lock.
        waiting: number of pieces that may wait for a thread.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self.name = name
        self.limit = threads + waiting
        self.inside = 0
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(*args, **kwargs)` on the next free thread and return its result.

        Raises:
            HTTPException: 503, the queue is full.
        """
        if self.inside >= self.limit:  # only the event loop's thread comes here
            refusal = f"too many {self.name} at once; try again in a second"
            raise HTTPException(503, refusal, {"Retry-After": "1"})
        self.inside += 1
        try:
            future = self._pool.submit(work, *args, **kwargs)
            # if the client has left, this is cancelled, and work that has not begun never begins
            return await asyncio.wrap_future(future)
        finally:
            self.inside -= 1

    async def run_long(self, work: Callable[..., T], *args: object) -> T:
        """Run `work(*args, check)`, which ends early if the client leaves or the server ends.

        Raises:
            HTTPException: 503, the queue is full.
        """
        left = threading.Event()

        def check() -> None:
            if left.is_set() or self._closed.is_set():
                raise Stopped

        try:
            return await self.run(work, *args, check)
        finally:
            left.set()

    def close(self) -> None:
        """Drop what waits, and wait for what runs."""
        self._closed.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
