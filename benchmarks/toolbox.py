"""What the contenders of the toolbox do: locks, counters, contexts, timers. As in `workloads`, each returns seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import thread_time
from typing import Any

import anyio

from gochan import Context, Event, Group, Mutex, Semaphore, Timer, WaitGroup, background
from gochan._core.driver import current_driver

from .harness import Workload

TASKS = 10  # that compete for one lock


def _aiologic(name: str) -> Any:
    import aiologic

    return getattr(aiologic, name)()


def _lock(kind: str) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        "gochan": Mutex,
        "asyncio": asyncio.Lock,
        "anyio": anyio.Lock,
        "anyio fast": lambda: anyio.Lock(fast_acquire=True),
        "aiologic": lambda: _aiologic("Lock"),
    }
    return makers[kind]()


# ---- locks ----


def lock_pair(kind: str) -> Workload:
    """Acquire and release by one task: nobody competes."""

    async def workload(n: int) -> float:
        lock = _lock(kind)
        acquire = lock.async_acquire if kind == "aiologic" else lock.acquire
        release = lock.async_release if kind == "aiologic" else lock.release
        start = thread_time()
        for _ in range(n):
            await acquire()
            release()
        return thread_time() - start

    return workload


def lock_block(kind: str) -> Workload:
    """`async with`, by one task."""

    async def workload(n: int) -> float:
        lock = _lock(kind)
        start = thread_time()
        for _ in range(n):
            async with lock:
                pass
        return thread_time() - start

    return workload


async def _together(work: Callable[[int], Awaitable[None]], n: int) -> float:
    start = thread_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(work(n // TASKS))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return thread_time() - start


def lock_contended(kind: str) -> Workload:
    """Ten tasks that each hold the lock for one turn of the loop."""

    async def workload(n: int) -> float:
        lock = _lock(kind)

        async def work(times: int) -> None:
            for _ in range(times):
                async with lock:
                    await asyncio.sleep(0)

        return await _together(work, n)

    return workload


# ---- semaphores, events, counters ----


def semaphore(kind: str) -> Workload:
    """Ten tasks and three permits, each held for one turn of the loop."""

    async def workload(n: int) -> float:
        makers: dict[str, Callable[[], Any]] = {
            "gochan": lambda: Semaphore(3),
            "asyncio": lambda: asyncio.Semaphore(3),
            "anyio": lambda: anyio.CapacityLimiter(3),
        }
        permits = makers[kind]()

        async def work(times: int) -> None:
            for _ in range(times):
                async with permits.hold() if kind == "gochan" else permits:
                    await asyncio.sleep(0)

        return await _together(work, n)

    return workload


def event(kind: str) -> Workload:
    """One event for all tasks: park, set, resume, a task."""

    async def workload(n: int) -> float:
        happened: Any = Event() if kind == "gochan" else asyncio.Event()
        with anyio.move_on_after(0):  # the first wait finds out which loop runs; tasks inherit that
            await happened.wait()
        tasks = [asyncio.create_task(happened.wait()) for _ in range(n)]
        start = thread_time()
        await asyncio.sleep(0)
        happened.set()
        for task in tasks:
            await task
        return thread_time() - start

    return workload


async def wait_group_counts(n: int) -> float:
    """`add`, `done`, and one that waits for all."""
    group = WaitGroup()
    start = thread_time()
    for _ in range(n):
        group.add()
    waiter = asyncio.create_task(group.wait())
    await asyncio.sleep(0)
    for _ in range(n):
        group.done()
    await waiter
    return thread_time() - start


async def _turn() -> None:
    await asyncio.sleep(0)


async def wait_group_go(n: int) -> float:
    """`wg.go` and `wait`."""
    async with Group():
        group = WaitGroup()
        start = thread_time()
        for _ in range(n):
            group.go(_turn)
        await group.wait()
        return thread_time() - start


async def gather(n: int) -> float:
    """The same by asyncio's gather."""
    start = thread_time()
    await asyncio.gather(*(_turn() for _ in range(n)))
    return thread_time() - start


