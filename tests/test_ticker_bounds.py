"""Tickers against stop and cancellation; leaks, deadlocks and dumps; other threads and loops; bad input."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.threads import Call
from tests.virtual import Backend, alarms, forgiving, on_both, virtual

import gochan
from gochan import Channel, Group, Ticker, go, select, sleep, testing, try_select
from gochan.diagnostics import Deadlock, find_leaks, goroutines
from gochan.testing import CancelOutcome, cancel_sweep, explore, wait_idle


async def collect(ticker: Ticker, number: int) -> list[float]:
    """So many ticks, by iteration."""
    ticks: list[float] = []
    async for tick in ticker:
        ticks.append(tick)
        if len(ticks) == number:
            break
    return ticks


# ---- races ----


@on_both
def test_stop_against_a_tick(backend: Backend) -> None:
    """Who has the tick has it; nobody gets one after stop, in every order."""
    seen = set[tuple[float, int]]()

    async def main() -> None:
        for moment in (1.5, 2.0):
            ticker, ticks = Ticker(1), list[float]()
            start = anyio.current_time()

            async def iterate(ticker: Ticker = ticker, ticks: list[float] = ticks) -> None:
                async for tick in ticker:
                    ticks.append(tick)  # noqa: PERF401  # seen from outside

            async with Group() as group:
                group.go(iterate)
                await sleep(moment)
                ticker.stop()
                seen.add((moment, len(ticks)))
                await sleep(5)
                ticker._state._check()
                assert ticks == [start + k for k in range(1, int(moment) + 1)]

    explore(main, backend=backend, runs=100)
    assert seen == {(1.5, 1), (2.0, 1), (2.0, 2)}


@on_both
def test_ticks_under_all_schedules_are_never_doubled(backend: Backend) -> None:
    """Two iterations, a select that loses now and then, and resets: every tick once, and in order."""

    async def main() -> None:
        ticker, channel = Ticker(1), Channel[int]()
        got: list[float] = []

        async def iterate() -> None:
            got.extend([tick async for tick in ticker])

        async def choose() -> None:
            for _ in range(6):
                match await select(ticker, channel):
                    case (0, tick):
                        got.append(tick)
                    case _:
                        pass

        async with Group() as group:
            group.go(iterate)
            choosing = group.go(choose)
            for _ in range(3):
                await sleep(1)
                await select(gochan.send(channel, 1), choosing)
            await choosing.done.wait()
            ticker.stop()
        ticker._state._check()
        assert len(got) == len(set(got))
        assert set(got) <= set(range(1, 10))
        assert alarms() == 0

    explore(main, backend=backend, runs=100)


@on_both
@pytest.mark.parametrize("way", ["wait", "next", "select", "for"])
def test_a_cancelled_wait_leaves_the_tick(way: str, backend: Backend) -> None:
    """At every suspension: it was received, or the next one receives it."""

    async def setup() -> tuple[Ticker, list[float]]:
        return Ticker(1), []

    async def operation(scene: tuple[Ticker, list[float]]) -> None:
        ticker, got = scene
        match way:
            case "wait":
                got.append(await ticker.wait())
                got.append(await ticker.wait())
            case "next":
                got.append(await ticker.__anext__())
            case "select":
                got.append((await select(ticker, None, ticker))[1])
            case _:
                async for tick in ticker:
                    got.append(tick)
                    if tick == 2:
                        ticker.stop()

    async def check(scene: tuple[Ticker, list[float]], outcome: CancelOutcome) -> None:
        ticker, got = scene
        ticker._state._check()
        assert alarms() == 0
        assert got == list(range(1, len(got) + 1))
        if not ticker._state.stopped:
            assert await ticker.wait() == len(got) + 1

    assert cancel_sweep(setup, operation, check, backend=backend).returned > 0


# ---- leaks, deadlocks, dumps ----


@forgiving
async def test_who_waits_for_a_ticker_is_no_leak_until_it_is_stopped() -> None:
    """A ticker that runs will act; one that is stopped and forgotten will not."""
    held = [Ticker(1000)]

    async def wait() -> None:
        await held[-1].wait()

    go(wait, name="waiter")
    await wait_idle()
    assert find_leaks() == []
    held.pop().stop()
    await sleep(1)
    assert [(info.name, info.state) for info in find_leaks()] == [("waiter", "timer wait")]


@on_both
def test_a_ticker_puts_a_deadlock_off_and_a_stopped_one_does_not(backend: Backend) -> None:
    """And an iteration over a stopped one ends, so there is nothing to be stuck in."""

    async def main(operation: Literal["wait", "for"]) -> None:
        ticker = Ticker(0.001)
        await ticker.wait()
        ticker.stop()
        async for _ in ticker:
            raise AssertionError
        if operation == "wait":
            await ticker.wait()

    for run in (testing.run, gochan.run):
        run(main, "for", backend=backend)
        with pytest.raises(Deadlock, match="timer wait"):
            run(main, "wait", backend=backend)


@virtual
async def test_the_dump_says_timer_wait() -> None:
    """For wait and iteration, with the minutes since the last tick."""
    ticker = Ticker(120)
    go(ticker.wait, name="wait")
    go(collect, ticker, 2, name="for")
    await sleep(110)
    for info in goroutines():
        if info.name in ("wait", "for"):
            assert (info.state, info.since) == ("timer wait", 110)
    assert "[timer wait, 1 minutes]" in gochan.dump()
    await sleep(1000)


# ---- loops and threads ----


def test_a_ticker_needs_a_loop() -> None:
    """There is no clock without one."""
    with pytest.raises(RuntimeError, match="make it in a task of asyncio or trio"):
        Ticker(1)


async def test_another_thread_is_refused() -> None:
    """And nothing has changed."""
    ticker = Ticker(1000)
    before = repr(ticker)
    uses: list[Callable[[], object]] = [
        ticker.stop,
        lambda: ticker.reset(1),
        lambda: try_select(ticker),
        lambda: asyncio.run(ticker.wait()),
        lambda: anyio.run(ticker.__anext__, backend="trio"),
    ]
    for use in uses:
        with pytest.raises(RuntimeError, match="another thread"):
            await Call(use).result()
        assert repr(ticker) == before


@on_both
def test_a_ticker_dies_with_its_loop(backend: Backend) -> None:
    """Another loop has another clock."""

    async def make() -> Ticker:
        ticker = Ticker(0.001)
        await ticker.wait()
        return ticker

    async def waits(ticker: Ticker) -> None:
        for operation in (ticker.wait, ticker.__anext__):
            with pytest.raises(RuntimeError, match="closed: make a new one"):
                await operation()

    ticker = anyio.run(make, backend=backend)
    uses: list[Callable[[], object]] = [ticker.stop, lambda: ticker.reset(1), lambda: try_select(ticker)]
    for use in uses:
        with pytest.raises(RuntimeError, match="closed: make a new one"):
            use()
    for other in ("asyncio", "trio"):
        anyio.run(waits, ticker, backend=other)


# ---- bad input ----


@pytest.mark.parametrize("wrong", [0, -1, -0.0, -math.inf, math.nan], ids=repr)
async def test_a_period_is_positive(wrong: float) -> None:
    """TK-1: a ValueError; a ticker that was to be reset goes on."""
    ticker = Ticker(100)
    before = repr(ticker)
    for use in (Ticker, ticker.reset):
        with pytest.raises(ValueError, match="the period of a Ticker is a"):
            use(wrong)
    assert repr(ticker) == before


@pytest.mark.parametrize("wrong", ["1", None, True, Decimal(1), timedelta(seconds=1)], ids=repr)
async def test_a_period_is_a_number(wrong: Any) -> None:
    """A TypeError."""
    ticker = Ticker(100)
    before = repr(ticker)
    for use in (Ticker, ticker.reset):
        with pytest.raises(TypeError, match="number of seconds"):
            use(wrong)
    assert repr(ticker) == before


@virtual
async def test_repr_says_when_the_next_tick_comes() -> None:
    """And that it is stopped."""
    ticker = Ticker(5)
    assert repr(ticker) == "<Ticker every 5.0 s, next at 5.0, waiters=0>"
    ticker.stop()
    assert repr(ticker) == "<Ticker every 5.0 s, stopped, waiters=0>"


@virtual
async def test_check_finds_a_broken_ticker() -> None:
    """The executable invariants notice an alarm that is missing, one too many, and an iteration left behind."""
    ticker = Ticker(5)
    state = ticker._state
    iterating = go(ticker.__anext__)
    await wait_idle()
    alarm, state.alarm = state.alarm, None
    with pytest.raises(AssertionError, match="M1"):
        state._check()
    state.alarm = alarm
    state.stopped = True
    state.alarm = None
    with pytest.raises(AssertionError, match="K2"):
        state._check()
    state.stopped, state.alarm = False, alarm
    state._check()
    assert await iterating.result() == 5
