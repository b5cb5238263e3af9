"""The weighted semaphore, after Go's x/sync/semaphore/semaphore_test.go."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import anyio
import pytest

from gochan import Channel, Group, Semaphore
from gochan.testing import explore

from .helpers import blocks, bounded, settle

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def _can(semaphore: Semaphore, n: int) -> bool:
    """TryAcquire."""
    try:
        semaphore.acquire_nowait(n)
    except anyio.WouldBlock:
        return False
    return True


async def _hammer(semaphore: Semaphore, n: int, loops: int) -> None:
    numbers = random.Random(n)
    for _ in range(loops):
        async with semaphore.hold(n):
            assert semaphore.held <= semaphore.size
            for _ in range(numbers.randrange(3)):
                await anyio.lowlevel.checkpoint()
        semaphore._state._check()


@bounded
async def test_weighted() -> None:
    """Goroutines that take and give different amounts all come through, and everything is back at the end."""
    size = 4
    semaphore = Semaphore(size)
    async with Group() as group:
        for number in range(size):
            group.go(_hammer, semaphore, number + 1, 50)
    assert semaphore.held == 0


@pytest.mark.parametrize("n", [1, 5])
def test_weighted_panic(n: int) -> None:
    """More released than held is an error."""
    with pytest.raises(RuntimeError, match="semaphore released more than held"):
        Semaphore(1).release(n)


def test_weighted_try_acquire() -> None:
    """True while there is enough, false afterwards, and true again."""
    semaphore = Semaphore(2)
    tries = [_can(semaphore, 1), _can(semaphore, 1), _can(semaphore, 1)]
    semaphore.release(2)
    tries += [_can(semaphore, 1)]
    assert tries == [True, True, False, True]


@bounded
async def test_weighted_acquire() -> None:
    """The same with waiting: two go through, the third waits until something comes back."""
    semaphore = Semaphore(2)
    await semaphore.acquire()
    await semaphore.acquire()
    assert await blocks(semaphore.acquire)
    semaphore.release(2)
    assert not await blocks(semaphore.acquire)


@bounded
async def test_weighted_does_not_block_if_too_big() -> None:
    """Who asks for more than there is in all holds nobody up. (In Go it waits for its context; here it is refused.)"""
    semaphore = Semaphore(2)
    with pytest.raises(ValueError, match="more than the size"):
        await semaphore.acquire(3)

    async def use() -> None:
        await semaphore.acquire()
        await anyio.lowlevel.checkpoint()
        semaphore.release()

    async with Group() as group:
        for _ in range(10):
            group.go(use)


async def _large_request() -> None:
    """Small ones that come and go all the time cannot keep a large one from its turn."""
    size = 5
    semaphore, running = Semaphore(size), True

    async def small() -> None:
        while running:
            async with semaphore.hold(1):
                await anyio.lowlevel.checkpoint()

    async with Group() as group:
        for _ in range(size):
            group.go(small)
        for _ in range(3):
            async with semaphore.hold(size):
                assert semaphore.held == size
                semaphore._state._check()
            await anyio.lowlevel.checkpoint()
        running = False


async def _cancelled_in_front() -> None:
    """A cancelled request at the front does not keep the next one waiting that fits."""
    semaphore = Semaphore(10)
    await semaphore.acquire(1)

    async with Group() as group:
        large = group.go(semaphore.acquire, 10)
        while not semaphore._state.waiters:
            await anyio.lowlevel.checkpoint()
        small = group.go(semaphore.acquire, 1)
        large.cancel()
        await small.result()
        semaphore._state._check()
    assert semaphore.held == 2


async def _cancelled_while_granted() -> None:
    """Cancelled in the moment of the release: it has acquired or it has not, and nothing is lost."""
    semaphore, got = Semaphore(1), Channel[bool](1)
    await semaphore.acquire()

    async def acquire() -> None:
        await semaphore.acquire()
        got.send_nowait(True)

    async def release() -> None:
        semaphore.release()

    async with Group() as group:
        waiting = group.go(acquire)
        group.go(release)
        await anyio.lowlevel.checkpoint()
        waiting.cancel()
    assert semaphore.held == len(got)
    semaphore._state._check()


Program = Callable[[], Coroutine[Any, Any, None]]
programs = pytest.mark.parametrize("program", [_large_request, _cancelled_in_front, _cancelled_while_granted])


@programs
@bounded
async def test_programs(program: Program) -> None:
    """LargeAcquireDoesntStarve, AllocCancelDoesntStarve and AcquireCanceled in an ordinary loop."""
    for _ in range(5):
        await program()


@programs
@backends
def test_programs_under_many_schedules(program: Program, backend: Backend) -> None:
    """The same whatever the order."""
    explore(program, backend=backend, runs=100)


@bounded
async def test_alloc_cancel_does_not_starve_in_order() -> None:
    """Three wait behind a large one that is cancelled: all that fit go, in their order."""
    semaphore, order = Semaphore(3), list[int]()
    await semaphore.acquire(1)

    async def one(number: int) -> None:
        await semaphore.acquire(1)
        order.append(number)
        await settle()

    async with Group() as group:
        large = group.go(semaphore.acquire, 3)
        await settle()
        for number in range(3):
            group.go(one, number)
            await settle()
        assert order == []
        large.cancel()
        await settle()
        assert sorted(order) == [0, 1]
        semaphore.release(1)
    assert sorted(order) == [0, 1, 2]
