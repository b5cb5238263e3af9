"""The mutex: exclusion, hand-over in the order of arrival, and what happens to who leaves."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

import anyio
import pytest
from tests.conformance.helpers import bounded, settle

import gochan.testing
from gochan import Channel, Group, Mutex, go, select, try_select
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Guarded:
    """A mutex and who is inside, with the state checked at every look."""

    def __init__(self) -> None:
        self.mutex = Mutex()
        self.inside = 0
        self.order = list[int]()

    async def visit(self, number: int = 0, turns: int = 1) -> None:
        async with self.mutex:
            self.inside += 1
            assert self.inside == 1
            self.order.append(number)
            try:
                for _ in range(turns):
                    self.mutex._state._check()
                    await anyio.lowlevel.checkpoint()
            finally:
                self.inside -= 1
        self.mutex._state._check()


@bounded
async def test_one_at_a_time_in_the_order_in_which_they_came() -> None:
    """Nobody is inside beside another, and the first to ask is the first to get in."""
    guarded = Guarded()
    async with Group() as group:
        for number in range(10):
            group.go(guarded.visit, number)
            await settle(1)
    assert guarded.order == sorted(guarded.order) == list(range(10))
    assert not guarded.mutex.locked()


@bounded
async def test_a_release_hands_over() -> None:
    """With somebody waiting the mutex is never free, so that nobody can go before those who wait."""
    mutex = Mutex()
    await mutex.acquire()
    async with Group() as group:
        waiter = group.go(mutex.acquire)
        await settle()
        mutex.release()
        assert mutex.locked()
        with pytest.raises(anyio.WouldBlock):
            mutex.acquire_nowait()
        assert try_select(mutex.acquiring()) is None
        await waiter.result()
        mutex.release()
    assert not mutex.locked()


@bounded
async def test_try_to_acquire() -> None:
    """It works on a free mutex, and changes nothing on one that is held."""
    mutex = Mutex()
    mutex.acquire_nowait()
    assert mutex.locked()
    with pytest.raises(anyio.WouldBlock):
        mutex.acquire_nowait()
    mutex.release()
    assert not mutex.locked()


async def test_the_block_releases_whatever_happens() -> None:
    """An error in it comes out, and the mutex is free; ``as`` gives nothing."""
    mutex = Mutex()
    with pytest.raises(ZeroDivisionError):
        async with mutex as given:
            assert given is None
            assert mutex.locked()
            raise ZeroDivisionError
    assert not mutex.locked()


async def test_releasing_what_is_not_held() -> None:
    """A RuntimeError that says "unlocked"; the mutex is as it was."""
    mutex = Mutex()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"release of an unlocked mutex.*<Mutex unlocked waiters=0>"):
            mutex.release()
        mutex._state._check()
    async with mutex:
        assert mutex.locked()


@bounded
async def test_it_is_not_owned() -> None:
    """Another goroutine may release what this one acquired."""
    mutex = Mutex()
    await mutex.acquire()

    async def release() -> None:
        mutex.release()

    go_on = mutex.acquire()
    async with Group() as group:
        group.go(release)
        await go_on
    mutex.release()


@backends
def test_it_is_not_re_entrant(backend: Backend) -> None:
    """Who acquires it twice waits for itself, which the deadlock's report says."""

    async def main() -> None:
        mutex = Mutex()
        async with mutex, mutex:
            pass

    with pytest.raises(gochan.Deadlock) as caught:
        gochan.testing.run(main, backend=backend)
    (info,) = caught.value.goroutines
    assert info.state == "sync.Mutex.Lock"
    assert "<Mutex locked waiters=1>" in info.waiting_on[0]


@bounded
async def test_as_a_case_of_a_select() -> None:
    """The mutex is held when its case is chosen, and only then."""
    mutex, channel = Mutex(), Channel[int]()
    assert await select(mutex.acquiring(), channel) == (0, None)
    assert mutex.locked()
    async with Group() as group:
        both = group.go(select, mutex.acquiring(), channel)
        await settle()
        assert "waiters=1" in repr(mutex)
        await channel.send(7)
        assert await both.result() == (1, 7)
        assert "waiters=0" in repr(mutex)  # no trace of the case that lost
        twice = group.go(select, mutex.acquiring(), mutex.acquiring())
        await settle()
        mutex.release()
        assert (await twice.result())[1] is None
        assert repr(mutex) == "<Mutex locked waiters=0>"
    mutex._state._check()


@bounded
async def test_select_cases_stand_in_line_with_the_others() -> None:
    """Plain acquires and select cases are served in one order."""
    mutex, order = Mutex(), list[int]()

    async def plain(number: int) -> None:
        await mutex.acquire()
        order.append(number)
        mutex.release()

    async def selecting(number: int) -> None:
        await select(None, mutex.acquiring())
        order.append(number)
        mutex.release()

    await mutex.acquire()
    async with Group() as group:
        for number in range(6):
            group.go(selecting if number % 2 else plain, number)
            await settle(2)
        mutex.release()
    assert order == [0, 1, 2, 3, 4, 5]


@bounded
async def test_a_chain_of_selects_over_two_mutexes() -> None:
    """Each stands in both queues; every release lets one in, and nobody twice."""
    first, second, got = Mutex(), Mutex(), list[int]()
    await first.acquire()
    await second.acquire()

    async def either() -> None:
        number, _ = await select(first.acquiring(), second.acquiring())
        got.append(number)
        (first, second)[number].release()

    async with Group() as group:
        for _ in range(500):
            group.go(either)
        await settle(3)
        first.release()
    assert got == [0] * 500
    first._state._check()
    second._state._check()
    assert "waiters=0" in repr(second)


