"""Tickers: the grid, slow receivers, stop and reset, iteration, several receivers."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.virtual import alarms, virtual

import gochan
from gochan import Channel, Group, Ticker, go, select, sleep, try_select
from gochan.testing import wait_idle


async def collect(ticker: Ticker, number: int) -> list[float]:
    """So many ticks, by iteration."""
    ticks: list[float] = []
    async for tick in ticker:
        ticks.append(tick)
        if len(ticks) == number:
            break
    return ticks


# ---- the grid ----


@virtual
async def test_a_tick_in_every_period() -> None:
    """The first comes one period after the start; each is the time at which it was due."""
    await sleep(3)
    ticker = Ticker(10)
    for expected in (13, 23, 33):
        assert await ticker.wait() == expected == anyio.current_time()
    assert await select(ticker) == (0, 43)
    assert await collect(ticker, 2) == [53, 63]


@virtual
@pytest.mark.parametrize("period", [0.1, 1 / 3, 0.7, 1e-3])
async def test_the_grid_does_not_drift(period: float) -> None:
    """K1: tick k is the start and k periods, however many there were."""
    await sleep(0.3)
    start = anyio.current_time()
    ticker = Ticker(period)
    assert await collect(ticker, 2000) == [start + k * period for k in range(1, 2001)]


@virtual
async def test_a_slow_receiver_gets_the_oldest_tick_and_then_the_grid() -> None:
    """TK-2, Go's own numbers: asleep for 3.5 periods, it gets the first tick, late, then the fourth."""
    ticker = Ticker(10)
    await sleep(35)
    assert await ticker.wait() == 10
    assert anyio.current_time() == 35
    assert [await ticker.wait() for _ in range(2)] == [40, 50]
    await sleep(45)
    assert try_select(ticker) == (0, 60)
    assert try_select(ticker) is None
    assert await ticker.wait() == 100


@virtual
async def test_a_tick_that_is_due_just_now_is_one_of_those_nobody_wanted() -> None:
    """A late receiver at a place of the grid gets the oldest; the next one lies ahead."""
    ticker = Ticker(10)
    await sleep(30)
    assert await ticker.wait() == 10
    assert try_select(ticker) is None
    assert await ticker.wait() == 40


class Clock:
    """The ticker's clock, in the test's hand."""

    def __init__(self, ticker: Ticker) -> None:
        self.state = ticker._state
        self.time = 0.0

    def take(self) -> float | None:
        assert self.state.owner is not None
        saved, self.state.owner.clock = self.state.owner.clock, lambda: self.time
        try:
            return self.state.take() if self.state.ready() else None
        finally:
            self.state.owner.clock = saved


@pytest.mark.asyncio_only
@settings(max_examples=60)
@given(
    start=st.floats(0, 1e6),
    period=st.floats(1e-4, 1e4),
    steps=st.lists(st.floats(0, 1e5) | st.tuples(st.integers(0, 50), st.booleans()), max_size=30),
)
@example(start=32.125357268487456, period=94.888470818432, steps=[(1, False), (4366, True)])
async def test_the_grid_by_the_numbers(start: float, period: float, steps: list[float | tuple[int, bool]]) -> None:
    """K1 as floats have it: ticks are places, they rise, each was due; the next lies ahead, and none was left out."""
    ticker = Ticker(period)
    clock = Clock(ticker)
    clock.state.start = clock.time = start
    last = 0
    for step in steps:
        if isinstance(step, tuple):  # at a place or just before it, where a quotient may round to either side
            place = start + (last + step[0]) * period
            clock.time = max(clock.time, math.nextafter(place, 0) if step[1] else place)
        else:
            clock.time += step
        due = [k for k in (last + 1,) if start + k * period <= clock.time]
        tick = clock.take()
        assert (tick is None) == (due == [])
        if tick is None:
            continue
        assert tick == start + (last + 1) * period
        last = clock.state.place - 1
        assert start + last * period <= clock.time < start + (last + 1) * period


@pytest.mark.parametrize("period", [5e-324, 1e-300, 1e-15, 1e-9])
async def test_a_period_finer_than_any_clock(period: float) -> None:
    """There is always a tick, none is ahead of the clock, and others have their turn."""
    ticker, turns = Ticker(period), 0

    async def other() -> None:
        nonlocal turns
        for _ in range(5):
            turns += 1
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(5):
        async with Group() as group:
            group.go(other)
            ticks = await collect(ticker, 500)
            while turns < 5:
                await ticker.wait()
    assert ticks == sorted(ticks)
    assert ticks[-1] <= anyio.current_time() + 1e-6
    ticker._state._check()


@virtual
@pytest.mark.parametrize("period", [math.inf, 1e308, 10**400], ids=["inf", "1e308", "huge"])
async def test_a_period_that_never_ends(period: float) -> None:
    """No tick comes in a human's time."""
    ticker = Ticker(period)
    assert await select(ticker, gochan.after(1e9)) == (1, 1e9)
    ticker.reset(1)
    assert await ticker.wait() == 1e9 + 1


async def test_real_ticks_are_never_early() -> None:
    """By the loop's clock, whatever its resolution; and on the grid."""
    ticker = Ticker(0.0013)
    start = ticker._state.start
    for _ in range(6):
        tick = await ticker.wait()
        assert tick <= anyio.current_time() + 1e-6
        assert ((tick - start) / 0.0013) == pytest.approx(round((tick - start) / 0.0013), abs=1e-3)


