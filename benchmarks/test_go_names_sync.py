"""Go's own benchmarks of `sync`, `context` and `time`, by Go's names, in their shape with one P.

As in `test_go_names.py`, each runs on asyncio and on trio, and `extra_info["ns_per_op"]` is Go's ns/op.
"""

from __future__ import annotations

from time import thread_time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gochan import Cond, Context, Group, Mutex, Once, RWMutex, Semaphore, SingleFlight, Timer, WaitGroup, background

from .harness import Backend, Workload
from .test_go_names import _measure, backend

__all__ = ["backend"]


async def _mutex_uncontended(n: int) -> float:
    mutex = Mutex()
    start = thread_time()
    for _ in range(n):
        await mutex.acquire()
        mutex.release()
    return thread_time() - start


def test_mutex_uncontended(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkMutexUncontended: lock and unlock."""
    _measure(benchmark, backend, _mutex_uncontended, 20_000)


async def _mutex(n: int) -> float:
    mutex = Mutex()

    async def work() -> None:
        for _ in range(n // 10):
            async with mutex:
                pass

    start = thread_time()
    async with Group() as group:
        for _ in range(10):
            group.go(work)
    return thread_time() - start


def test_mutex(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkMutex: ten goroutines and one lock."""
    _measure(benchmark, backend, _mutex, 10_000)


async def _rwmutex_read(n: int) -> float:
    mutex = RWMutex()
    start = thread_time()
    for _ in range(n):
        await mutex.acquire_read()
        mutex.release_read()
    return thread_time() - start


def test_rwmutex_uncontended(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkRWMutexUncontended: read lock and unlock."""
    _measure(benchmark, backend, _rwmutex_read, 20_000)


async def _wait_group(n: int) -> float:
    group = WaitGroup()
    start = thread_time()
    for _ in range(n):
        group.add()
        group.done()
        await group.wait()
    return thread_time() - start


def test_wait_group_uncontended(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkWaitGroupUncontended: add, done, wait."""
    _measure(benchmark, backend, _wait_group, 10_000)


async def _once(n: int) -> float:
    once = Once()
    start = thread_time()
    for _ in range(n):
        await once.do(int)
    return thread_time() - start


def test_once(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkOnce: do, when it is done."""
    _measure(benchmark, backend, _once, 20_000)


@pytest.mark.parametrize("waiters", [1, 2, 8, 32])
def test_cond(benchmark: BenchmarkFixture, backend: Backend, waiters: int) -> None:
    """BenchmarkCond1 to 32: so many wait in turn, woken by a broadcast of the one before; an operation is a round."""

    async def workload(n: int) -> float:
        mutex, number = Mutex(), 0
        changed = Cond(mutex)

        async def work(me: int) -> None:
            nonlocal number
            while number >= 0:
                async with mutex:
                    while number % (waiters + 1) != me and number >= 0:
                        await changed.wait()
                    if number >= 0:
                        number += 1
                        if number >= n:
                            number = -1
                    changed.broadcast()

        start = thread_time()
        async with Group() as group:
            for me in range(waiters + 1):
                group.go(work, me)
        return thread_time() - start

    _measure(benchmark, backend, workload, 500)


async def _semaphore(n: int) -> float:
    places = Semaphore(1)
    start = thread_time()
    for _ in range(n):
        await places.acquire()
        places.release()
    return thread_time() - start


def test_semaphore(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkAcquireSeq of x/sync: acquire and release 1 of 1."""
    _measure(benchmark, backend, _semaphore, 10_000)


async def _single_flight(n: int) -> float:
    flights = SingleFlight[int, int]()
    start = thread_time()
    for i in range(n):
        await flights.do(i, int, 7)
    return thread_time() - start


def test_single_flight(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """A flight of a plain function for a key of its own."""
    _measure(benchmark, backend, _single_flight, 2_000)


def _cancel_tree(depth: int) -> Workload:
    async def workload(n: int) -> float:
        start = thread_time()
        for _ in range(max(1, n // depth)):
            root = background().with_cancel()
            leaf: Context = root
            for _ in range(depth):
                leaf = leaf.with_cancel()
            root.cancel()
        return thread_time() - start

    return workload


@pytest.mark.parametrize("depth", [1, 10, 100, 1000])
def test_cancel_tree(benchmark: BenchmarkFixture, backend: Backend, depth: int) -> None:
    """BenchmarkCancelTree: a chain of so many is made and cancelled; an operation is one context."""
    _measure(benchmark, backend, _cancel_tree(depth), 2_000)


async def _common_parent(n: int) -> float:
    with background().with_cancel() as root:
        start = thread_time()
        for _ in range(n):
            root.with_cancel().cancel()
        return thread_time() - start


def test_common_parent_cancel(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkCommonParentCancel: a child of one parent is made and cancelled."""
    _measure(benchmark, backend, _common_parent, 5_000)


async def _with_timeout(n: int) -> float:
    start = thread_time()
    for _ in range(n):
        background().with_timeout(3600).cancel()
    return thread_time() - start


def test_with_timeout(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkWithTimeout: a context with a deadline is made and cancelled."""
    _measure(benchmark, backend, _with_timeout, 2_000)


async def _check_cancelled(n: int) -> float:
    ctx = background().with_cancel()
    start = thread_time()
    for _ in range(n):
        if ctx.err is not None:
            raise AssertionError
    return thread_time() - start


def test_check_cancelled(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkCheckCanceled: `ctx.err` of one that is not done."""
    _measure(benchmark, backend, _check_cancelled, 20_000)


async def _timers(n: int) -> float:
    start = thread_time()
    for _ in range(n):
        Timer(3600).stop()
    return thread_time() - start


def test_start_stop(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkStartStop: a timer is made and stopped."""
    _measure(benchmark, backend, _timers, 10_000)
