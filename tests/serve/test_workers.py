import asyncio
import threading
from collections.abc import Callable

import pytest
from starlette.exceptions import HTTPException

from dreamprvr.core.errors import UserError
from dreamprvr.serve.schema import PreviewState
from dreamprvr.serve.workers import Jobs, Stopped, Workers, too_many


def test_work_above_the_limit_is_refused_at_once() -> None:
    async def scene() -> list[object]:
        workers = Workers("searches", threads=1, waiting=2)
        gate = threading.Event()
        tasks = [asyncio.create_task(workers.run(gate.wait, 60)) for _ in range(5)]
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert await workers.run(str, 7) == "7"  # there is room again
        workers.close()
        return results

    results = asyncio.run(scene())
    assert results[:3] == [True] * 3
    refusals = results[3:]
    assert all(isinstance(error, HTTPException) and error.status_code == 503 for error in refusals)


def test_one_thread_runs_one_piece_at_a_time() -> None:
    inside: list[int] = []

    def work() -> None:
        inside.append(1)
        assert sum(inside) == 1
        inside.append(-1)

    async def scene() -> None:
        workers = Workers("searches", threads=1, waiting=100)
        await asyncio.gather(*(workers.run(work) for _ in range(100)))
        workers.close()

    asyncio.run(scene())
    assert len(inside) == 200


def test_errors_come_back_and_free_the_place() -> None:
    async def scene() -> None:
        workers = Workers("clips", threads=1, waiting=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await workers.run(lambda: 1 / 0)
        assert workers.inside == 0
        workers.close()

    asyncio.run(scene())


def test_cancelled_work_that_waits_is_never_begun() -> None:
    begun: list[str] = []

    async def scene() -> None:
        workers = Workers("searches", threads=1, waiting=5)
        gate = threading.Event()
        first = asyncio.create_task(workers.run(gate.wait, 60))
        second = asyncio.create_task(workers.run(begun.append, "second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        await first
        await workers.run(begun.append, "third")
        workers.close()

    asyncio.run(scene())
    assert begun == ["third"]


def test_a_busy_server_gives_a_time_to_retry() -> None:
    refusal = too_many("searches")
    assert (refusal.status_code, refusal.headers) == (503, {"Retry-After": "1"})
    assert refusal.detail == "too many searches at once; try again in a second"


def waited(jobs: Jobs, key: str) -> PreviewState | None:
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
def test_failed_work_gives_the_reason_and_can_be_retried(error: Exception, message: str) -> None:
    jobs = Jobs(waiting=2)

    def fail(report: Callable[[float], None]) -> None:
        raise error

    jobs.start("a", fail)
    assert waited(jobs, "a") == PreviewState(state="failed", done=0.0, message=message)
    jobs.start("a", lambda report: None)
    assert waited(jobs, "a") is None
    jobs.close()


def test_the_queue_of_jobs_is_bounded() -> None:
    jobs = Jobs(waiting=2)
    gate = threading.Event()
    for key in ("a", "b"):
        jobs.start(key, lambda report: gate.wait(60))
    with pytest.raises(HTTPException, match="too many previews"):
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
    with pytest.raises(Stopped):  # so does the work of other threads
        jobs.check(0.5)