# ---- stop and reset ----


@virtual
async def test_no_tick_after_stop() -> None:
    """TK-3: one that was there is gone, too; reset starts anew."""
    ticker = Ticker(10)
    await sleep(15)
    ticker.stop()
    assert try_select(ticker) is None
    assert await select(ticker, gochan.after(50)) == (1, 65)
    ticker.stop()
    ticker.reset(4)
    assert [await ticker.wait() for _ in range(3)] == [69, 73, 77]


@virtual
async def test_reset_forgets_what_was_there() -> None:
    """TK-3: the next tick comes one new period after the reset."""
    ticker = Ticker(10)
    await sleep(25)
    ticker.reset(100)
    assert try_select(ticker) is None
    assert [await ticker.wait() for _ in range(2)] == [125, 225]
    ticker.reset(1)
    assert await ticker.wait() == 226


@virtual
@pytest.mark.parametrize(("period", "expected"), [(1, 6), (100, 105)])
async def test_a_reset_reaches_who_waits_already(period: float, expected: float) -> None:
    """Sooner or later."""
    ticker = Ticker(10)
    waiting = [go(ticker.wait), go(select, ticker), go(ticker.__anext__)]
    await sleep(5)
    ticker.reset(period)
    ticker._state._check()
    results: list[Any] = [await goroutine.result() for goroutine in waiting]
    assert results == [expected, (0, expected + period), expected + 2 * period]


# ---- iteration ----


@virtual
async def test_iteration_ends_after_stop() -> None:
    """K2: by the body itself, which has its tick; and by another goroutine, while the iteration waits."""
    ticker, ticks = Ticker(1), list[float]()
    async for tick in ticker:
        ticks.append(tick)
        if tick == 3:
            ticker.stop()
    assert (ticks, anyio.current_time()) == ([1, 2, 3], 3)

    ticker.reset(10)
    iterating = go(collect, ticker, 100)
    await sleep(25)
    ticker.stop()
    assert await iterating.result() == [13, 23]
    assert alarms() == 0
    assert [tick async for tick in ticker] == []


@virtual
async def test_every_iteration_ends_and_the_other_waiters_stay() -> None:
    """In whatever order they stand; wait and select wait for a reset."""
    ticker = Ticker(10)
    kinds: list[Callable[[], Any]] = [
        ticker.__anext__, ticker.wait, ticker.__anext__, lambda: select(ticker, None), ticker.__anext__,
    ]  # fmt: skip
    ended: list[int] = []

    async def run(number: int) -> Any:
        try:
            return await kinds[number]()
        except StopAsyncIteration:
            ended.append(number)

    goroutines_ = list[Any]()
    for number in range(5):
        goroutines_.append(go(run, number))
        await wait_idle()
    ticker.stop()
    ticker._state._check()
    await wait_idle()
    assert ended == [0, 2, 4]
    assert alarms() == 0
    ticker.reset(1)
    ticker._state._check()
    assert [await goroutine.result() for goroutine in goroutines_] == [None, 1, None, (0, 2), None]


@virtual
async def test_a_stop_and_reset_in_the_body_goes_on() -> None:
    """The iteration asks when it comes back."""
    ticker, ticks = Ticker(1), list[float]()
    async for tick in ticker:
        ticks.append(tick)
        if tick == 2:
            ticker.stop()
            ticker.reset(10)
        if tick > 20:
            break
    assert ticks == [1, 2, 12, 22]


@virtual
async def test_an_iteration_that_stop_has_ended_ends_though_a_reset_follows() -> None:
    """Stop reached it; that it has not run since changes nothing."""
    ticker = Ticker(10)
    iterating = go(collect, ticker, 5)
    await wait_idle()
    ticker.stop()
    ticker.reset(1)
    assert await iterating.result() == []


# ---- several receivers ----


@virtual
async def test_each_tick_goes_to_one_receiver_in_turn() -> None:
    """The one that has waited longest."""
    ticker, got = Ticker(1), list[tuple[int, float]]()

    async def receive(number: int) -> None:
        for _ in range(3):
            got.append((number, await ticker.wait()))  # in the order of all

    async with Group() as group:
        for number in range(3):
            group.go(receive, number)
            await wait_idle()
    assert got == [(k % 3, k + 1) for k in range(9)]
    assert alarms() == 0


@virtual
async def test_a_ticker_is_in_the_loop_only_while_somebody_waits() -> None:
    """M1, after losing selects and cancelled waits, too."""
    ticker, channel = Ticker(10), Channel[int](1)
    assert alarms() == 0
    async with Group() as group:
        selecting = group.go(select, ticker, channel)
        waiting = group.go(ticker.wait)
        await wait_idle()
        assert alarms() == 1
        await channel.send(1)
        await selecting.done.wait()
        ticker._state._check()
        assert alarms() == 1
        waiting.cancel()
        await waiting.done.wait()
        ticker._state._check()
        assert alarms() == 0
    await sleep(100)
    assert await ticker.wait() == 10


async def test_a_ticker_that_nobody_refers_to_is_gone_at_once() -> None:
    """TM-8: there is no need to stop it."""
    gc.disable()
    try:
        ticker = Ticker(0.001)
        await ticker.wait()
        async for _ in ticker:
            break
        with anyio.move_on_after(0.001):
            await select(ticker, Channel[int]())
        await anyio.lowlevel.checkpoint()
        gone = weakref.ref(ticker)
        del ticker
        assert gone() is None
    finally:
        gc.enable()
