"""Nothing grows: what has ended, lost or given up leaves nothing behind in what lives on."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio
import pytest

from gochan import Channel, Event, Group, select, send

from .conftest import Scale
from .helpers import settle

ROUNDS = 1_000


async def growth(scale: Callable[[], Scale], rounds: int, body: Callable[[], Awaitable[object]]) -> float:
    """Bytes that one call of `body` leaves behind: the least of three looks, since tables grow now and then."""
    for _ in range(200):
        await body()
    least = math.inf
    for _ in range(3):
        empty = scale()
        for _ in range(rounds):
            await body()
        least = min(least, empty.read() / rounds)
        if least < 1:
            break
    return least


async def losing_selects(scale: Callable[[], Scale], rounds: int) -> None:
    dummy, out, other = Channel[int](), Channel[int](), Channel[int]()
    out_full = Channel[int](1)
    out_full.send_nowait(0)

    async def partner() -> None:
        async for _ in out:
            await other.send(1)

    async def lose() -> None:
        out.send_nowait(0)  # the partner parks, or we would not be here
        index, _ = await select(dummy, other, send(out_full, 1), priority=True)
        assert index == 1
        await anyio.sleep(0)

    with anyio.fail_after(50 + rounds / 1_000):
        async with Group() as group:
            group.go(partner)
            await settle()
            assert await growth(scale, rounds, lose) < 8
            group.cancel()
    assert dummy.statistics().receivers_waiting == 0
    assert out_full.statistics().senders_waiting == 0


async def test_selects_that_lose(scale: Callable[[], Scale]) -> None:
    """A select that parked on a channel and lost there leaves nothing behind in it."""
    await losing_selects(scale, ROUNDS)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_many_selects_that_lose(scale: Callable[[], Scale]) -> None:
    """A hundred thousand selects that lose on a channel do not grow memory."""
    await losing_selects(scale, 100_000)


async def test_waiters_that_give_up(scale: Callable[[], Scale]) -> None:
    """A cancelled receive, send, select or wait leaves nothing behind."""
    ch, event = Channel[int](), Event()
    operations: list[Callable[[], Awaitable[object]]] = [
        ch.receive,
        lambda: ch.send(1),
        lambda: select(ch, send(ch, 1), event),
        event.wait,
    ]

    async def give_up() -> None:
        for operation in operations:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await operation()

    with anyio.fail_after(50):
        assert await growth(scale, ROUNDS // 10, give_up) < 80
    statistics = ch.statistics()
    assert (statistics.receivers_waiting, statistics.senders_waiting) == (0, 0)


async def test_goroutines_that_end(scale: Callable[[], Scale]) -> None:
    """A goroutine that has ended leaves nothing behind in a group that lives on."""

    async def nothing() -> None:
        pass

    with anyio.fail_after(50):
        async with Group() as group:

            async def spawn() -> None:
                await group.go(nothing).result()
                await anyio.sleep(0)

            assert await growth(scale, ROUNDS // 2, spawn) < 40
