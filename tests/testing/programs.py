"""Small programs with one bug each, and without it, for the explorer to find or to be silent about."""

from __future__ import annotations

import anyio

import gochan
from gochan import Channel, Group, receive, select, send, try_select


async def lost_update(workers: int = 2, careful: bool = False) -> None:
    """Read, let others run, write what was read plus one."""
    state = 0
    lock: Channel[None] = Channel(1)

    async def worker() -> None:
        nonlocal state
        if careful:
            await lock.send(None)
        seen = state
        await gochan.sleep(0)
        state = seen + 1
        if careful:
            await lock.receive()

    async with Group() as group:
        for _ in range(workers):
            group.go(worker)
    assert state == workers, f"{state} updates of {workers}"


async def abba(careful: bool = False) -> None:
    """Two channels as locks, taken in two orders."""
    a: Channel[None] = Channel(1, name="a")
    b: Channel[None] = Channel(1, name="b")

    async def both(first: Channel[None], second: Channel[None]) -> None:
        await first.send(None)
        await second.send(None)
        await second.receive()
        await first.receive()

    async with Group() as group:
        group.go(both, a, b)
        group.go(both, *((a, b) if careful else (b, a)))


async def starved(noise: int = 3, careful: bool = False) -> None:
    """A signal that is dropped if nobody listens at that moment, among goroutines that have nothing to do with it."""
    signal: Channel[str] = Channel(1 if careful else 0)

    async def listener() -> None:
        await gochan.sleep(0)
        await signal.receive()

    async def signaller() -> None:
        for _ in range(5):
            await gochan.sleep(0)
        try_select(send(signal, "now"))

    async def noisy() -> None:
        for _ in range(10):
            await gochan.sleep(0)

    async with Group() as group:
        for fn in (listener, signaller, *[noisy] * noise):
            group.go(fn)


async def look_before_you_take(careful: bool = False) -> None:
    """Correct as long as a receive of what is there does not yield; nothing promises that."""
    jobs: Channel[int] = Channel(1)
    jobs.send_nowait(1)
    taken: list[int] = []

    async def taker() -> None:
        if careful:
            try:
                taken.append(jobs.receive_nowait())
            except anyio.WouldBlock:
                pass
        elif len(jobs):
            taken.append(await jobs.receive())

    async with Group() as group:
        group.go(taker)
        group.go(taker)
    assert taken == [1]


async def same_time(careful: bool = False) -> None:
    """Two timers of one deadline, and somebody who believes that the first made is the first to fire."""
    fired: list[str] = []

    async def timer(name: str, seconds: float) -> None:
        await gochan.sleep(seconds)
        fired.append(name)

    async with Group() as group:
        group.go(timer, "reminder", 3600)
        group.go(timer, "deadline", 7200 if careful else 3600)
    assert fired == ["reminder", "deadline"]


async def same_select(careful: bool = False) -> None:
    """Two ready cases, and somebody who believes that the first one wins."""
    stop: Channel[None] = Channel(1)
    jobs: Channel[int] = Channel(1)
    stop.send_nowait(None)
    jobs.send_nowait(1)
    number, _ = await select(receive(stop), receive(jobs), priority=careful)
    assert number == 0


async def pipeline() -> None:
    """Correct: three workers between two channels, closed in order."""
    jobs: Channel[int] = Channel(1)
    results: Channel[int] = Channel()
    squares: list[int] = []

    async def worker() -> None:
        async for job in jobs:
            await results.send(job * job)

    async def collect() -> None:
        squares.extend([square async for square in results])

    async with Group() as outer:
        outer.go(collect)
        async with Group() as workers:
            for _ in range(3):
                workers.go(worker)
            for job in range(6):
                await jobs.send(job)
            jobs.close()
        results.close()
    assert sorted(squares) == [0, 1, 4, 9, 16, 25]


async def left_behind(careful: bool = False) -> None:
    """Go's early return: whoever is not waited for sends to nobody."""
    answers: Channel[int] = Channel(2 if careful else 0)

    async def ask(number: int) -> None:
        await answers.send(number)

    gochan.go(ask, 1)
    gochan.go(ask, 2)
    await answers.receive()


async def endless() -> None:
    """Two goroutines that have always one more thing to say."""
    there: Channel[int] = Channel()
    back: Channel[int] = Channel()

    async def echo() -> None:
        async for word in there:
            await back.send(word)

    async with Group() as group:
        group.go(echo)
        while True:
            await there.send(1)
            await back.receive()


async def cancelled_together() -> list[int]:
    """Eight goroutines in one scope, which anyio keeps in a set; the order in which they end."""
    ended: list[int] = []

    async def waiter(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(number)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(waiter, number)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    return ended


BUGS = (lost_update, abba, starved, look_before_you_take, same_time, same_select, left_behind)