# ---- leaving ----


@bounded
async def test_who_gives_up_leaves_the_queue() -> None:
    """Those behind move up, and the mutex goes past who has left."""
    mutex = Mutex()
    await mutex.acquire()
    async with Group() as group:
        waiters = list[gochan.Goroutine[None]]()
        for _ in range(3):
            waiters.append(group.go(mutex.acquire))
            await settle(2)
        waiters[0].cancel()
        await settle()
        mutex._state._check()
        assert "waiters=2" in repr(mutex)
        mutex.release()
        await waiters[1].result()
        assert not waiters[2].done.is_set()
        mutex.release()
    mutex.release()


@pytest.mark.asyncio_only
@bounded
async def test_a_native_cancellation_after_the_hand_over() -> None:
    """The acquire returns normally and the mutex is held; the cancellation comes at the next suspension."""
    mutex, held = Mutex(), False
    await mutex.acquire()

    async def acquire() -> None:
        nonlocal held
        await mutex.acquire()
        held = True
        try:
            await asyncio.sleep(10)
        finally:
            mutex.release()

    task = asyncio.create_task(acquire())
    await settle(2)
    mutex.release()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held
    assert not mutex.locked()


@backends
@pytest.mark.parametrize("how", ["acquire", "block", "select"])
def test_cancelled_anywhere(how: str, backend: Backend) -> None:
    """At every suspension: it holds the mutex and returned, or it does not hold it and the next one gets it."""

    async def setup() -> Mutex:
        mutex = Mutex()
        await mutex.acquire()

        async def release() -> None:
            await gochan.sleep(1)
            mutex.release()

        go(release)
        return mutex

    async def operation(mutex: Mutex) -> None:
        match how:
            case "acquire":
                await mutex.acquire()
            case "select":
                assert await select(None, mutex.acquiring()) == (1, None)
            case _:
                async with mutex:
                    await anyio.lowlevel.checkpoint()

    async def check(mutex: Mutex, outcome: CancelOutcome) -> None:
        mutex._state._check()
        await gochan.sleep(2)
        assert mutex.locked() == (outcome.returned and how != "block")
        if mutex.locked():
            mutex.release()
        mutex.acquire_nowait()

    assert cancel_sweep(setup, operation, check, backend=backend).points >= 4


@backends
def test_visitors_under_many_schedules(backend: Backend) -> None:
    """Whatever the schedule, they are inside one after the other, though some give up."""

    async def main() -> None:
        guarded = Guarded()
        async with Group() as group:
            for number in range(4):
                group.go(guarded.visit, number)
            leaving = group.go(guarded.visit, 9)
            await anyio.lowlevel.checkpoint()
            leaving.cancel()
        assert not guarded.mutex.locked()
        assert {0, 1, 2, 3} <= set(guarded.order)

    explore(main, backend=backend, runs=150)


# ---- whose it is ----


@backends
def test_the_next_loop_takes_it_over_as_it_is(backend: Backend) -> None:
    """Locked, though those who waited under the loop that has ended are gone."""
    mutex = Mutex()

    async def lock_twice() -> None:
        await mutex.acquire()
        with anyio.move_on_after(0.001):
            await mutex.acquire()

    async def unlock() -> None:
        assert mutex.locked()
        mutex.release()
        await mutex.acquire()

    anyio.run(lock_twice, backend=backend)
    anyio.run(unlock, backend="trio" if backend == "asyncio" else "asyncio")
    mutex._state._check()


@bounded
async def test_another_thread_is_refused() -> None:
    """Once somebody has waited on it, every operation says whose it is; nothing has changed."""
    mutex = Mutex()
    await mutex.acquire()
    with anyio.move_on_after(0.001):
        await mutex.acquire()

    def elsewhere() -> None:
        for operation in (mutex.release, mutex.acquire_nowait, lambda: try_select(mutex.acquiring())):
            with pytest.raises(RuntimeError, match=r"another thread.*from_thread"):
                operation()
        for loop in ("asyncio", "trio"):
            with pytest.raises(RuntimeError, match="belongs to the"):
                anyio.run(mutex.acquire, backend=loop)
        assert mutex.locked()  # works anywhere

    await anyio.to_thread.run_sync(elsewhere)
    mutex.release()
    for _ in range(3):  # a free one is not for everybody either
        async with mutex:
            mutex._state._check()
    with pytest.raises(RuntimeError, match="belongs to the"):
        await anyio.to_thread.run_sync(anyio.run, mutex.acquire)
    assert not mutex.locked()


def test_a_lock_that_is_free_lets_others_have_their_turn() -> None:
    """A goroutine that does nothing but take a free mutex yields now and then: timers go on."""

    async def main() -> int:
        mutex, rounds, stop = Mutex(), 0, False

        async def alarm() -> None:
            nonlocal stop
            await anyio.sleep(0.01)
            stop = True

        go(alarm)
        while not stop:
            rounds += 1
            async with mutex:
                pass
        return rounds

    assert gochan.run(main) > 0


def test_an_idle_mutex_is_small() -> None:
    """No queue before somebody waits."""
    mutex = Mutex()
    assert sys.getsizeof(mutex) + sys.getsizeof(mutex._state) < 200
    assert not hasattr(mutex, "__dict__")
