"""Nobody starves: timers, sockets and other tasks beside tasks that never have to wait."""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import receivers_parked, until

from gochan import Channel, Event, Goroutine, Group, go, receive_ok, select, send
from gochan._core.driver import QUANTUM, STREAK, current_driver

Operation = Callable[[], Awaitable[object]]

BUDGET = QUANTUM * STREAK


async def nothing() -> None: ...


def endless() -> Channel[int]:
    """A channel that has a value for whoever asks."""
    channel = Channel[int](math.inf)
    for number in range(5000):
        channel.send_nowait(number)
    return channel


async def operations() -> dict[str, Operation]:
    """Operations that never have to wait, one of each kind."""
    source, sink, event = endless(), Channel[int](math.inf), Event()
    closed = Channel[int]()
    closed.close()
    event.set()
    async with Group() as group:
        ended: Goroutine[None] = group.go(nothing)
    return {
        "send": lambda: sink.send(1),
        "receive": source.receive,
        "receive_ok": source.receive_ok,
        "receive_ok closed": closed.receive_ok,
        "receive_many": lambda: source.receive_many(1),
        "iteration": source.__anext__,
        "select": lambda: select(source, send(sink, 1)),
        "select priority": lambda: select(None, source, priority=True),
        "select closed": lambda: select(receive_ok(closed)),
        "event": event.wait,
        "result": ended.result,
    }


KINDS = [
    *("send", "receive", "receive_ok", "receive_ok closed", "receive_many", "iteration"),
    *("select", "select priority", "select closed", "event", "result"),
]


def test_the_budget_is_about_a_hundred() -> None:
    """More would make others wait; less would cost too much."""
    assert 64 <= BUDGET <= 200


@pytest.mark.parametrize("kind", KINDS)
async def test_a_task_that_never_waits_gives_way(kind: str) -> None:
    """Another task has its turn after about a hundred operations, again and again."""
    operation = (await operations())[kind]
    done, seen = 0, list[int]()

    async def hog() -> None:
        nonlocal done
        while done < 10 * BUDGET:
            await operation()
            done += 1

    async def other() -> None:
        while done < 10 * BUDGET:
            seen.append(done)
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(hog)
            group.start_soon(other)
    gaps = [later - earlier for earlier, later in pairwise(seen)]
    assert max(gaps) <= 2 * BUDGET + QUANTUM  # trio draws who of a batch comes first
    assert len(seen) >= 8


@pytest.mark.parametrize("kind", KINDS)
async def test_the_yield_comes_before_the_attempt(kind: str) -> None:
    """It is a cancellation point, and the operation that was cut off there has not been tried."""
    operation = (await operations())[kind]
    done = 0
    with anyio.fail_after(10):
        with anyio.CancelScope() as scope:
            scope.cancel()
            while done < 10 * BUDGET:
                await operation()
                done += 1
    assert scope.cancelled_caught
    assert BUDGET - QUANTUM <= done <= BUDGET + QUANTUM


async def test_what_was_cut_off_by_the_budget_has_not_happened() -> None:
    """Exactly the values that were received are gone, exactly those that were sent are there."""
    source, sink = endless(), Channel[int](math.inf)
    got = list[int]()
    with anyio.CancelScope() as scope:
        scope.cancel()
        while True:
            got.append(await source.receive())
            await sink.send(got[-1])
    assert source.statistics().received == len(got)
    assert sink.statistics().sent in (len(got), len(got) - 1)
    assert await source.receive() == len(got)


async def test_the_budget_is_the_task_s_own() -> None:
    """A task that does few operations between two waits is not made to yield by a neighbour that does many."""
    source, turns = endless(), 0
    requests = Channel[Channel[int]]()

    async def neighbour() -> None:
        nonlocal turns
        async for reply in requests:
            turns += 1
            for _ in range(10):
                await source.receive()
            await reply.send(turns)

    with anyio.fail_after(10):
        async with Group() as group:
            group.go(neighbour)
            for number in range(100):
                reply = Channel[int](1)
                await requests.send(reply)
                assert await reply.receive() == number + 1
            requests.close()


def ping_pong(stop: Callable[[], bool]) -> list[Callable[[], Awaitable[None]]]:
    """Two tasks that hand a value to and fro without ever letting up."""
    there, back = Channel[int](), Channel[int]()

    async def ping() -> None:
        while not stop():
            await there.send(1)
            await back.receive()
        there.close()

    async def pong() -> None:
        async for number in there:
            await back.send(number)

    return [ping, pong]


def hog(stop: Callable[[], bool]) -> list[Callable[[], Awaitable[None]]]:
    """One task that never has to wait."""
    channel = Channel[int](1)

    async def alone() -> None:
        while not stop():
            await channel.send(1)
            await channel.receive()

    return [alone]


