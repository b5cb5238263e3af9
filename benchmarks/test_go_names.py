"""Go's own benchmarks, by Go's names, in the shape of `runtime/chan_test.go` and `runtime/proc_test.go` with one P.

Each runs on asyncio and on trio. `extra_info["ns_per_op"]` is what `go test -bench` prints as ns/op.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from time import thread_time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gochan import Channel, Group, select, send, try_select

from .harness import Backend, BackendName, Workload

ROUNDS = 15


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    name: BackendName = request.param
    with Backend(name) as backend:
        yield backend


def _collect() -> None:
    gc.collect()


def _measure(
    benchmark: BenchmarkFixture, backend: Backend, workload: Workload, operations: int, rounds: int = ROUNDS
) -> None:
    times: list[float] = []
    backend.turn(workload, max(1, operations // 10))
    benchmark.group = backend.name
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: times.append(backend.turn(workload, operations)), setup=_collect, rounds=rounds
    )
    benchmark.extra_info["ns_per_op"] = min(times) / operations * 1e9


async def _chan_sync(n: int) -> float:
    ch = Channel[int]()

    async def ping() -> None:
        for _ in range(n // 2):
            await ch.send(0)
            await ch.receive()

    async def pong() -> None:
        for _ in range(n // 2):
            await ch.receive()
            await ch.send(0)

    start = thread_time()
    async with Group() as group:
        group.go(ping)
        group.go(pong)
    return thread_time() - start


def test_chan_sync(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkChanSync: a token goes to and fro over one unbuffered channel; an operation is one hand-off."""
    _measure(benchmark, backend, _chan_sync, 5_000)


@pytest.mark.parametrize("capacity", [0, 10, 100])
def test_chan_prod_cons(benchmark: BenchmarkFixture, backend: Backend, capacity: int) -> None:
    """BenchmarkChanProdCons0/10/100: one goroutine sends, one receives; an operation is one value."""

    async def workload(n: int) -> float:
        ch = Channel[int](capacity)

        async def producer() -> None:
            for i in range(n):
                await ch.send(i)

        async def consumer() -> None:
            for _ in range(n):
                await ch.receive()

        start = thread_time()
        async with Group() as group:
            group.go(producer)
            group.go(consumer)
        return thread_time() - start

    _measure(benchmark, backend, workload, 5_000)


async def _chan_uncontended(n: int) -> float:
    ch = Channel[int](100)
    start = thread_time()
    for _ in range(n // 100):
        for i in range(100):
            await ch.send(i)
        for _ in range(100):
            await ch.receive()
    return thread_time() - start


def test_chan_uncontended(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkChanUncontended: one task fills and drains a buffer of 100; an operation is one value in and out."""
    _measure(benchmark, backend, _chan_uncontended, 20_000)


async def _select_uncontended(n: int) -> float:
    a, b = Channel[int](1), Channel[int](1)
    a.send_nowait(0)
    start = thread_time()
    for _ in range(n):
        match await select(a, b):
            case (0, _):
                await b.send(0)
            case _:
                await a.send(0)
    return thread_time() - start


def test_select_uncontended(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkSelectUncontended: one of two channels is always ready; an operation is one select and one send."""
    _measure(benchmark, backend, _select_uncontended, 5_000)


async def _select_nonblock(n: int) -> float:
    unbuffered_a, unbuffered_b = Channel[int](), Channel[int]()
    buffered_a, buffered_b = Channel[int](1), Channel[int](1)
    start = thread_time()
    for _ in range(n):
        try_select(unbuffered_a)
        try_select(send(unbuffered_b, 0))
        try_select(buffered_a)
        try_select(send(buffered_b, 0))
    return thread_time() - start


def test_select_nonblock(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkSelectNonblock: four selects with a default, none or hardly ever ready; an operation is all four."""
    _measure(benchmark, backend, _select_nonblock, 2_000)


async def _chan_popular(n: int) -> float:
    shared = Channel[bool]()
    own = [Channel[bool]() for _ in range(1_000)]

    async def waiter(mine: Channel[bool]) -> None:
        for _ in range(n):
            await select(shared, mine)

    async with Group() as group:
        for ch in own:
            group.go(waiter, ch)
        start = thread_time()
        for _ in range(n):
            for ch in own:
                await ch.send(True)
    return thread_time() - start


def test_chan_popular(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkChanPopular: a thousand goroutines select over a shared channel and one of their own.

    An operation is one send to each of them.
    """
    _measure(benchmark, backend, _chan_popular, 10, rounds=5)


async def _create_goroutines(n: int) -> float:
    done = Channel[bool]()

    async with Group() as group:

        async def link(left: int) -> None:
            if left:
                group.go(link, left - 1)
            else:
                await done.send(True)

        start = thread_time()
        group.go(link, n)
        await done.receive()
        end = thread_time()
    return end - start


def test_create_goroutines(benchmark: BenchmarkFixture, backend: Backend) -> None:
    """BenchmarkCreateGoroutines: a chain of goroutines, each made by the one before; an operation is one goroutine."""
    _measure(benchmark, backend, _create_goroutines, 2_000)
