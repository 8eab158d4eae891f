import asyncio
import threading

import pytest
from starlette.exceptions import HTTPException

from dreamprvr.serve.workers import Check, Stopped, Workers


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
    for refusal in results[3:]:
        assert isinstance(refusal, HTTPException)
        assert (refusal.status_code, refusal.headers) == (503, {"Retry-After": "1"})
        assert refusal.detail == "too many searches at once; try again in a second"


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


def worked(begun: threading.Event, ended: list[str], check: Check) -> None:
    """Work until the check ends it."""
    begun.set()
    try:
        while True:
            check()
    except Stopped:
        ended.append("stopped")
        raise


@pytest.mark.parametrize("by", ["the client", "the server"])
def test_long_work_ends_if_nobody_waits_for_it(by: str) -> None:
    begun, ended = threading.Event(), []

    async def scene() -> None:
        workers = Workers("clips", threads=1, waiting=5)
        task = asyncio.create_task(workers.run_long(worked, begun, ended))
        await asyncio.to_thread(begun.wait, 60)
        if by == "the client":
            task.cancel()
        else:
            await asyncio.to_thread(workers.close)
        with pytest.raises((asyncio.CancelledError, Stopped)):
            await task
        workers.close()

    asyncio.run(scene())
    assert ended == ["stopped"]
