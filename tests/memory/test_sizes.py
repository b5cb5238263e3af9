"""What a channel, a parked goroutine and a parked task weigh."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gochan import Channel, Group

from .conftest import Scale
from .helpers import settle

CROWD = 10_000


def test_idle_channel(scale: Callable[[], Scale]) -> None:
    """An idle channel takes less than 500 bytes."""
    keep: list[object] = [None] * CROWD
    Channel[int]()
    empty = scale()
    for i in range(CROWD):
        keep[i] = Channel[int]()
    assert empty.read() / CROWD < 500


def test_parked_goroutine(scale: Callable[[], Scale]) -> None:
    """A goroutine parked on a channel takes no more than 1.6 KB, everything counted."""

    async def main() -> float:
        ch = Channel[int]()

        async def worker() -> None:
            await ch.receive()

        async with Group() as group:
            group.go(worker)
            await settle()
            empty = scale()
            for _ in range(CROWD):
                group.go(worker)
            await settle()
            weight = empty.read()
            assert ch.statistics().receivers_waiting == CROWD + 1
            group.cancel()
        return weight / CROWD

    assert asyncio.run(main()) <= 1600


def test_parked_task(scale: Callable[[], Scale]) -> None:
    """A task parked on a channel takes less than 1 KB beyond what it takes on a bare asyncio future."""

    async def main(make: Callable[[], Coroutine[Any, Any, object]]) -> float:
        tasks: list[Any] = [None] * CROWD
        first = asyncio.create_task(make())
        await settle()
        empty = scale()
        for i in range(CROWD):
            tasks[i] = asyncio.create_task(make())
        await settle()
        weight = empty.read()
        for task in [first, *tasks]:
            task.cancel()
        await asyncio.wait([first, *tasks])
        return weight / CROWD

    ch = Channel[int]()

    async def on_channel() -> None:
        await ch.receive()

    async def on_future() -> None:
        await asyncio.get_running_loop().create_future()

    bare = asyncio.run(main(on_future))
    assert asyncio.run(main(on_channel)) - bare < 1000


def test_queues_give_their_memory_back(scale: Callable[[], Scale]) -> None:
    """What thousands of waiters took is free again when they have left, though the channel lives on."""

    async def crowd(ch: Channel[int]) -> None:
        async with Group() as group:
            for _ in range(CROWD):
                group.go(ch.receive)
            await settle()
            assert ch.statistics().receivers_waiting == CROWD
            group.cancel()

    async def main() -> int:
        ch = Channel[int]()
        empty = scale()
        await crowd(ch)
        tables = empty.read()  # asyncio's and anyio's own tables of tasks, which grow once and stay
        await crowd(ch)
        left = empty.read() - tables
        assert ch.statistics().receivers_waiting == 0
        return left

    assert asyncio.run(main()) / CROWD < 20
