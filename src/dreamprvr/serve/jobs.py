"""Long work in the background, one piece a key, with progress that can be asked for."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dreamprvr.core.errors import UserError
from dreamprvr.serve.replies import Refusal, busy

_REMEMBERED = 256


class Stopped(Exception):
    """The server ends; raised inside the work by its progress report."""


@dataclass
class Job:
    """What is known of a piece of work.

    Args:
        state: "working" or "failed"; finished work leaves its file and no job.
        done: share of the work, 0 to 1.
        message: why it failed.
    """

    state: str = "working"
    done: float = 0.0
    message: str = ""


class Jobs:
    """Background work on one thread.

    Args:
        waiting: pieces that may wait or run.
    """

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    def get(self, key: str) -> Job | None:
        """The job of a key, if it is under way or has failed."""
        with self._lock:
            return self._jobs.get(key)

    def start(self, key: str, work: Callable[[Callable[[float], None]], object]) -> Job:
        """Begin a piece of work unless it is under way; one that failed is tried again.

        Args:
            key: names the work.
            work: called with a function that takes the share done, 0 to 1.

        Raises:
            Refusal: 503, too much is waiting.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and job.state == "working":
                return job
            if sum(job.state == "working" for job in self._jobs.values()) >= self.waiting:
                raise busy("previews")
            self._jobs.pop(key, None)
            while len(self._jobs) >= _REMEMBERED:
                self._jobs.popitem(last=False)
            job = self._jobs[key] = Job()  # the newest
        self._pool.submit(self._run, key, job, work)
        return job

    def _run(self, key: str, job: Job, work: Callable[[Callable[[float], None]], object]) -> None:
        def report(done: float) -> None:
            if self._stop.is_set():
                raise Stopped
            job.done = min(max(done, job.done), 1.0)

        try:
            report(0.0)
            work(report)
        except (UserError, Refusal) as error:
            job.message, job.state = " ".join(str(error).split()), "failed"
        except Exception as error:
            job.message, job.state = f"{type(error).__name__}: {error}", "failed"
        else:
            with self._lock:
                self._jobs.pop(key, None)

    def close(self) -> None:
        """Stop the piece that runs at its next report, and drop the others."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
