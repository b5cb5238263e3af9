"""The condition variable under cancellation: before the signal, after it, and while another has the mutex."""

from __future__ import annotations

import asyncio
from typing import Literal

import anyio
import pytest
from tests.conformance.helpers import bounded, settle, until
from tests.diagnostics.looking import info

import gochan
from gochan import Cond, Event, Group, Mutex, go
from gochan.testing import CancelOutcome, cancel_sweep, explore

from .stage import Stage

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@bounded
async def test_a_cancelled_wait_holds_the_mutex_when_it_raises() -> None:
    """It waits for it first, whoever has it; the signal after it goes to the next."""
    stage = Stage()
    async with Group() as group:
        first, second = await stage.start(group, 0, 1)
        async with stage.mutex:
            first.cancel()
            await settle()
            assert stage.cancelled == []
            assert stage.waiting == 1
            assert info(first).state == "sync.Mutex.Lock"
            stage.cond._state._check()
            stage.cond.signal()
            await settle()
            assert info(second).state == "sync.Mutex.Lock"
        await second.done.wait()
    assert (stage.cancelled, stage.woken) == ([0], [1])
    assert not stage.mutex.locked()


@bounded
async def test_a_signal_in_the_same_moment_goes_to_the_next() -> None:
    """Who has been cancelled is no longer waiting."""
    stage = Stage()
    async with Group() as group:
        first, _ = await stage.start(group, 0, 1)
        first.cancel()
        if stage.waiting == 2:  # trio and goroutines tell the task a turn later
            await settle(1)
        stage.cond.signal()
        await settle()
        assert (stage.cancelled, stage.woken) == ([0], [1])


@bounded
async def test_a_wait_that_was_signalled_returns_normally() -> None:
    """Though a cancellation comes while it waits for the mutex again; that is told at the next suspension."""
    stage, after = Stage(), list[str]()

    async def wait() -> None:
        await stage.wait()
        after.append("returned")
        await anyio.sleep(10)
        after.append("not cancelled")

    async with Group() as group:
        waiter = group.go(wait)
        await until(lambda: stage.waiting == 1)
        async with stage.mutex:
            stage.cond.signal()
            await settle()
            waiter.cancel()
            await settle()
            assert stage.woken == []
        await waiter.done.wait()
    assert (stage.woken, stage.cancelled, after) == ([0], [], ["returned"])
    assert not stage.mutex.locked()


@pytest.mark.gochan(virtual_time=True)
@pytest.mark.parametrize("signalled", [True, False])
async def test_a_time_out_while_another_has_the_mutex(signalled: bool) -> None:
    """The wait sleeps on until it has the mutex, or virtual time would stand still; then the time-out is told."""
    stage = Stage()

    async def hold() -> None:
        async with stage.mutex:
            if signalled:
                stage.cond.signal()
            await anyio.sleep(1000)

    began = anyio.current_time()
    async with Group() as group:
        with anyio.move_on_after(10) as scope:
            async with stage.mutex:
                group.go(hold)
                await stage.cond.wait()
                assert signalled
                await anyio.lowlevel.checkpoint()
                raise AssertionError("the time-out is lost")
        assert scope.cancelled_caught
        assert anyio.current_time() == began + 1000
        assert not stage.mutex.locked()


@pytest.mark.asyncio_only
@pytest.mark.parametrize("signal_first", [True, False])
@pytest.mark.parametrize("busy", [True, False])
@bounded
async def test_native_cancellation(busy: bool, signal_first: bool) -> None:
    """Asked for once, it comes once; ``cancelling()`` counts it."""
    stage, counts = Stage(), list[int]()

    async def wait() -> None:
        try:
            await stage.wait()
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            counts.append(task.cancelling())
            await asyncio.sleep(0)  # nothing is left behind
            raise

    task = asyncio.create_task(wait())
    await until(lambda: stage.waiting == 1)
    if busy:
        stage.mutex.acquire_nowait()
    if signal_first:
        stage.cond.signal()
    task.cancel()
    await settle()
    if busy:
        assert not task.done()
        task.cancel()
        await settle()
        stage.mutex.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counts == [2 if busy else 1]
    assert (stage.woken, stage.cancelled) == (([0], []) if signal_first else ([], [0]))
    assert not stage.mutex.locked()


@pytest.mark.asyncio_only
@bounded
async def test_a_time_out_of_asyncio() -> None:
    """``asyncio.timeout`` sees its own cancellation, and takes it back."""
    stage = Stage()
    async with stage.mutex:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await stage.cond.wait()
        assert stage.mutex.locked()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@pytest.mark.asyncio_only
