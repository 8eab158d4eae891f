"""Threads with a bounded queue: what does not fit is refused at once, so nothing piles up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from dreamprvr.serve.replies import busy

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Runs blocking work of one kind away from the event loop.

    Args:
        name: of the work in the plural, for refusals: "searches".
        threads: how many pieces run at once; one also serves as a lock.
        waiting: pieces that may wait for a thread.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self.name = name
        self.limit = threads + waiting
        self.inside = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Wait for a free thread, then for the work.

        Raises:
            Refusal: 503, the queue is full.
        """
        if self.inside >= self.limit:  # only the event loop's thread comes here
            raise busy(self.name)
        self.inside += 1
        try:
            future = self._pool.submit(work, *args, **kwargs)
            # cancelled (the client left): a piece that has not begun is never begun
            return await asyncio.wrap_future(future)
        finally:
            self.inside -= 1

    def close(self) -> None:
        """Drop what waits; what runs ends on its own."""
        self._pool.shutdown(wait=True, cancel_futures=True)