# ---- contexts ----


def _grow(root: Context, nodes: int, fan: int) -> None:
    level = [root]
    made = 0
    while made < nodes:
        following: list[Context] = []
        for parent in level:
            for _ in range(min(fan, nodes - made)):
                following.append(parent.with_cancel())
                made += 1
        level = following


def context_tree(nodes: int, fan: int) -> Workload:
    """Cancel trees of so many nodes, `n` nodes in all; the growing is not timed."""

    async def workload(n: int) -> float:
        seconds = 0.0
        for _ in range(max(1, n // nodes)):
            root = background().with_cancel()
            _grow(root, nodes, fan)
            start = thread_time()
            root.cancel()
            seconds += thread_time() - start
        return seconds * n / (max(1, n // nodes) * nodes)

    return workload


async def context_child(n: int) -> float:
    """A child and its end, below one parent."""
    with background().with_cancel() as parent:
        start = thread_time()
        for _ in range(n):
            parent.with_cancel().cancel()
        return thread_time() - start


async def context_timeout(n: int) -> float:
    """A child with a deadline that is not reached."""
    with background().with_cancel() as parent:
        start = thread_time()
        for _ in range(n):
            parent.with_timeout(60).cancel()
        return thread_time() - start


async def asyncio_timeout(n: int) -> float:
    """`asyncio.timeout` around nothing."""
    start = thread_time()
    for _ in range(n):
        async with asyncio.timeout(60):
            pass
    return thread_time() - start


async def context_scope(n: int) -> float:
    """A child with a deadline, and its scope around nothing."""
    with background().with_cancel() as parent:
        start = thread_time()
        for _ in range(n):
            with parent.with_timeout(60) as ctx:
                async with ctx.scope():
                    pass
        return thread_time() - start


async def anyio_timeout(n: int) -> float:
    """`anyio.fail_after` around nothing."""
    start = thread_time()
    for _ in range(n):
        with anyio.fail_after(60):
            pass
    return thread_time() - start


# ---- timers ----


def timers(pending: int) -> Workload:
    """Set and take back a timer of the loop while so many others are pending."""

    async def workload(n: int) -> float:
        driver = current_driver()
        assert driver is not None
        now = driver.clock()
        others = [driver.call_at(now + 3600 + i % 977, _nothing) for i in range(pending)]
        start = thread_time()
        for i in range(n):
            driver.call_at(now + 60 + i % 613, _nothing).cancel()
        seconds = thread_time() - start
        for alarm in others:
            alarm.cancel()
        return seconds

    return workload


async def call_later(n: int) -> float:
    """The same with the loop's own timers, none other pending."""
    loop = asyncio.get_running_loop()
    start = thread_time()
    for i in range(n):
        loop.call_later(60 + i % 613, _nothing).cancel()
    return thread_time() - start


def _nothing() -> None:
    pass


def waiting_timers(count: int) -> Workload:
    """Tasks that wait for timers, so many at a time: until all have been set and have fired."""

    async def workload(n: int) -> float:
        seconds = 0.0
        for _ in range(max(1, n // count)):
            tasks = [asyncio.create_task(Timer(0.0001).wait()) for _ in range(count)]
            start = thread_time()
            for task in tasks:
                await task
            seconds += thread_time() - start
        return seconds * n / (max(1, n // count) * count)

    return workload


def sleeping_tasks(count: int) -> Workload:
    """The same with `asyncio.sleep`."""

    async def workload(n: int) -> float:
        seconds = 0.0
        for _ in range(max(1, n // count)):
            tasks = [asyncio.create_task(asyncio.sleep(0.0001)) for _ in range(count)]
            start = thread_time()
            for task in tasks:
                await task
            seconds += thread_time() - start
        return seconds * n / (max(1, n // count) * count)

    return workload