@pytest.mark.parametrize("busy", [ping_pong, hog])
async def test_a_timer_and_a_socket_are_not_kept_waiting(busy: Any) -> None:
    """On the real loop: a timer of 20 ms fires about then, and a socket with data is read."""
    stop = False
    left, right = socket.socketpair()
    with left, right, anyio.fail_after(20):
        left.setblocking(False)
        right.setblocking(False)
        async with Group() as group:
            for task in busy(lambda: stop):
                group.go(task)
            delays = list[float]()
            for _ in range(3):
                started = time.perf_counter()
                await anyio.sleep(0.02)
                delays.append(time.perf_counter() - started)
            right.send(b"x")
            await anyio.wait_readable(left)
            assert left.recv(1) == b"x"
            stop = True
    assert min(delays) < 0.2  # the machine may be slow, but not three times in a row


async def test_other_tasks_run_beside_a_ping_pong() -> None:
    """A task that only yields to the loop has its turns, and so has a third on channels of its own."""
    stop = False
    with anyio.fail_after(20):
        async with Group() as group:
            for task in [*ping_pong(lambda: stop), *ping_pong(lambda: stop)]:
                group.go(task)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            mine = Channel[int]()
            for number in range(20):
                go(mine.send, number)
                assert await mine.receive() == number
            stop = True


@pytest.mark.asyncio_only
async def test_a_task_that_starts_others_gives_way_too() -> None:
    """With eager tasks they park inside its own step, which must not count as its having been suspended."""
    import asyncio

    channel, other, turns = Channel[int](1), Channel[int](), 0
    children = list[asyncio.Task[int]]()

    def turn() -> None:
        nonlocal turns
        turns += 1

    asyncio.get_running_loop().call_soon(turn)
    for number in range(10 * BUDGET):
        if number % 20 == 0:
            children.append(asyncio.create_task(other.receive()))
        await channel.send(1)
        await channel.receive()
    seen = turns
    for child in children:
        child.cancel()
    await asyncio.gather(*children, return_exceptions=True)
    assert seen == 1


# ---- leaving a queue ----


def steps(fn: Callable[[], object]) -> int:
    """How many lines of Python a call runs."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        fn()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("how", ["plain", "select"])
async def test_leaving_a_long_queue_takes_a_few_steps(how: str) -> None:
    """From its middle, among 10 as among 2,000: a cancelled waiter, and the losing case of a select."""
    counted = list[int]()
    for length in (10, 2_000):
        channel, decoy = Channel[int](), Channel[int]()
        async with Group() as group:
            leaver = None
            for number in range(length):
                if number == length // 2:
                    await until(lambda n=number: len(channel._state.receivers) == n)  # type: ignore[misc]
                    waiting = group.go(channel.receive) if how == "plain" else group.go(select, channel, decoy)
                    await until(lambda n=number: len(channel._state.receivers) == n + 1)  # type: ignore[misc]
                    assert channel._state.receivers.tail is not None
                    leaver = channel._state.receivers.tail
                else:
                    group.go(channel.receive)
            await receivers_parked(channel, length)
            assert leaver is not None
            if how == "plain":
                queue = channel._state.receivers
                counted.append(steps(lambda: queue.remove(leaver)))
                queue.append(leaver)
            else:
                counted.append(steps(lambda: decoy.send_nowait(1)))
                await waiting.result()
            channel._state._check()
            group.cancel()
    assert max(counted) < 200


@pytest.mark.parametrize("kind", ["receive", "receive_ok", "receive_many", "select"])
async def test_what_was_ready_before_the_yield_is_looked_at_again(kind: str) -> None:
    """Another task may take the value while this one gives way; then it waits for the next."""
    channel, ready, go_on = Channel[str](1), Event(), anyio.Event()
    channel.send_nowait("first")
    ready.set()
    driver = current_driver()
    assert driver is not None
    stolen = list[str]()

    async def thief() -> None:
        await go_on.wait()
        if len(channel):
            stolen.append(channel.receive_nowait())
            await receivers_parked(channel)
        await channel.send("second")

    with anyio.fail_after(20):
        async with Group() as group:
            group.go(thief)
            await anyio.wait_all_tasks_blocked()
            while driver.budget or driver.streak < STREAK - 1:
                await ready.wait()
            go_on.set()
            match kind:
                case "receive":
                    got: Any = await channel.receive()
                case "receive_ok":
                    got = (await channel.receive_ok())[0]
                case "receive_many":
                    got = (await channel.receive_many(1))[0]
                case _:
                    got = (await select(channel, Event()))[1]
    assert [*stolen, got][:2] in (["first", "second"], ["first"])
