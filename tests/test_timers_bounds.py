"""Timers and what is around them: leaks, deadlocks and dumps; other threads and loops; bad input."""

from __future__ import annotations

import asyncio
import copy
import math
import pickle
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.threads import Call
from tests.virtual import Backend, forgiving, on_both, virtual

import gochan
from gochan import Group, Timer, after, go, select, sleep, testing, try_select
from gochan._core.driver import Driver, current_driver
from gochan.diagnostics import Deadlock, find_leaks, goroutines
from gochan.testing import wait_idle

# ---- leaks, deadlocks, dumps ----


@forgiving
async def test_who_waits_for_a_timer_is_no_leak_until_it_is_stopped() -> None:
    """A timer that is set will act; one that is stopped and forgotten will not."""

    async def wait() -> None:
        await held[-1].wait()

    held = [Timer(1000)]
    go(wait, name="waiter")
    go(select, after(1000), name="select")
    await wait_idle()
    assert find_leaks() == []
    held.pop().stop()
    await sleep(1)
    assert [(info.name, info.state) for info in find_leaks()] == [("waiter", "timer wait")]


@forgiving
async def test_who_can_be_reset_is_no_leak() -> None:
    """Somebody holds the timer."""
    timer = Timer(1)
    timer.stop()

    async def keeper() -> None:
        await sleep(50)
        timer.reset(1)

    waiting = go(timer.wait)
    go(keeper)
    await wait_idle()
    assert find_leaks() == []
    assert await waiting.result() == 51


@on_both
def test_an_armed_timer_puts_a_deadlock_off_and_a_stopped_one_does_not(backend: Backend) -> None:
    """In virtual time and in an ordinary run."""

    async def main() -> float:
        timer = Timer(0.01)
        return await timer.wait()

    async def stuck() -> None:
        timer = Timer(0.01)
        timer.stop()
        await timer.wait()

    assert testing.run(main, backend=backend) == 0.01
    gochan.run(main, backend=backend)
    for run in (testing.run, gochan.run):
        with pytest.raises(Deadlock, match="timer wait"):
            run(stuck, backend=backend)


@virtual
async def test_the_dump_says_timer_wait_and_since_when() -> None:
    """For wait; a select is a select. Minutes are those of virtual time."""
    timer = Timer(1000)
    go(timer.wait, name="waiter")
    go(select, timer, name="select")
    await sleep(300)
    found = {info.name: info for info in goroutines()}
    assert found["waiter"].state == "timer wait"
    assert found["select"].state == "select"
    assert found["waiter"].since == 300
    assert "[timer wait, 5 minutes]" in gochan.dump()
    assert "Timer" in str(found["waiter"].waiting_on)
    timer.reset(0)
    await wait_idle()
    timer.reset(0)


# ---- loops and threads ----


def test_a_timer_needs_a_loop() -> None:
    """There is no clock without one; the error says where to make it."""
    for make in (Timer, after):
        with pytest.raises(RuntimeError, match="make it in a task of asyncio or trio"):
            make(1)


async def test_another_thread_is_refused() -> None:
    """Every operation, with a loop there and without; nothing has changed."""
    timer = Timer(1000)
    async with Group() as group:
        waiting = group.go(timer.wait)
        await anyio.wait_all_tasks_blocked()
        before = repr(timer)
        uses: list[Callable[[], object]] = [
            timer.stop,
            lambda: timer.reset(1),
            lambda: try_select(timer),
            lambda: asyncio.run(timer.wait()),
            lambda: anyio.run(select, timer, backend="trio"),
        ]
        for use in uses:
            with pytest.raises(RuntimeError, match="another thread"):
                await Call(use).result()
            assert repr(timer) == before
            timer._state._check()
        waiting.cancel()


@on_both
def test_a_timer_dies_with_its_loop(backend: Backend) -> None:
    """Another loop has another clock: the error says to make a new one."""

    async def make() -> tuple[Timer, Timer]:
        used = Timer(100)
        with anyio.move_on_after(0.001):
            await used.wait()
        return Timer(100), used

    async def waits(timer: Timer) -> None:
        with pytest.raises(RuntimeError, match="closed: make a new one"):
            await timer.wait()
        with pytest.raises(RuntimeError, match="closed: make a new one"):
            await select(timer, after(0))

    for timer in anyio.run(make, backend=backend):
        for use in (timer.stop, lambda timer=timer: timer.reset(1), lambda timer=timer: try_select(timer)):
            with pytest.raises(RuntimeError, match="closed: make a new one"):
                use()
        for other in ("asyncio", "trio"):
            anyio.run(waits, timer, backend=other)
        assert "Timer at" in repr(timer)


def test_a_timer_between_two_runs_of_its_loop() -> None:
    """Who ran the loop may go on with it."""
    loop = asyncio.new_event_loop()
    try:

        async def make() -> Timer:
            return Timer(100)

        timer = loop.run_until_complete(make())
        assert timer.stop() is True
        timer.reset(0)
        assert loop.run_until_complete(timer.wait()) <= loop.time()
    finally:
        loop.close()


def test_two_loops_in_two_threads() -> None:
    """Each has its own alarms."""
    barrier = threading.Barrier(2, timeout=5)

    async def main() -> tuple[float, Driver | None]:
        barrier.wait()
        timers = [Timer(n / 1000) for n in range(5)]
        async with Group() as group:
            for timer in timers:
                group.go(timer.wait)
        return sum(timer.stop() for timer in timers), current_driver()

    calls = [Call(gochan.run, main), Call(lambda: gochan.run(main, backend="trio"))]
    (left, one), (right, two) = (call.join(10) for call in calls)
    assert left == right == 0
    assert one is not two


# ---- bad input ----


@pytest.mark.parametrize("wrong", ["1", None, True, 1j, Decimal(1), timedelta(seconds=1), [1]], ids=repr)
async def test_what_is_no_number_of_seconds(wrong: Any) -> None:
    """A TypeError that says so; a timer that was to be reset is as it was."""
    timer = Timer(100)
    before = repr(timer)
    for use in (Timer, after, timer.reset):
        with pytest.raises(TypeError, match="number of seconds"):
            use(wrong)
    assert repr(timer) == before


async def test_nan_is_no_number_of_seconds() -> None:
    """A ValueError."""
    timer = Timer(100)
    for use in (Timer, after, timer.reset):
        with pytest.raises(ValueError, match="number of seconds"):
            use(math.nan)
    assert timer.stop() is True


async def test_a_timer_cannot_be_pickled() -> None:
    """It belongs to a loop."""
    with pytest.raises(TypeError):
        pickle.dumps(Timer(1))
    with pytest.raises(TypeError):
        copy.deepcopy(Timer(1))


@virtual
async def test_repr_says_when_and_who_waits() -> None:
    """And that of a case names its timer."""
    timer = Timer(5)
    assert repr(timer) == "<Timer at 5.0 waiters=0>"
    assert repr(timer.__case__()) == "<AlarmCase of <Timer at 5.0 waiters=0>>"
    timer.stop()
    assert repr(timer) == "<Timer not set waiters=0>"
