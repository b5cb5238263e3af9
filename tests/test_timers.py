"""Timers: one value at a time, for one waiter; and that they are in the loop only while somebody waits."""

from __future__ import annotations

import gc
import math
import weakref
from fractions import Fraction
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.virtual import alarms, virtual

from gochan import Channel, Group, Timer, after, go, select, sleep, try_select
from gochan._core.driver import current_driver
from gochan.testing import wait_idle

HUGE = 10**400
"""No float is as long."""


# ---- the value ----


@virtual
@pytest.mark.parametrize("seconds", [0.1, 1, 3600.25, 1e9, Fraction(1, 3)], ids=str)
async def test_the_value_is_the_time_at_which_it_was_due(seconds: float) -> None:
    """It comes exactly then."""
    start = anyio.current_time()
    timer = Timer(seconds)
    assert await timer.wait() == start + seconds == anyio.current_time()


@virtual
async def test_the_value_does_not_tell_when_it_was_read() -> None:
    """TM-5: waited for in time, late, or by a select, it is the same."""
    await sleep(1)
    timers = [Timer(10) for _ in range(4)]
    assert await timers[0].wait() == 11
    await sleep(100)
    assert await timers[1].wait() == 11
    assert await select(timers[2]) == (0, 11)
    assert try_select(timers[3]) == (0, 11)


@virtual
@pytest.mark.parametrize("seconds", [0, -0.0, -3, -math.inf, -HUGE], ids=["0", "-0.0", "-3", "-inf", "-huge"])
async def test_no_time_or_less_is_at_once(seconds: float) -> None:
    """TM-1: the value is there, and it is the time of the call: nothing is due before it was asked for."""
    await sleep(5)
    assert try_select(after(seconds)) == (0, 5)
    timer = Timer(1000)
    timer.reset(seconds)
    assert await timer.wait() == 5
    assert anyio.current_time() == 5


@virtual
@pytest.mark.parametrize("seconds", [math.inf, 1e308, HUGE, 2**63], ids=["inf", "1e308", "huge", "2**63"])
async def test_very_long_is_never_short(seconds: float) -> None:
    """TM-1: nothing overflows."""
    assert await select(Timer(seconds), after(1e6)) == (1, 1e6)


async def test_a_real_timer_is_never_early() -> None:
    """By the loop's own clock, however coarse that is."""
    for seconds in (0.0, 0.0004, 0.0026, 0.0052):
        start = anyio.current_time()
        due = await Timer(seconds).wait()
        assert start + seconds <= due + 1e-6
        assert due <= anyio.current_time() + 1e-6


async def test_a_timer_holds_one_value() -> None:
    """Whoever takes it leaves none."""
    timer = Timer(0)
    await timer.wait()
    assert try_select(timer) is None
    with anyio.move_on_after(0.01) as scope:
        await timer.wait()
    assert scope.cancelled_caught
    assert "waiters=0" in repr(timer)


@virtual
async def test_after_starts_its_clock_at_the_call() -> None:
    """Not when somebody waits for it."""
    deadline = after(3)
    await sleep(2)
    assert await select(deadline, None) == (0, 3)
    assert anyio.current_time() == 3


# ---- stop and reset ----


@virtual
async def test_stop_says_whether_there_was_a_value_to_come() -> None:
    """TM-3: also one that had come and was not received; and takes it back."""
    running, due, received, stopped = Timer(10), Timer(1), Timer(1), Timer(10)
    await sleep(2)
    await received.wait()
    stopped.stop()
    assert [timer.stop() for timer in (running, due, received, stopped)] == [True, True, False, False]
    await sleep(20)
    assert try_select(running, due, received, stopped) is None


@virtual
async def test_reset_says_the_same_and_sets_another_time() -> None:
    """TM-4: nothing from before can be received after it."""
    running, due, received, stopped = timers = Timer(10), Timer(1), Timer(1), Timer(10)
    await sleep(2)
    await received.wait()
    stopped.stop()
    assert [timer.reset(5) for timer in (running, due, received, stopped)] == [True, True, False, False]
    assert try_select(*timers) is None
    assert [await timer.wait() for timer in timers] == [7, 7, 7, 7]
    assert anyio.current_time() == 7


@virtual
@pytest.mark.parametrize(("seconds", "expected"), [(2, 3), (50, 51), (-1, 1), (100, 101)], ids=str)
async def test_a_reset_reaches_who_waits_already(seconds: float, expected: float) -> None:
    """Earlier, later, at once."""
    timer = Timer(100)
    waiting = go(timer.wait)
    await sleep(1)
    assert timer.reset(seconds) is True
    timer._state._check()
    assert await waiting.result() == expected
    assert alarms() == 0


@virtual
async def test_who_waits_for_a_stopped_timer_waits_for_a_reset() -> None:
    """As in Go, stop wakes nobody."""
    timer = Timer(1)
    waiting = go(timer.wait)
    await wait_idle()
    assert timer.stop() is True
    assert alarms() == 0
    await sleep(10)
    assert not waiting.done.is_set()
    assert timer.stop() is False
    assert timer.reset(1) is False
    assert await waiting.result() == 11


@virtual
async def test_one_timer_serves_again_and_again() -> None:
    """The idle time-out of a server: reset at every request."""
    timer, seen = Timer(5), list[float]()
    for _ in range(10):
        await sleep(4)
        assert timer.reset(5) is True
    seen.append(await timer.wait())
    assert timer.reset(1) is False
    seen.append(await timer.wait())
    assert seen == [45, 46]


# ---- several waiters ----


