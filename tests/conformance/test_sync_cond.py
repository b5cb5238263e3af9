"""Condition variables, after Go's src/sync/cond_test.go."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import anyio
import pytest

from gochan import Channel, Cond, Group, Mutex, WaitGroup
from gochan.testing import explore

from .helpers import bounded, settle, until

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
Program = Callable[[], Coroutine[Any, Any, None]]


def _waiting(cond: Cond) -> int:
    return len(cond._state.waiters)


@bounded
async def test_cond_signal() -> None:
    """Two wait: one signal wakes one, the next signal the other; more signals are lost."""
    mutex = Mutex()
    cond, running, awake = Cond(mutex), Channel[bool](2), Channel[bool](2)

    async def waiter() -> None:
        await mutex.acquire()
        await running.send(True)
        await cond.wait()
        await awake.send(True)
        mutex.release()

    async with Group() as group:
        for _ in range(2):
            group.go(waiter)
        for _ in range(2):
            await running.receive()
        left = 2
        while left:
            await settle()
            assert len(awake) == 0
            async with mutex:
                cond.signal()
            await awake.receive()
            await settle()
            assert len(awake) == 0
            left -= 1
        cond.signal()


@bounded
async def test_cond_signal_generations() -> None:
    """A hundred wait; each that is woken signals the next: they wake in the order in which they came."""
    mutex, woken = Mutex(), list[int]()
    cond, running, awake = Cond(mutex), Channel[bool](100), Channel[int](100)

    async def waiter(number: int) -> None:
        await mutex.acquire()
        await running.send(True)
        await cond.wait()
        await awake.send(number)
        mutex.release()

    async with Group() as group:
        for number in range(100):
            group.go(waiter, number)
            if number:
                woken.append(await awake.receive())
            await running.receive()
            async with mutex:
                cond.signal()
        woken.append(await awake.receive())
    assert woken == list(range(100))


@bounded
async def test_cond_broadcast() -> None:
    """Two hundred wait, round after round: each is woken once a round, and all come to the end."""
    count, rounds = 200, 5
    mutex, stop = Mutex(), False
    cond, running, awake = Cond(mutex), Channel[int](count), Channel[int](count)

    async def waiter(number: int) -> None:
        await mutex.acquire()
        while not stop:
            await running.send(number)
            await cond.wait()
            await awake.send(number)
        mutex.release()

    async with Group() as group:
        for number in range(count):
            group.go(waiter, number)
        for round_ in range(rounds):
            for _ in range(count):
                await running.receive()
            if round_ == rounds - 1:
                async with mutex:
                    stop = True
            assert len(awake) == 0
            async with mutex:
                cond.broadcast()
            assert sorted([await awake.receive() for _ in range(count)]) == list(range(count))
            await settle()
            assert len(awake) == 0
        cond.broadcast()


async def _race() -> None:
    """Three goroutines hand a number on, one Cond for all."""
    step = 0
    mutex = Mutex()
    cond, done = Cond(mutex), Channel[bool]()

    async def first() -> None:
        nonlocal step
        async with mutex:
            step = 1
            await cond.wait()
            step = 3
            cond.signal()
        await done.send(True)

    async def second() -> None:
        nonlocal step
        await mutex.acquire()
        while True:
            if step == 1:
                step = 2
                cond.signal()
                break
            mutex.release()
            await anyio.lowlevel.checkpoint()
            await mutex.acquire()
        mutex.release()
        await done.send(True)

    async def third() -> None:
        nonlocal step
        await mutex.acquire()
        while True:
            if step == 2:
                await cond.wait()
                assert step == 3
                break
            if step == 3:
                break
            mutex.release()
            await anyio.lowlevel.checkpoint()
            await mutex.acquire()
        mutex.release()
        await done.send(True)

    async with Group() as group:
        for start in (first, second, third):
            group.go(start)
        for _ in range(3):
            await done.receive()


async def _stealing() -> None:
    """A waiter that came first is not robbed of a broadcast by one that came late."""
    mutex = Mutex()
    cond, entered, first, stop = Cond(mutex), Channel[None](), False, False
    finished = WaitGroup()

    async def early() -> None:
        nonlocal first
        await mutex.acquire()
        await entered.send(None)
        await cond.wait()
        first = True
        mutex.release()
        finished.done()

    async def late() -> None:
        async with mutex:
            while not stop:
                await cond.wait()
        finished.done()

    finished.add(2)
    async with Group() as group:
        group.go(early)
        await entered.receive()
        async with mutex:  # free once the first one waits
            pass
        group.go(late)
        cond.broadcast()
        for _ in range(30):
            await anyio.lowlevel.checkpoint()
        async with mutex:
            stop = True
            assert first
            cond.broadcast()
        await finished.wait()


@backends
@pytest.mark.parametrize("program", [_race, _stealing])
def test_cond_under_many_schedules(program: Program, backend: Backend) -> None:
    """A hand-over in three steps; and who came early cannot lose a broadcast to who came late."""
    explore(program, backend=backend, runs=100)


@bounded
async def test_cond_race_and_stealing() -> None:
    """The same in an ordinary loop."""
    for _ in range(20):
        await _race()
        await _stealing()


def test_cond_copy() -> None:
    """Copying one is detected."""
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.copy(Cond(Mutex()))


@bounded
async def test_cond_with_nobody_waiting() -> None:
    """Signals and broadcasts before a wait do not count for it."""
    mutex = Mutex()
    cond = Cond(mutex)
    cond.signal()
    cond.broadcast()

    async def wait() -> None:
        async with mutex:
            await cond.wait()

    async with Group() as group:
        waiter = group.go(wait)
        await until(lambda: _waiting(cond) == 1)
        await settle()
        assert not waiter.done.is_set()
        cond.signal()
