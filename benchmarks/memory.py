"""What things weigh: bytes each by `tracemalloc`, the mean over many, on the default asyncio loop."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import trio

from gochan import Channel, Group

from .harness import Goal
from .peers import Peer

COUNT = 10_000


class _Scale:
    """Bytes allocated since it was made that are still alive."""

    def __init__(self) -> None:
        gc.collect()
        tracemalloc.start()
        self._empty = tracemalloc.get_traced_memory()[0]

    def read(self) -> int:
        gc.collect()
        weight = tracemalloc.get_traced_memory()[0] - self._empty
        tracemalloc.stop()
        return weight


async def _settle() -> None:
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def _parked_goroutines(count: int, *, shared: bool = True) -> float:
    ch = Channel[int]()

    async def on_shared() -> None:
        await ch.receive()

    async def on_own() -> None:
        await Channel[int]().receive()

    # Two of them, since each variable from outside is a part of the frame that is weighed.
    worker = on_shared if shared else on_own
    async with Group() as group:
        group.go(worker)
        await _settle()
        scale = _Scale()
        for _ in range(count):
            group.go(worker)
        await _settle()
        weight = scale.read()
        assert not shared or ch.statistics().receivers_waiting == count + 1
        group.cancel()
    return weight / count


async def _parked_tasks(count: int, make: Callable[[], Coroutine[Any, Any, object]]) -> float:
    tasks: list[asyncio.Task[object]] = [None] * (count + 1)  # type: ignore[list-item]
    tasks[count] = asyncio.create_task(make())
    await _settle()
    scale = _Scale()
    for i in range(count):
        tasks[i] = asyncio.create_task(make())
    await _settle()
    weight = scale.read()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return weight / count


async def _on_future() -> None:
    await asyncio.get_running_loop().create_future()


async def _on_own_channel() -> None:
    await Channel[int]().receive()


def _on_shared_channel() -> Callable[[], Coroutine[Any, Any, None]]:
    ch = Channel[int]()

    async def task() -> None:
        await ch.receive()

    return task


def _sizes_asyncio(make: Callable[[int], Coroutine[Any, Any, float]]) -> Callable[[int], float]:
    return lambda count: asyncio.run(make(count))


def idle_channel(count: int = COUNT) -> float:
    """An idle `Channel()`."""
    keep: list[Channel[int] | None] = [None] * count
    Channel[int]()
    scale = _Scale()
    for i in range(count):
        keep[i] = Channel[int]()  # as users spell it; the subscript leaves a mark on the object
    return scale.read() / count


def idle(peer: Peer) -> Callable[[int], float]:
    """A peer's idle channel, with both its ends: of capacity 0, which where that means "unbounded" is as empty."""

    async def weigh(count: int) -> float:
        keep: list[Any] = [None] * count
        peer.make(0)
        scale = _Scale()
        for i in range(count):
            keep[i] = peer.make(0)
        weight = scale.read() / count
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # ten thousand are not closed one by one
            del keep
            gc.collect()
        return weight

    return _sizes_asyncio(weigh)


def parked_on(peer: Peer, *, shared: bool) -> Callable[[int], float]:
    """A task that waits on a peer's channel, with that channel unless it is shared."""

    async def weigh(count: int) -> float:
        one = peer.open(1)

        async def task() -> None:
            line = one if shared else peer.open(1)
            await line.receive()

        try:
            return await _parked_tasks(count, task)
        finally:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()

    return _sizes_asyncio(weigh)


parked_goroutine = _sizes_asyncio(_parked_goroutines)
parked_goroutine_own = _sizes_asyncio(lambda count: _parked_goroutines(count, shared=False))
task_on_future = _sizes_asyncio(lambda count: _parked_tasks(count, _on_future))
task_on_channel = _sizes_asyncio(lambda count: _parked_tasks(count, _on_shared_channel()))
task_on_own_channel = _sizes_asyncio(lambda count: _parked_tasks(count, _on_own_channel))


def parked_goroutine_on_trio(count: int) -> float:
    return trio.run(_parked_goroutines, count)


def trio_tasks(count: int) -> float:
    """A task of a nursery that waits on trio's own memory channel."""

    async def main() -> float:
        _, receiving = trio.open_memory_channel[int](0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receiving.receive)
            await _settle()
            scale = _Scale()
            for _ in range(count):
                nursery.start_soon(receiving.receive)
            await _settle()
            weight = scale.read()
            nursery.cancel_scope.cancel()
        return weight / count

    return trio.run(main)


def anyio_tasks(count: int) -> float:
    async def main() -> float:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            await _settle()
            scale = _Scale()
            for _ in range(count):
                group.start_soon(anyio.sleep_forever)
            await _settle()
            weight = scale.read()
            group.cancel_scope.cancel()
        return weight / count

    return asyncio.run(main())


@dataclass(frozen=True)
class Weight:
    """One row: bytes each; with `beyond`, what is left after that is taken off."""

    name: str
    title: str
    ours: Callable[[int], float]
    goal: Goal | None
    beyond: Callable[[int], float] | None = None
    theirs: Callable[[int], float] | None = None


WEIGHTS = (
    Weight(
        "parked-goroutine",
        "goroutine parked on receive()",
        parked_goroutine,
        Goal("at most", 1600),
        theirs=anyio_tasks,
    ),
    Weight("idle-channel", "idle Channel[int]()", idle_channel, Goal("below", 500)),
    Weight(
        "parked-task",
        "task parked on a channel, beyond a bare future",
        task_on_channel,
        Goal("below", 1000),
        beyond=task_on_future,
    ),
    Weight("parked-task-own", "the same, a channel for each task", task_on_own_channel, None, beyond=task_on_future),
)
