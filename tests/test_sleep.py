"""``sleep``: exact in virtual time, never short, cancellable, and seen in dumps."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.virtual import Backend, alarms, on_both, virtual

import gochan
from gochan import Channel, Group, go, sleep, testing
from gochan.diagnostics import Deadlock, find_leaks, goroutines
from gochan.testing import CancelOutcome, cancel_sweep, explore


@virtual
async def test_it_takes_so_many_seconds() -> None:
    """Exactly, by the loop's clock; with fractions of any kind."""
    steps: list[tuple[Any, float]] = [(1, 1), (0.25, 1.25), (Fraction(1, 4), 1.5), (3600, 3601.5)]
    for seconds, expected in steps:
        await sleep(seconds)
        assert anyio.current_time() == expected


@virtual
async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Whatever the order in which they went to sleep; gochan's, anyio's and timers in one time."""
    woken: list[float] = []

    async def by_timer(seconds: float) -> None:
        await gochan.Timer(seconds).wait()

    async def sleeper(seconds: float) -> None:
        await (sleep, anyio.sleep, by_timer)[int(seconds) % 3](seconds)
        woken.append(anyio.current_time())

    async with Group() as group:
        for seconds in (5, 1, 4, 2, 3, 0.5):
            group.go(sleeper, seconds)
    assert woken == [0.5, 1, 2, 3, 4, 5]


async def test_a_real_sleep_is_never_short() -> None:
    """By the loop's own clock, however coarse that is."""
    for seconds in (0.0004, 0.0013, 0.0026):
        start = anyio.current_time()
        await sleep(seconds)
        assert anyio.current_time() >= start + seconds - 1e-6
    assert alarms() == 0


@pytest.mark.parametrize("seconds", [0, -0.0, -1, -math.inf, -(10**400)], ids=["0", "-0.0", "-1", "-inf", "-huge"])
async def test_no_time_or_less_is_a_yield(seconds: float) -> None:
    """Others have a turn, and it is a cancellation point."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        for _ in range(3):
            turns += 1
            await sleep(seconds)

    async with Group() as group:
        group.go(other)
        for _ in range(10):
            await sleep(seconds)
    assert turns == 3
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sleep(seconds)
    assert scope.cancelled_caught


@pytest.mark.parametrize("seconds", [math.inf, 1e308, 10**400], ids=["inf", "1e308", "huge"])
async def test_very_long_is_never_short(seconds: float) -> None:
    """Only a cancellation ends it, and leaves no alarm."""
    with anyio.move_on_after(0.002) as scope:
        await sleep(seconds)
    assert scope.cancelled_caught
    assert alarms() == 0


@on_both
def test_a_cancelled_sleep_leaves_nothing(backend: Backend) -> None:
    """At every suspension."""

    async def nothing() -> None: ...

    async def operation(_: None) -> None:
        await sleep(1)
        await sleep(0)
        await sleep(1)

    def check(_: None, outcome: CancelOutcome) -> None:
        assert alarms() == 0
        assert anyio.current_time() in ((2,) if outcome.returned else (0, 1, 2))

    report = cancel_sweep(nothing, operation, check, backend=backend, depth=2)
    assert report.returned > 0


@on_both
def test_sleepers_of_one_time_wake_in_every_order(backend: Backend) -> None:
    """The schedule draws it."""
    orders = set[tuple[int, ...]]()

    async def main() -> None:
        woken: list[int] = []

        async def sleeper(number: int) -> None:
            await sleep(1)
            woken.append(number)

        async with Group() as group:
            for number in range(3):
                group.go(sleeper, number)
        orders.add(tuple(woken))

    explore(main, backend=backend, runs=80)
    assert len(orders) == 6


@pytest.mark.gochan(virtual_time=True, leaks="ignore")
async def test_the_dump_says_sleep_and_for_how_long() -> None:
    """In minutes of virtual time; who sleeps is no leak, and neither is who waits for somebody who sleeps."""

    async def late(channel: Channel[int]) -> None:
        await sleep(1000)
        channel.send_nowait(1)

    channel = Channel[int](1)
    go(late, channel, name="sleeper")
    waiting = go(channel.receive, name="waiter")
    del channel
    await sleep(300)
    (found,) = (info for info in goroutines() if info.name == "sleeper")
    assert (found.state, found.since) == ("sleep", 300)
    assert "[sleep, 5 minutes]" in gochan.dump()
    assert find_leaks() == []
    assert await waiting.result() == 1


@on_both
def test_a_sleep_puts_a_deadlock_off_unless_it_is_for_ever(backend: Backend) -> None:
    """In virtual time and in an ordinary run."""
    for run in (testing.run, gochan.run):
        run(sleep, 0.001, backend=backend)
        with pytest.raises(Deadlock, match="sleep"):
            run(sleep, math.inf, backend=backend)


def test_it_needs_a_loop() -> None:
    """The error says where to await it."""
    with pytest.raises(RuntimeError, match="await it in a task of asyncio or trio"):
        sleep(1).send(None)


@pytest.mark.parametrize("wrong", ["1", None, True, Decimal(1), timedelta(seconds=1)], ids=repr)
async def test_what_is_no_number_of_seconds(wrong: Any) -> None:
    """A TypeError; NaN is a ValueError."""
    with pytest.raises(TypeError, match="the time of a sleep is a number of seconds"):
        await sleep(wrong)
    with pytest.raises(ValueError, match="the time of a sleep is a number of seconds"):
        await sleep(math.nan)


@pytest.mark.asyncio_only
async def test_it_works_under_asyncios_own_timeouts() -> None:
    """And leaves no cancellation behind."""
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await sleep(10)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sleep(10), 0.001)
    assert task.cancelling() == 0
    assert alarms() == 0
