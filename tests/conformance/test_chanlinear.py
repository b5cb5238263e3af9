"""Leaving a queue takes constant time, after Go's test/chanlinear.go.

Go's program doubles the number of goroutines; here it grows fourfold, and they are woken from the back of the queue
too, where a search from its front would be dearest. Time is measured, so a few attempts are allowed.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from time import perf_counter

import pytest

from gochan import Channel, Group, select

from .helpers import patient, receivers_parked


async def _select_rounds(goroutines: int, rounds: int, backwards: bool) -> float:
    shared: Channel[bool] = Channel()
    own: list[Channel[bool]] = [Channel() for _ in range(goroutines)]

    async def waiter(mine: Channel[bool]) -> None:
        for _ in range(rounds):
            assert await select(shared, mine) == (1, True)

    async with Group() as group:
        for mine in own:
            group.go(waiter, mine)
        await receivers_parked(shared, goroutines)
        gc.collect()
        start = perf_counter()
        for _ in range(rounds):
            for mine in reversed(own) if backwards else own:
                await mine.send(True)
        return perf_counter() - start


async def _cancelled_waiters(goroutines: int, rounds: int, backwards: bool) -> float:
    channel: Channel[bool] = Channel()
    elapsed = 0.0
    for _ in range(rounds):
        async with Group() as group:
            handles = [group.go(channel.receive) for _ in range(goroutines)]
            await receivers_parked(channel, goroutines)
            gc.collect()
            start = perf_counter()
            for handle in reversed(handles) if backwards else handles:
                handle.cancel()
            await receivers_parked(channel, 0)
            elapsed += perf_counter() - start
    return elapsed


async def _check_linear(measure: Callable[[int, int, bool], Awaitable[float]], size: int, backwards: bool) -> None:
    ratios: list[float] = []
    for _ in range(5):
        small = await measure(size, 2, backwards)
        large = await measure(4 * size, 2, backwards)
        ratios.append(large / small)
        if ratios[-1] < 7:  # linear: 4, quadratic: 16
            return
    raise AssertionError(f"four times the goroutines took {ratios} times as long")


@pytest.mark.parametrize("backwards", [False, True], ids=["from-front", "from-back"])
@patient(60)
async def test_losing_select_cases_leave_in_constant_time(backwards: bool) -> None:
    """Goroutines that queue on a shared channel and are woken by their own: the time grows with their number only."""
    await _check_linear(_select_rounds, 400, backwards)


@pytest.mark.parametrize("backwards", [False, True], ids=["from-front", "from-back"])
@patient(60)
async def test_cancelled_waiters_leave_in_constant_time(backwards: bool) -> None:
    """Cancelling every waiter of a long queue takes time proportional to their number."""
    await _check_linear(_cancelled_waiters, 400, backwards)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("measure", [_select_rounds, _cancelled_waiters])
@patient(600)
async def test_leaving_a_long_queue_in_constant_time(measure: Callable[[int, int, bool], Awaitable[float]]) -> None:
    """The same with queues long enough for a linear search to dominate."""
    await _check_linear(measure, 5_000, True)