@bounded
async def test_a_time_out_of_asyncio_after_the_signal() -> None:
    """The wait returns normally; the block that is left before the cancellation comes leaves nothing behind."""
    stage = Stage()

    async def hold() -> None:
        async with stage.mutex:
            stage.cond.signal()
            await expired.wait()
            await settle()

    expired = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    async with Group() as group:
        await stage.mutex.acquire()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                group.go(hold)
                asyncio.get_running_loop().call_later(0.01, expired.set)
                limit.reschedule(asyncio.get_running_loop().time() + 0.005)
                await stage.cond.wait()
                assert stage.mutex.locked()
                stage.mutex.release()
                await asyncio.sleep(10)
        assert task.cancelling() == 0
        await asyncio.sleep(0)

        await stage.mutex.acquire()
        expired.clear()
        async with asyncio.timeout(None) as limit:
            group.go(hold)
            asyncio.get_running_loop().call_later(0.01, expired.set)
            limit.reschedule(asyncio.get_running_loop().time() + 0.005)
            await stage.cond.wait()
            stage.mutex.release()
        assert task.cancelling() == 0
        for _ in range(3):
            await asyncio.sleep(0)


@backends
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("how", ["wait", "wait_for"])
def test_cancelled_anywhere(how: str, depth: Literal[1, 2], backend: Backend) -> None:
    """At every suspension: the mutex is held when the wait ends, and no signal is lost."""

    class World(Stage):
        ready = False

    async def setup() -> World:
        world = World()

        async def change() -> None:
            await gochan.sleep(1)
            async with world.mutex:
                await gochan.sleep(1)
                world.ready = True
                world.cond.signal()
                await gochan.sleep(1)

        async def next_one() -> None:
            await gochan.sleep(0.5)
            await world.wait(7)

        go(change)
        go(next_one)
        return world

    async def operation(world: World) -> None:
        async with world.mutex:
            try:
                if how == "wait":
                    await world.cond.wait()
                else:
                    assert await world.cond.wait_for(lambda: world.ready) is True
                world.woken.append(0)
            finally:
                assert world.mutex.locked()
                world.cond._state._check()

    async def check(world: World, outcome: CancelOutcome) -> None:
        await gochan.sleep(5)
        assert world.woken in ([0], [7])  # one signal, one who was woken
        assert (0 in world.woken) == outcome.returned
        assert not world.mutex.locked()
        if world.woken == [0]:
            assert world.waiting == 1
            world.cond.signal()
            await gochan.sleep(1)
        world.cond._state._check()

    points = cancel_sweep(setup, operation, check, backend=backend, depth=depth).points
    assert points >= 4


@backends
def test_a_bounded_buffer_under_many_schedules(backend: Backend) -> None:
    """Two conditions on one mutex: nothing is lost or doubled though consumers give up in between."""

    async def main() -> None:
        mutex = Mutex()
        not_empty, not_full = Cond(mutex), Cond(mutex)
        buffer, taken = list[int](), list[int]()

        async def put(number: int) -> None:
            async with mutex:
                await not_full.wait_for(lambda: not buffer)
                buffer.append(number)
                not_empty.signal()
                not_full._state._check()

        async def take() -> None:
            async with mutex:
                await not_empty.wait_for(lambda: buffer)
                taken.append(buffer.pop())
                not_full.signal()
                not_empty._state._check()

        async with Group() as group:
            takers = [group.go(take) for _ in range(3)]
            for number in range(3):
                group.go(put, number)
            await anyio.lowlevel.checkpoint()
            takers[0].cancel()
            await takers[0].done.wait()
            try:
                await takers[0].result()
            except gochan.Cancelled:
                group.go(take)
        assert sorted(taken) == [0, 1, 2]
        assert buffer == []
        assert not mutex.locked()

    explore(main, backend=backend, runs=150)


@backends
def test_a_signal_is_never_lost(backend: Backend) -> None:
    """Two wait, one gives up, and one signal: whatever the order, the other or the one itself is woken."""

    async def main() -> None:
        stage, started = Stage(), Event()

        async def both() -> None:
            started.set()
            async with stage.mutex:
                stage.cond.signal()

        async with Group() as group:
            first, second = await stage.start(group, 0, 1)
            group.go(both)
            await started.wait()
            first.cancel()
            await first.done.wait()
            if not stage.woken:
                await second.done.wait()
            assert len(stage.woken) == 1
            group.cancel()
        assert not stage.mutex.locked()
        stage.cond._state._check()

    explore(main, backend=backend, runs=150)
