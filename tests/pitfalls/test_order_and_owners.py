"""Pitfalls 7 to 10: who is served, what close means, and who owns what."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from tests.turns import given_up

import gochan
from gochan import Channel, ChannelClosed, Event, Group, go, select

from .helpers import turns


async def test_7_the_first_ready_case_always_wins() -> None:
    """Pitfall 7: taking the first ready case starves the others."""
    channels = [Channel[int](1) for _ in range(3)]
    wins: Counter[int] = Counter()
    for _ in range(300):
        for channel in channels:
            if not len(channel):
                channel.send_nowait(0)
        wins[(await select(*channels))[0]] += 1
    assert min(wins[index] for index in range(3)) > 40


async def test_7_a_newcomer_barges_past_those_who_wait() -> None:
    """Pitfall 7: a sender that comes when there is room again overtakes those that have waited for it."""
    channel: Channel[str] = Channel(1)
    with anyio.fail_after(20):
        await channel.send("zeroth")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.send, "first")
            await turns(3)
            tasks.start_soon(channel.send, "second")
            await turns(3)
            assert channel.receive_nowait() == "zeroth"
            with pytest.raises(anyio.WouldBlock):
                channel.send_nowait("barging")  # in the same step, before the first has run again
            assert [await channel.receive() for _ in range(2)] == ["first", "second"]


async def test_7_the_order_of_calls_is_the_order_of_service() -> None:
    """Pitfall 7: a checkpoint before the queue makes the order undefined; here whoever calls first is served first."""
    channel: Channel[int] = Channel()
    got: list[tuple[int, int]] = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            called: list[int] = []

            async def receiver(number: int) -> None:
                called.append(number)
                got.append((number, await channel.receive()))

            for number in range(10):
                tasks.start_soon(receiver, number)
            await turns(5)
            for value in range(10):
                channel.send_nowait(value)
    assert sorted(got, key=lambda pair: pair[1]) == list(zip(called, range(10), strict=True))


async def test_7_a_deadline_beats_what_is_possible_at_once() -> None:
    """Pitfall 7: a send that is possible at once fails because the deadline is checked first."""
    channel: Channel[int] = Channel(1)
    with anyio.fail_after(20):
        with anyio.move_on_after(0) as scope:
            await channel.send(1)
            assert await channel.receive() == 1
        assert not scope.cancelled_caught


async def test_7_ready_operations_starve_nobody() -> None:
    """Pitfall 7: a task whose operations never have to wait keeps the loop to itself; here timers and others go on."""
    channel: Channel[int] = Channel(1)
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await anyio.sleep(0)

    with anyio.fail_after(20):
        async with Group() as group:
            group.go(other)
            with anyio.move_on_after(0.001) as scope:  # a real one: it must come through while nobody waits
                while True:
                    await channel.send(1)
                    await channel.receive()
            while others <= 10:
                await channel.send(1)
                await channel.receive()
            group.cancel()
    assert scope.cancelled_caught


async def test_8_capacity_and_close_are_not_what_one_thinks() -> None:
    """Pitfall 8: 0 means unbounded; close drops what is buffered, or leaves receivers asleep; None marks the end."""
    rendezvous: Channel[int] = Channel()
    assert rendezvous.capacity == 0
    with pytest.raises(anyio.WouldBlock):
        rendezvous.send_nowait(1)
    with anyio.fail_after(20):
        buffered: Channel[int | None] = Channel(3)
        for value in (1, None, 2):
            await buffered.send(value)
        buffered.close()
        assert [value async for value in buffered] == [1, None, 2]
        ends: list[object] = []
        async with anyio.create_task_group() as tasks:

            async def receiver() -> None:
                with pytest.raises(ChannelClosed):
                    await rendezvous.receive()
                ends.append("receive")

            async def ok() -> None:
                ends.append(await rendezvous.receive_ok())

            async def iterator() -> None:
                ends.extend([value async for value in rendezvous])
                ends.append("iteration")

            async def selector() -> None:
                with pytest.raises(ChannelClosed):
                    await select(rendezvous)
                ends.append("select")

            for waiter in (receiver, ok, iterator, selector):
                tasks.start_soon(waiter)
            await turns(4)
            rendezvous.close()
        assert sorted(map(str, ends)) == sorted(["receive", "(None, False)", "iteration", "select"])
        # One error for both ends, and closing twice is no error.
        rendezvous.close()
        with pytest.raises(ChannelClosed):
            await rendezvous.send(1)
        assert issubclass(ChannelClosed, anyio.EndOfStream) and issubclass(ChannelClosed, anyio.ClosedResourceError)


def test_9_no_async_generator_in_the_public_api() -> None:
    """Pitfall 9: a scope held by an async generator is left in another task, or never."""
    for name in gochan.__all__:
        public: Any = getattr(gochan, name)
        members = [public, *(vars(public).values() if inspect.isclass(public) else ())]
        for member in members:
            assert not inspect.isasyncgenfunction(inspect.unwrap(member) if callable(member) else member), name


async def test_9_an_abandoned_iteration_holds_nothing() -> None:
    """Pitfall 9: leaving `async for` early leaves the channel usable, with nobody in its queues."""
    channel: Channel[int] = Channel(3)
    with anyio.fail_after(20):
        for value in range(3):
            await channel.send(value)
        async for value in channel:
            assert value == 0
            break
        with given_up():
            async for value in channel:
                pass
        statistics = channel.statistics()
        assert (statistics.receivers_waiting, statistics.received) == (0, 3)
        # Iterating in one task and going on in another is no trouble either.
        iterator = aiter(channel)
        got: list[int] = []

        async def one_step() -> None:
            got.append(await anext(iterator))

        for value in (10, 11):
            channel.send_nowait(value)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one_step)
        assert got == [10, 11]


async def test_10_tasks_that_nobody_holds_vanish() -> None:
    """Pitfall 10: a task that nobody refers to is collected as garbage, its error is never seen."""
    started: list[int] = []
    channel: Channel[int] = Channel()

    async def work(number: int) -> None:
        started.append(number)
        await channel.receive()
        started.append(-number)

    with anyio.fail_after(20):
        async with Group():
            for number in (1, 2, 3):
                go(work, number)
            await turns(3)
            gc.collect()
            for _ in range(3):
                await channel.send(0)
        assert sorted(started) == [-3, -2, -1, 1, 2, 3]

        async def fail() -> None:
            raise LookupError("seen")

        with pytest.raises(ExceptionGroup) as caught:
            async with Group():
                go(fail)
        assert [type(error) for error in caught.value.exceptions] == [LookupError]


async def test_10_a_waiter_keeps_what_it_waited_for() -> None:
    """Pitfall 10: references kept after a select or a time-out leak; losers and cancelled waiters keep nothing."""

    class Payload:
        pass

    busy: Channel[Payload] = Channel()
    ready: Channel[int] = Channel(1)
    forgotten: list[weakref.ref[Payload]] = []
    with anyio.fail_after(20):

        async def use() -> None:
            loser, cancelled = Payload(), Payload()
            forgotten.extend((weakref.ref(loser), weakref.ref(cancelled)))
            ready.send_nowait(1)
            assert await select(gochan.send(busy, loser), ready) == (1, 1)
            with given_up():
                await select(gochan.send(busy, cancelled), ready)

        await use()
        await turns(3)
    gc.collect()
    assert [reference() for reference in forgotten] == [None, None]


def test_10_made_before_any_loop_runs() -> None:
    """Pitfall 10: an object that binds to a loop when it is made cannot be a module's global, or serve two runs."""
    channel: Channel[int] = Channel()
    event = Event()

    async def exchange() -> int:
        with anyio.fail_after(20):
            async with Group() as group:
                group.go(channel.send, 7)
                value = await channel.receive()
                with given_up():
                    await event.wait()
                return value

    runners: list[Callable[[], int]] = [
        lambda: asyncio.run(exchange()),
        lambda: gochan.run(exchange),
        lambda: gochan.run(exchange, backend="trio"),
    ]
    for runner in runners * 2:
        assert runner() == 7
