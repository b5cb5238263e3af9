"""What the contenders do. Each takes a number of operations, does them, and returns the seconds that took."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import thread_time
from typing import Any

import anyio
import trio

import gochan
from gochan import Channel, Group

from .harness import Workload


async def _noop() -> None:
    pass


# ---- one producer, one consumer ----
# The consumer is the timing task itself, the producer a task of the backend: the same two tasks for every contender.


async def _asyncio_duel(producer: Callable[[], Any], consumer: Callable[[], Awaitable[None]]) -> float:
    start = thread_time()
    task = asyncio.create_task(producer())
    await consumer()
    await task
    return thread_time() - start


async def _trio_duel(producer: Callable[[], Any], consumer: Callable[[], Awaitable[None]]) -> float:
    async with trio.open_nursery() as nursery:
        start = thread_time()
        nursery.start_soon(producer)
        await consumer()
        return thread_time() - start


def channel(capacity: int, *, on_trio: bool = False) -> Workload:
    duel = _trio_duel if on_trio else _asyncio_duel

    async def workload(n: int) -> float:
        ch = Channel[int](capacity)

        async def producer() -> None:
            for i in range(n):
                await ch.send(i)

        async def consumer() -> None:
            for _ in range(n):
                await ch.receive()

        return await duel(producer, consumer)

    return workload


def asyncio_queue(size: int) -> Workload:
    async def workload(n: int) -> float:
        queue = asyncio.Queue[int](size)

        async def producer() -> None:
            for i in range(n):
                await queue.put(i)

        async def consumer() -> None:
            for _ in range(n):
                await queue.get()

        return await _asyncio_duel(producer, consumer)

    return workload


def anyio_stream(size: int) -> Workload:
    async def workload(n: int) -> float:
        sending, receiving = anyio.create_memory_object_stream[int](size)

        async def producer() -> None:
            for i in range(n):
                await sending.send(i)

        async def consumer() -> None:
            for _ in range(n):
                await receiving.receive()

        with sending, receiving:
            return await _asyncio_duel(producer, consumer)

    return workload


def trio_channel(size: int) -> Workload:
    async def workload(n: int) -> float:
        sending, receiving = trio.open_memory_channel[int](size)

        async def producer() -> None:
            for i in range(n):
                await sending.send(i)

        async def consumer() -> None:
            for _ in range(n):
                await receiving.receive()

        with sending, receiving:
            return await _trio_duel(producer, consumer)

    return workload


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

        return await _trio_duel(side, side)

    return workload


# ---- select ----


def select_parked(*, on_trio: bool = False) -> Workload:
    """A hand-off whose consumer selects over four channels, which the producer feeds in turn."""
    duel = _trio_duel if on_trio else _asyncio_duel

    async def workload(n: int) -> float:
        a, b, c, d = channels = [Channel[int]() for _ in range(4)]

        async def producer() -> None:
            for i in range(n):
                await channels[i & 3].send(i)

        async def consumer() -> None:
            for _ in range(n):
                await gochan.select(a, b, c, d)

        return await duel(producer, consumer)

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
    start = thread_time()
    for _ in range(n):
        task = asyncio.create_task(_noop())
        kept.add(task)
        task.add_done_callback(kept.discard)
    del task
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
