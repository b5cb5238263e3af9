"""The condition variable: who is woken, who has the mutex then, and what a cancellation does before and after."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest
from tests.conformance.helpers import bounded, settle, until

import gochan
from gochan import Cond, Group, Mutex

from .stage import Stage

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def test_a_cond_takes_a_mutex() -> None:
    """Of gochan; the error says so."""
    mutex = Mutex()
    assert Cond(mutex).mutex is mutex
    for wrong in (None, anyio.Lock(), gochan.RWMutex(), mutex.acquiring()):
        with pytest.raises(TypeError, match=r"takes the gochan\.Mutex"):
            Cond(wrong)  # type: ignore[arg-type]


async def test_waiting_needs_the_mutex() -> None:
    """A RuntimeError otherwise, at once."""
    stage = Stage()
    with pytest.raises(RuntimeError, match="unlocked: acquire"):
        await stage.cond.wait()
    with pytest.raises(RuntimeError, match="unlocked: acquire"):
        await stage.cond.wait_for(lambda: True)
    assert stage.waiting == 0


@bounded
async def test_a_signal_wakes_who_has_waited_longest() -> None:
    """One, with or without the mutex; a signal with nobody waiting is lost."""
    stage = Stage()
    stage.cond.signal()
    stage.cond.broadcast()
    async with Group() as group:
        await stage.start(group, 0, 1, 2, 3)
        stage.cond.signal()
        await settle()
        assert stage.woken == [0]
        async with stage.mutex:
            stage.cond.signal()
            stage.cond.signal()
            await settle()
            assert stage.woken == [0]
        await settle()
        assert stage.woken == [0, 1, 2]
        stage.cond.signal()
    assert stage.woken == [0, 1, 2, 3]
    assert not stage.mutex.locked()


@bounded
async def test_a_broadcast_wakes_everybody_in_their_order() -> None:
    """Those who wait at that moment; on every backend they have the mutex in the order in which they came."""
    stage = Stage()
    async with Group() as group:
        await stage.start(group, *range(20))
        stage.cond.broadcast()
        late = group.go(stage.wait, 99)
        await until(lambda: len(stage.woken) == 20)
        await settle()
        assert not late.done.is_set()
        stage.cond.signal()
    assert stage.woken == [*range(20), 99]


@bounded
async def test_the_signalled_go_behind_those_who_wait_for_the_mutex() -> None:
    """In the order in which they came to want it."""
    stage, order = Stage(), list[str]()

    async def lock(name: str) -> None:
        async with stage.mutex:
            order.append(name)

    async def wait() -> None:
        await stage.wait()
        order.append("signalled")

    async with Group() as group:
        group.go(wait)
        await until(lambda: stage.waiting == 1)
        async with stage.mutex:
            group.go(lock, "before")
            await settle()
            stage.cond.signal()
            group.go(lock, "after")
            await settle()
    assert order.index("before") == 0
    assert stage.woken == [0]


@bounded
async def test_wait_for_looks_again_each_time() -> None:
    """With the mutex held; it gives what the predicate gave, and does not wait for what is so already."""
    stage, looks, items = Stage(), 0, list[int]()

    def three() -> list[int]:
        nonlocal looks
        looks += 1
        assert stage.mutex.locked()
        return items if len(items) == 3 else []

    async def fill() -> None:
        for number in range(3):
            async with stage.mutex:
                items.append(number)
                stage.cond.signal()
            await settle(2)

    async with Group() as group:
        async with stage.mutex:
            group.go(fill)
            assert await stage.cond.wait_for(three) == [0, 1, 2]
            assert stage.mutex.locked()
            assert await stage.cond.wait_for(lambda: "so already") == "so already"
    assert looks == 4


@bounded
async def test_a_predicate_that_fails() -> None:
    """Its error comes out with the mutex held, at the first look and at a later one."""
    stage, broken = Stage(), False

    def predicate() -> bool:
        if broken:
            raise ZeroDivisionError
        return False

    async def wait() -> None:
        async with stage.mutex:
            with pytest.raises(ZeroDivisionError):
                await stage.cond.wait_for(predicate)
            assert stage.mutex.locked()
            stage.cond._state._check()

    async with Group() as group:
        group.go(wait)
        await until(lambda: stage.waiting == 1)
        broken = True
        stage.cond.signal()
    await wait()
    assert not stage.mutex.locked()


async def test_predicates_are_plain_functions() -> None:
    """An async one would always be true."""
    stage = Stage()

    async def predicate() -> bool:
        return False

    wrong: list[Any] = [predicate, None, True]
    async with stage.mutex:
        for one in wrong:
            with pytest.raises(TypeError, match="plain function"):
                await stage.cond.wait_for(one)


@backends
def test_the_next_loop_takes_it_over(backend: Backend) -> None:
    """Who waited under the loop that has ended gets no signal."""
    stage = Stage()

    async def wait_in_vain() -> None:
        with anyio.move_on_after(0.001):
            await stage.wait(1)

    async def again() -> None:
        async with Group() as group:
            await stage.start(group, 2)
            stage.cond.signal()

    anyio.run(wait_in_vain, backend=backend)
    stage.cond.signal()
    anyio.run(again, backend="trio" if backend == "asyncio" else "asyncio")
    assert (stage.cancelled, stage.woken) == ([1], [2])


@bounded
async def test_another_thread_is_refused() -> None:
    """As soon as somebody has waited, for the mutex as well: it will be wanted."""
    stage = Stage()

    def elsewhere() -> None:
        for operation in (stage.cond.signal, stage.cond.broadcast, stage.mutex.acquire_nowait):
            with pytest.raises(RuntimeError, match="another thread"):
                operation()

    async with Group() as group:
        await stage.start(group, 0)
        await anyio.to_thread.run_sync(elsewhere)
        stage.cond.signal()


async def test_it_belongs_where_its_mutex_belongs() -> None:
    """Nobody waits on the Cond, but somebody for the mutex: another thread or loop has no say."""
    stage = Stage()

    async def wait_for() -> bool:
        return await stage.cond.wait_for(lambda: True)

    def elsewhere() -> None:
        for operation in (stage.cond.signal, stage.cond.broadcast, lambda: anyio.run(wait_for)):
            with pytest.raises(RuntimeError, match="<Mutex locked waiters=1> belongs to"):
                operation()

    async with stage.mutex, Group() as group:
        waiting = group.go(stage.mutex.acquire)
        await until(lambda: "waiters=1" in repr(stage.mutex))
        await anyio.to_thread.run_sync(elsewhere)
        waiting.cancel()


async def test_a_coroutine_that_is_closed() -> None:
    """Leaves the queue, and its ``finally`` finds the mutex as it expects it."""
    stage = Stage()
    coroutine = stage.wait()
    coroutine.send(None)
    assert stage.waiting == 1
    coroutine.close()
    assert stage.waiting == 0
    assert not stage.mutex.locked()


async def test_a_coroutine_that_is_closed_after_the_signal() -> None:
    """It does not stand in line for the mutex any more."""
    stage = Stage()
    await stage.mutex.acquire()
    coroutine = stage.cond.wait()
    coroutine.send(None)
    stage.mutex.acquire_nowait()
    stage.cond.signal()
    assert repr(stage.mutex) == "<Mutex locked waiters=1>"
    coroutine.close()
    assert repr(stage.mutex) == "<Mutex locked waiters=0>"
    stage.mutex.release()
