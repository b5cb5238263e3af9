"""Worker pools: every job once, so many at a time, and how it ends."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import anyio
import pytest
from tests.conformance.helpers import receivers_parked, settle, until

from gochan import Broadcast, Channel, ChannelClosed, Group, merge, worker_pool
from gochan.diagnostics import goroutines
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def jobs_of(count: int) -> Channel[int]:
    """A closed channel of so many jobs."""
    jobs = Channel[int](math.inf)
    for job in range(count):
        jobs.send_nowait(job)
    jobs.close()
    return jobs


async def square(number: int) -> int:
    await anyio.sleep(0)
    return number * number


# ---- all goes well ----


@pytest.mark.parametrize("workers", [1, 3, 50])
async def test_every_job_once(workers: int) -> None:
    """All results, then the end of the channel; more workers than jobs do no harm."""
    results = Channel[int](math.inf)
    with anyio.fail_after(5):
        await worker_pool(square, jobs_of(20), workers=workers, results=results)
    assert sorted([result async for result in results]) == [number * number for number in range(20)]


async def test_without_results() -> None:
    """What the function returns is dropped."""
    done = list[int]()

    async def work(job: int) -> None:
        done.append(job)

    with anyio.fail_after(5):
        await worker_pool(work, jobs_of(5), workers=2)
    assert sorted(done) == list(range(5))


async def test_jobs_that_come_later() -> None:
    """The pool waits for jobs while the channel is open."""
    jobs, results = Channel[int](), Channel[int](math.inf)
    with anyio.fail_after(5):
        async with Group() as group:
            group.go(functools.partial(worker_pool, square, jobs, workers=3, results=results))
            for job in range(5):
                await jobs.send(job)
            await receivers_parked(jobs, 3)
            assert not results.closed
            jobs.close()
    assert results.closed
    assert len(results) == 5


@pytest.mark.gochan(virtual_time=True)
async def test_so_many_at_a_time() -> None:
    """Never more than there are workers, and never fewer while there are jobs."""
    running = most = 0

    async def work(job: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(1)
        running -= 1

    start = anyio.current_time()
    await worker_pool(work, jobs_of(12), workers=4)
    assert most == 4
    assert anyio.current_time() - start == pytest.approx(3)


@pytest.mark.gochan(virtual_time=True)
async def test_results_come_as_they_are_ready() -> None:
    """Not in the order of the jobs."""
    results = Channel[float](math.inf)
    jobs = Channel[float](3)
    for seconds in (3.0, 1.0, 2.0):
        await jobs.send(seconds)
    jobs.close()

    async def wait(seconds: float) -> float:
        await anyio.sleep(seconds)
        return seconds

    await worker_pool(wait, jobs, workers=3, results=results)
    assert await results.receive_many() == [1.0, 2.0, 3.0]


async def test_full_results_slow_it_down() -> None:
    """A worker takes no other job before its result was accepted."""
    jobs, results = jobs_of(10), Channel[int](1)
    with anyio.fail_after(5):
        async with Group() as group:
            group.go(functools.partial(worker_pool, square, jobs, workers=2, results=results))
            await until(lambda: results.statistics().senders_waiting == 2)
            await settle()
            assert len(jobs) == 10 - 3  # one result in the buffer, two with the workers
            assert len([result async for result in results]) == 10


async def test_jobs_of_every_kind() -> None:
    """A subscription and a merge give jobs as a channel does; a pipeline is made of pools."""
    broadcast = Broadcast[int](20)
    subscription = broadcast.subscribe()
    for job in range(5):
        await broadcast.publish(job)
    broadcast.close()
    squares, results = Channel[int](), Channel[int](math.inf)
    with anyio.fail_after(5):
        async with merge(subscription, jobs_of(5)) as jobs, Group() as group:
            group.go(functools.partial(worker_pool, square, jobs, workers=2, results=squares))
            group.go(functools.partial(worker_pool, square, squares, workers=3, results=results))
    assert sorted(await results.receive_many()) == sorted([number**4 for number in range(5)] * 2)


# ---- it does not ----


async def test_a_failure_cancels_the_rest() -> None:
    """It comes out in an ExceptionGroup, is the cause of the end of the results, and leaves the jobs that were left."""
    jobs, results, ends = jobs_of(10), Channel[int](math.inf), list[str]()
    error = KeyError("broken")

    async def work(job: int) -> int:
        if job < 2:
            return job
        if job == 4:
            raise error
        try:
            await anyio.sleep_forever()
        finally:
            ends.append(f"{job} cancelled")
        return job

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        await worker_pool(work, jobs, workers=3, results=results)
    assert caught.value.exceptions == (error,)
    assert sorted(ends) == ["2 cancelled", "3 cancelled"]
    assert await jobs.receive() == 5
    got = list[int]()
    with pytest.raises(ChannelClosed) as end:
        async for result in results:
            got.append(result)
    assert got == [0, 1]
    assert end.value.__cause__ is caught.value


async def test_jobs_closed_with_a_cause() -> None:
    """What was there is worked on; then the failure goes on, by the pool and by the results."""
    cause = KeyError("upstream")
    jobs, results = Channel[int](3), Channel[int](3)
    for job in range(3):
        await jobs.send(job)
    jobs.close(cause)
    with anyio.fail_after(5), pytest.raises(ChannelClosed) as caught:
        await worker_pool(square, jobs, workers=2, results=results)
    assert caught.value.__cause__ is cause
    assert sorted(await results.receive_many()) == [0, 1, 4]
    with pytest.raises(ChannelClosed) as end:
        await anext(results)
    assert end.value.__cause__ is caught.value


async def test_results_that_nobody_wants() -> None:
    """Closed by the one who receives, they end the pool: there is nobody to work for."""
    jobs, results = jobs_of(10), Channel[int]()
    with anyio.fail_after(5):
        with pytest.raises(ExceptionGroup) as caught:
            async with Group() as group:
                group.go(functools.partial(worker_pool, square, jobs, workers=2, results=results))
                assert await results.receive() in {0, 1}
                results.close()
    assert caught.group_contains(ChannelClosed)
    assert len(jobs) >= 6


@backends
def test_cancelled_at_every_point(backend: Backend) -> None:
    """No worker is left, the results are closed plainly, and a job that no worker took is still there."""

    class Scene:
        def __init__(self) -> None:
            self.jobs = jobs_of(4)
            self.results = Channel[int](1)
            self.begun = 0
            self.working = 0
            self.got = list[int]()

    async def receive(scene: Scene) -> None:
        async for result in scene.results:
            await anyio.sleep(1)
            scene.got.append(result)

    async def setup() -> Scene:
        import gochan

        scene = Scene()
        gochan.go(receive, scene)
        return scene

    async def operation(scene: Scene) -> None:
        async def work(job: int) -> int:
            scene.begun += 1
            scene.working += 1
            try:
                await anyio.sleep(job)
            finally:
                scene.working -= 1
            return job

        await worker_pool(work, scene.jobs, workers=2, results=scene.results)

    def check(scene: Scene, outcome: CancelOutcome) -> None:
        assert scene.working == 0
        assert scene.results.closed
        assert scene.begun + len(scene.jobs) == 4
        if outcome.returned:
            assert scene.begun == 4

    assert cancel_sweep(setup, operation, check, backend=backend).points > 0


@backends
def test_under_every_schedule(backend: Backend) -> None:
    """A producer, a pool and a consumer: every result, then the end."""

    async def main() -> None:
        jobs, results, got = Channel[int](1), Channel[int](), list[int]()

        async def produce() -> None:
            with jobs:
                for job in range(5):
                    await jobs.send(job)

        async with Group() as group:
            group.go(produce)
            group.go(functools.partial(worker_pool, square, jobs, workers=2, results=results))
            async for result in results:
                got.append(result)
        assert sorted(got) == [0, 1, 4, 9, 16]

    explore(main, backend=backend, runs=100)


async def test_workers_in_a_dump() -> None:
    """Idle ones wait in "chan receive" for the jobs, under the name of their function."""
    jobs = Channel[int](name="jobs")
    with anyio.fail_after(5):
        async with Group() as group:
            group.go(functools.partial(worker_pool, square, jobs, workers=2), name="pool")
            await receivers_parked(jobs, 2)
            seen = [(one.name, one.state, one.waiting_on) for one in goroutines()]
            assert seen.count(("square", "chan receive", ("jobs",))) == 2
            assert [state for name, state, _ in seen if name == "pool"] == ["goroutine wait"]
            jobs.close()


# ---- misuse ----


@pytest.mark.parametrize(
    ("workers", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), (None, TypeError)],
)
async def test_a_bad_number_of_workers(workers: Any, error: type[Exception]) -> None:
    """Refused at once; no job is taken and the results stay open."""
    jobs, results = jobs_of(1), Channel[int](1)
    with pytest.raises(error, match="worker"):
        await worker_pool(square, jobs, workers=workers, results=results)
    assert len(jobs) == 1
    assert not results.closed


async def test_a_plain_function_is_refused() -> None:
    """As by ``go``: with the way out."""
    plain: Any = abs
    jobs = jobs_of(1)
    with pytest.raises(TypeError, match=r"worker_pool.*to_thread"):
        await worker_pool(plain, jobs, workers=1)
    assert len(jobs) == 1


async def test_what_is_no_channel_is_refused() -> None:
    """Jobs and results alike."""
    nothing: Any = [1, 2]
    with pytest.raises(TypeError, match="jobs is a channel"):
        await worker_pool(square, nothing, workers=1)
    with pytest.raises(TypeError, match="results is a channel"):
        await worker_pool(square, jobs_of(1), workers=1, results=nothing)