@virtual
async def test_one_of_several_waiters_gets_the_value() -> None:
    """The one that has waited longest; each reset serves the next, plain waits and selects in one queue."""
    timer, got = Timer(1), list[tuple[int, float]]()

    async def waiter(number: int) -> None:
        got.append((number, await timer.wait() if number % 2 else (await select(None, timer))[1]))

    for number in range(4):
        go(waiter, number)
        await wait_idle()
    await sleep(10)
    assert got == [(0, 1)]
    assert "waiters=3" in repr(timer)
    for expected in ([(1, 11)], [(2, 12)], [(3, 13)]):
        assert timer.reset(1) is False
        await sleep(1)
        await wait_idle()
        assert got[-1:] == expected
    assert alarms() == 0


@virtual
async def test_nobody_barges_past_a_waiter() -> None:
    """M2: the value is there, but not given yet: it belongs to who waits for it."""
    timer = Timer(1)
    first = go(timer.wait)
    await wait_idle()
    # A second timer of the same time, set earlier in the loop, lets this goroutine look before the first fires.
    world: Any = current_driver()
    looked: list[object] = []
    world.alarms.heap.insert(0, world.alarms.heap.pop())
    world.world.now = 1.0
    looked.append(try_select(timer))
    second = go(timer.wait)
    await wait_idle()
    assert looked == [None]
    assert await first.result() == 1
    assert not second.done.is_set()
    timer.reset(1)
    assert await second.result() == 2


@virtual
async def test_a_timer_twice_in_a_select() -> None:
    """It gives one value, to one of the two cases."""
    timer = Timer(1)
    number, due = await select(timer, timer)
    assert (number in (0, 1), due) == (True, 1)
    assert try_select(timer, timer) is None
    timer._state._check()
    assert alarms() == 0


# ---- what is in the loop ----


@virtual
async def test_a_timer_is_in_the_loop_only_while_somebody_waits() -> None:
    """M1 through every change."""
    timer = Timer(10)
    state = timer._state

    def armed() -> bool:
        state._check()
        return alarms() > 0

    assert not armed()
    async with Group() as group:
        waiting = [group.go(timer.wait), group.go(select, timer, Channel[int]())]
        await wait_idle()
        assert armed()
        timer.reset(20)
        assert armed()
        timer.stop()
        assert not armed()
        timer.reset(30)
        assert armed()
        waiting[0].cancel()
        await waiting[0].done.wait()
        assert armed()
        waiting[1].cancel()
        await waiting[1].done.wait()
        assert not armed()
    assert await timer.wait() == 30
    assert not armed()


@pytest.mark.parametrize("cases", [1, 4])
async def test_a_select_that_lost_leaves_no_timer_behind(cases: int) -> None:
    """TM-8: neither one that found another case ready nor one that waited, nor a cancelled one."""
    channel = Channel[int](1)
    for _ in range(5):
        channel.send_nowait(1)
        assert await select(channel, *(after(100 + n) for n in range(cases))) == (0, 1)
        assert alarms() == 0
        async with Group() as group:
            selecting = group.go(select, channel, *(after(100 + n) for n in range(cases)))
            await anyio.wait_all_tasks_blocked()
            assert alarms() == cases
            await channel.send(2)
            await selecting.done.wait()
            assert alarms() == 0
        with anyio.move_on_after(0.001):
            await select(channel, *(after(100 + n) for n in range(cases)))
        assert alarms() == 0


@virtual
async def test_of_two_timers_in_a_select_the_loser_keeps_its_value() -> None:
    """It can be received later."""
    early, late = Timer(1), Timer(2)
    assert await select(late, early) == (1, 1)
    assert alarms() == 0
    await sleep(5)
    assert late.stop() is True
    assert early.stop() is False


async def test_ten_thousand_timers(backend_name: str) -> None:
    """Each comes, and in the order of their times."""
    got: list[float] = []
    total = 10_000 if backend_name == "asyncio" else 3_000  # a task of trio costs more than a timer

    async def wait(timer: Timer) -> None:
        got.append(await timer.wait())

    timers = [Timer(math.inf) for _ in range(total)]
    with anyio.fail_after(30):
        async with Group() as group:
            for timer in timers:
                group.go(wait, timer)
            await anyio.wait_all_tasks_blocked()
            for number, timer in enumerate(timers):
                timer.reset(number * 7919 % total / 1_000_000)
    assert len(got) == total
    if backend_name == "asyncio":  # trio draws the order of those that become ready together
        assert got == sorted(got)
    assert alarms() == 0


async def test_a_timer_that_nobody_refers_to_is_gone_at_once() -> None:
    """TM-8, by reference count: never waited for, lost in a select, waited for in vain, received."""
    gc.disable()
    try:
        channel = Channel[int](1)

        async def receives(timer: Timer) -> None:
            timer.reset(0)
            await timer.wait()

        async def loses(timer: Timer) -> None:
            async with Group() as group:
                group.go(select, channel, timer)
                await anyio.wait_all_tasks_blocked()
                await channel.send(1)

        async def gives_up(timer: Timer) -> None:
            with anyio.move_on_after(0.001):
                await timer.wait()

        async def does_nothing(_timer: Timer) -> None: ...

        for use in (does_nothing, gives_up, loses, receives):
            timer = Timer(100)
            gone = weakref.ref(timer)
            state: list[Any] = [timer._state]
            await use(timer)
            for _ in range(5):  # the loop lets go of what it has just called
                await anyio.lowlevel.checkpoint()
            del timer
            assert gone() is None, use
            # The list, the local that is asked, and nothing else.
            assert [thing for thing in gc.get_referrers(state[0]) if thing is not state] == [], use
    finally:
        gc.enable()
