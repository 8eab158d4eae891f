"""Threads for blocking work. Queues are bounded: what does not fit is refused at once."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from starlette.exceptions import HTTPException

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import message_line
from dreamprvr.serve.schema import PreviewState

P = ParamSpec("P")
T = TypeVar("T")
Report = Callable[[float], None]
"""Told the share of a piece of work that is done, 0 to 1; what it raises ends the work."""

_REMEMBERED = 256  # jobs


class Stopped(Exception):
    """Raised by a progress report when the server ends."""


def too_many(work: str) -> HTTPException:
    """Return the refusal of a server that has enough to do.

    Args:
        work: name of the work in the plural, for the message: "searches".
    """
    return HTTPException(
        503, f"too many {work} at once; try again in a second", {"Retry-After": "1"}
    )


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
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(*args, **kwargs)` on the next free thread and return its result.

        Raises:
            HTTPException: 503, the queue is full.
        """
        if self.inside >= self.limit:  # only the event loop's thread comes here
            raise too_many(self.name)
        self.inside += 1
        try:
            future = self._pool.submit(work, *args, **kwargs)
            # if the client has left, this is cancelled, and work that has not begun never begins
            return await asyncio.wrap_future(future)
        finally:
            self.inside -= 1

    def close(self) -> None:
        """Drop what waits, and wait for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class Jobs:
    """Makes previews on one background thread, one job for each key; a finished job is forgotten.

    Args:
        waiting: number of jobs that may wait or run.
    """

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self._jobs: OrderedDict[str, PreviewState] = OrderedDict()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    def get(self, key: str) -> PreviewState | None:
        """Return the state of the job of a key if it is under way or has failed."""
        with self._lock:
            return self._jobs.get(key)

    def start(self, key: str, work: Callable[[Report], object]) -> PreviewState:
        """Begin a job unless it is under way; one that has failed is tried again.

        Args:
            key: name of the job.
            work: does the job, and reports how far it is.

        Raises:
            HTTPException: 503, too many jobs are waiting.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and job.state == "working":
                return job
            if sum(job.state == "working" for job in self._jobs.values()) >= self.waiting:
                raise too_many("previews")
            self._jobs.pop(key, None)
            while len(self._jobs) >= _REMEMBERED:
                self._jobs.popitem(last=False)
            job = self._jobs[key] = PreviewState(state="working", done=0.0)  # the newest
        self._pool.submit(self._run, key, job, work)
        return job

    def _run(self, key: str, job: PreviewState, work: Callable[[Report], object]) -> None:
        def report(done: float) -> None:
            self.check(done)
            job.done = min(max(done, job.done), 1.0)

        try:
            report(0.0)
            work(report)
        except UserError as error:
            job.message, job.state = message_line(error), "failed"
        except Exception as error:
            job.message, job.state = f"{type(error).__name__}: {error}", "failed"
        else:
            with self._lock:
                self._jobs.pop(key, None)

    def check(self, done: float) -> None:
        """Report for work on other threads, which ends with the jobs; raises `Stopped`."""
        if self._stop.is_set():
            raise Stopped

    def close(self) -> None:
        """Stop the job that runs at its next report, and drop the others."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
