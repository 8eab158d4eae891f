import threading
from collections.abc import Callable

import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.serve.jobs import Job, Jobs
from dreamprvr.serve.replies import Refusal


def waited(jobs: Jobs, key: str) -> Job | None:
    """The job once it no longer works."""
    done = threading.Event()
    jobs._pool.submit(done.set)  # one thread: this comes after what was started before
    assert done.wait(60)
    return jobs.get(key)


def test_progress_and_the_end() -> None:
    jobs = Jobs(waiting=2)
    half, go_on = threading.Event(), threading.Event()

    def work(report: Callable[[float], None]) -> None:
        report(0.5)
        half.set()
        assert go_on.wait(60)
        report(0.3)  # never backwards

    job = jobs.start("a", work)
    assert half.wait(60)
    assert (job.state, job.done) == ("working", 0.5)
    assert jobs.start("a", work) is job  # no second one
    go_on.set()
    assert waited(jobs, "a") is None
    assert job.done == 0.5
    jobs.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [(UserError("no\npicture"), "no picture"), (ValueError("odd"), "ValueError: odd")],
)
def test_failed_work_says_why_and_may_be_tried_again(error: Exception, message: str) -> None:
    jobs = Jobs(waiting=2)

    def fail(report: Callable[[float], None]) -> None:
        raise error

    jobs.start("a", fail)
    assert waited(jobs, "a") == Job("failed", 0.0, message)
    jobs.start("a", lambda report: None)
    assert waited(jobs, "a") is None
    jobs.close()


def test_the_queue_is_bounded() -> None:
    jobs = Jobs(waiting=2)
    gate = threading.Event()
    for key in ("a", "b"):
        jobs.start(key, lambda report: gate.wait(60))
    with pytest.raises(Refusal, match="too many previews"):
        jobs.start("c", lambda report: None)
    gate.set()
    assert waited(jobs, "b") is None
    jobs.start("c", lambda report: None)
    jobs.close()


def test_the_end_of_the_server_ends_the_work() -> None:
    jobs = Jobs(waiting=2)
    begun = threading.Event()
    reports: list[int] = []

    def work(report: Callable[[float], None]) -> None:
        begun.set()
        while True:
            reports.append(1)
            report(0.1)

    jobs.start("a", work)
    assert begun.wait(60)
    jobs.close()  # returns only once the thread has ended
    count = len(reports)
    assert jobs.get("a") is not None
    assert len(reports) == count
