"""What an operation costs among many: waiters, channels, goroutines, cases of a select.

Unlike in a race, the crowd is made once and then measured in several rounds, each a batch of operations; so a workload
here takes the size of the crowd and the rounds, and returns nanoseconds an operation for each round. The garbage
collector is off meanwhile, as in a race.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random
from time import thread_time
from typing import Any, TypeAlias

import trio

from gochan import Channel, select

from .harness import Backend, BackendName
from .peers import GOCHAN, QUEUE, Line, Peer
from .workloads import spawn_asyncio_task_group, spawn_create_task, spawn_group, spawn_nursery

BATCH = 200
SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
Growing: TypeAlias = Callable[[int, int], Awaitable[list[float]]]


@asynccontextmanager
async def _crowd(on_trio: bool) -> AsyncGenerator[Callable[..., Any], None]:
    """Gives a function that starts a plain task of the backend; ends all of them on leaving."""
    if on_trio:
        async with trio.open_nursery() as nursery:
            yield nursery.start_soon
            nursery.cancel_scope.cancel()
        return
    tasks: list[asyncio.Task[None]] = []

    def start(fn: Callable[..., Coroutine[Any, Any, None]], *args: object) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(fn(*args)))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _turns(on_trio: bool, count: int = 3) -> None:
    for _ in range(count):
        await (trio.lowlevel.checkpoint() if on_trio else asyncio.sleep(0))


class _Tally:
    """Counts what consumers got, so that a batch ends when all of it has arrived."""

    def __init__(self) -> None:
        self.got = 0

    async def take_for_ever(self, receive: Callable[[], Awaitable[object]]) -> None:
        while True:
            await receive()
            self.got += 1

    async def batch(self, sends: list[Callable[[Any], Awaitable[object]]], on_trio: bool) -> float:
        """Nanoseconds a value."""
        awaited = self.got + len(sends)
        start = thread_time()
        for send in sends:
            await send(0)
        while self.got < awaited:
            await _turns(on_trio, 1)
        return (thread_time() - start) / len(sends) * 1e9


def waiters(peer: Peer, on_trio: bool) -> Growing:
    """So many tasks wait on one channel of capacity 1; a value wakes the first, which goes back to the end."""

    async def measure(size: int, rounds: int) -> list[float]:
        line, tally = peer.open(1), _Tally()
        async with _crowd(on_trio) as start:
            for _ in range(size):
                start(tally.take_for_ever, line.receive)
            await _turns(on_trio)
            await tally.batch([line.send] * BATCH, on_trio)
            return [await tally.batch([line.send] * BATCH, on_trio) for _ in range(rounds)]

    return measure


def channels(peer: Peer, on_trio: bool) -> Growing:
    """So many channels of capacity 1, a task waiting on each; a value goes to one drawn at random."""

    async def measure(size: int, rounds: int) -> list[float]:
        tally, random = _Tally(), Random(0)
        lines: list[Line] = [peer.open(1) for _ in range(size)]
        sends = [line.send for line in lines]
        async with _crowd(on_trio) as start:
            for line in lines:
                start(tally.take_for_ever, line.receive)
            await _turns(on_trio)
            await tally.batch(random.choices(sends, k=BATCH), on_trio)
            return [await tally.batch(random.choices(sends, k=BATCH), on_trio) for _ in range(rounds)]

    return measure


def leaving(peer: Peer) -> Growing:
    """So many tasks wait on one channel; one from the middle is cancelled, and another comes at the end. (asyncio)"""

    async def measure(size: int, rounds: int) -> list[float]:
        line, tally = peer.open(1), _Tally()
        found: list[float] = []
        async with _crowd(False) as start:
            tasks: list[asyncio.Task[None]] = [start(tally.take_for_ever, line.receive) for _ in range(size)]
            await _turns(False)
            number = min(50, size)
            for _ in range(rounds + 1):
                middle = (len(tasks) - number) // 2
                leavers = tasks[middle : middle + number]
                begun = thread_time()
                for task in leavers:
                    task.cancel()
                await _turns(False, 2)
                found.append((thread_time() - begun) / number * 1e9)
                assert all(task.done() for task in leavers)
                tasks[middle : middle + number] = []
                tasks += [start(tally.take_for_ever, line.receive) for _ in leavers]
                await _turns(False)
        return found[1:]

    return measure


def spawning(workload: Callable[[int], Awaitable[float]]) -> Growing:
    """So many goroutines at a time, from the making to the end of the last; small crowds again and again."""

    async def measure(size: int, rounds: int) -> list[float]:
        again = max(1, 300 // size)
        found: list[float] = []
        for _ in range(rounds + 1):
            gc.collect()
            found.append(sum([await workload(size) for _ in range(again)]) / again / size * 1e9)
        return found[1:]

    return measure


def cases_ready(size: int) -> tuple[list[Channel[int]], int]:
    """Channels of which every one has a value, and how many selects a round."""
    made = [Channel[int](4) for _ in range(size)]
    for ch in made:
        ch.send_nowait(0)
    return made, max(2, min(200, 20_000 // size))


async def select_ready(size: int, rounds: int) -> list[float]:
    """A select over so many channels that all have a value; what it took is put back."""
    made, batch = cases_ready(size)
    found: list[float] = []
    for _ in range(rounds + 1):
        seconds = 0.0
        for _ in range(batch):
            start = thread_time()
            index, _ = await select(*made)
            seconds += thread_time() - start
            made[index].send_nowait(0)
        found.append(seconds / batch * 1e9)
    return found[1:]


def select_parked(on_trio: bool) -> Growing:
    """A task selects over so many empty channels; each value comes on one drawn at random, when it is parked."""

    async def measure(size: int, rounds: int) -> list[float]:
        made, random, tally = [Channel[int]() for _ in range(size)], Random(0), _Tally()
        batch = max(2, min(BATCH, 20_000 // size))

        async def receive() -> None:
            await select(*made)

        async with _crowd(on_trio) as start:
            start(tally.take_for_ever, receive)
            await _turns(on_trio)
            found = [
                await tally.batch([random.choice(made).send for _ in range(batch)], on_trio) for _ in range(rounds + 1)
            ]
        return found[1:]

    return measure


def carry_out(name: BackendName, work: Growing, size: int, rounds: int) -> list[float]:
    async def main() -> list[float]:
        return await work(size, rounds)

    with Backend(name) as backend:
        gc.disable()
        try:
            return backend.run(main)
        finally:
            gc.enable()


# What grows: the title, and who is measured on which backend.
GROWING: dict[str, dict[tuple[str, BackendName], Growing]] = {
    "waiters on a channel": {
        ("gochan", "asyncio"): waiters(GOCHAN, False),
        ("gochan on trio", "trio"): waiters(GOCHAN, True),
        ("asyncio.Queue", "asyncio"): waiters(QUEUE, False),
    },
    "a waiter leaves": {
        ("gochan", "asyncio"): leaving(GOCHAN),
        ("asyncio.Queue", "asyncio"): leaving(QUEUE),
    },
    "channels with a waiter": {
        ("gochan", "asyncio"): channels(GOCHAN, False),
        ("gochan on trio", "trio"): channels(GOCHAN, True),
        ("asyncio.Queue", "asyncio"): channels(QUEUE, False),
    },
    "goroutines made": {
        ("gochan", "asyncio"): spawning(spawn_group),
        ("gochan on trio", "trio"): spawning(spawn_group),
        ("asyncio.create_task", "asyncio"): spawning(spawn_create_task),
        ("asyncio.TaskGroup", "asyncio"): spawning(spawn_asyncio_task_group),
        ("trio nursery", "trio"): spawning(spawn_nursery),
    },
    "cases of a select, ready": {
        ("gochan", "asyncio"): select_ready,
        ("gochan on trio", "trio"): select_ready,
    },
    "cases of a select, parked": {
        ("gochan", "asyncio"): select_parked(False),
        ("gochan on trio", "trio"): select_parked(True),
    },
}
