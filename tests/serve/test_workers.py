import asyncio
import threading

import pytest

from dreamprvr.serve.replies import Refusal
from dreamprvr.serve.workers import Workers


def test_what_does_not_fit_is_refused_at_once() -> None:
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
    assert all(isinstance(error, Refusal) and error.status == 503 for error in refusals)


def test_one_thread_is_a_lock() -> None:
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


def test_what_was_given_up_is_never_begun() -> None:
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
