"""What the contenders do. Each takes a number of operations, does them, and returns the seconds that took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import thread_time
from typing import Any, TypeAlias

import anyio
import trio

import gochan
from gochan import Channel, Group

from .harness import Workload
from .peers import GOCHAN, Peer


async def _noop() -> None:
    pass


# ---- producers and consumers ----
# The last consumer is the timing task itself, the others are tasks of the backend: the same tasks for every contender.

Part: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


async def _asyncio_crew(parts: list[Part], last: Part) -> float:
    start = thread_time()
    tasks = [asyncio.create_task(part()) for part in parts]
    await last()
    for task in tasks:
        await task
    return thread_time() - start


async def _trio_crew(parts: list[Part], last: Part) -> float:
    async with trio.open_nursery() as nursery:
        start = thread_time()
        for part in parts:
            nursery.start_soon(part)
        await last()
    return thread_time() - start


def flow(peer: Peer, capacity: int, producers: int = 1, consumers: int = 1, *, on_trio: bool = False) -> Workload:
    """Values from producers to consumers; an operation is one value. Operations are shared out evenly."""
    crew = _trio_crew if on_trio else _asyncio_crew

    async def workload(n: int) -> float:
        send, receive, close, _, _ = peer.open(capacity)

        async def producer() -> None:
            for i in range(n // producers):
                await send(i)

        async def consumer() -> None:
            for _ in range(n // consumers):
                await receive()

        seconds = await crew([producer] * producers + [consumer] * (consumers - 1), consumer)
        await close()
        return seconds

    return workload


def channel(capacity: int, *, on_trio: bool = False) -> Workload:
    return flow(GOCHAN, capacity, on_trio=on_trio)


def trio_bare() -> Workload:
    """A hand-off of nothing but trio's own `wait_task_rescheduled` and `reschedule`: what no channel can go below."""

    async def workload(n: int) -> float:
        waiting: list[trio.lowlevel.Task] = []

        def abort(_raise: object) -> trio.lowlevel.Abort:
            return trio.lowlevel.Abort.SUCCEEDED

        async def meet() -> None:
            if waiting:
                trio.lowlevel.reschedule(waiting.pop())
            else:
                waiting.append(trio.lowlevel.current_task())
                await trio.lowlevel.wait_task_rescheduled(abort)

        async def side() -> None:
            for _ in range(n):
                await meet()

        return await _trio_crew([side], side)

    return workload


# ---- select ----


def select_parked(*, on_trio: bool = False) -> Workload:
    """A hand-off whose consumer selects over four channels, which the producer feeds in turn."""
    crew = _trio_crew if on_trio else _asyncio_crew

    async def workload(n: int) -> float:
        a, b, c, d = channels = [Channel[int]() for _ in range(4)]

        async def producer() -> None:
            for i in range(n):
                await channels[i & 3].send(i)

        async def consumer() -> None:
            for _ in range(n):
                await gochan.select(a, b, c, d)

        return await crew([producer], consumer)

    return workload


async def select_ready(n: int) -> float:
    """One select a value over four buffered channels; never all empty, so no select waits."""
    a, b, c, d = channels = [Channel[int](n) for _ in range(4)]
    for ch in channels:
        for i in range(n):
            ch.send_nowait(i)
    select = gochan.select
    start = thread_time()
    for _ in range(n):
        await select(a, b, c, d)
    return thread_time() - start


async def receive_ready(n: int) -> float:
    ch = Channel[int](n)
    for i in range(n):
        ch.send_nowait(i)
    start = thread_time()
    for _ in range(n):
        await ch.receive()
    return thread_time() - start


# ---- spawning ----


async def spawn_group(n: int) -> float:
    start = thread_time()
    async with Group() as group:
        for _ in range(n):
            group.go(_noop)
    return thread_time() - start


async def call_group(n: int) -> float:
    """The calls of `go` alone; the goroutines run after the clock has stopped."""
    async with Group() as group:
        start = thread_time()
        for _ in range(n):
            group.go(_noop)
        return thread_time() - start


async def call_create_task(n: int) -> float:
    """The calls of `create_task` alone."""
    start = thread_time()
    tasks = [asyncio.create_task(_noop()) for _ in range(n)]
    seconds = thread_time() - start
    for task in tasks:
        await task
    return seconds


async def spawn_kept_tasks(n: int) -> float:
    """`create_task` as its documentation advises: kept in a set that each leaves when it is done."""
    kept = set[asyncio.Task[None]]()
    task: asyncio.Task[None] | None = None
    start = thread_time()
    for _ in range(n):
        task = asyncio.create_task(_noop())
        kept.add(task)
        task.add_done_callback(kept.discard)
    task = None  # so that the set alone keeps the last one, too
    while kept:
        await asyncio.sleep(0)
    return thread_time() - start


async def spawn_create_task(n: int) -> float:
    start = thread_time()
    tasks = [asyncio.create_task(_noop()) for _ in range(n)]
    for task in tasks:
        await task
    return thread_time() - start


async def spawn_asyncio_task_group(n: int) -> float:
    start = thread_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(n):
            group.create_task(_noop())
    return thread_time() - start


async def spawn_anyio_task_group(n: int) -> float:
    start = thread_time()
    async with anyio.create_task_group() as group:
        for _ in range(n):
            group.start_soon(_noop)
    return thread_time() - start


async def spawn_nursery(n: int) -> float:
    start = thread_time()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(_noop)
    return thread_time() - start
