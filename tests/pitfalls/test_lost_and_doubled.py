"""Pitfalls 1 to 6: values and wake-ups that get lost or doubled, and selects that never meet."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from tests.turns import given_up

import gochan
from gochan import Channel, Event, Group, select, try_select

from .helpers import turns


@pytest.mark.asyncio_only
@pytest.mark.parametrize("capacity", [0, 1])
@pytest.mark.parametrize("how", ["task.cancel", "timeout", "wait_for"])
async def test_1_a_value_handed_to_a_receiver_that_is_cancelled(how: str, capacity: int) -> None:
    """Pitfall 1: a value handed to a waiting receiver is lost when a native cancellation comes before it runs."""
    channel: Channel[str] = Channel(capacity)
    got: list[str] = []
    loop = asyncio.get_running_loop()
    due = loop.time() + 0.005

    async def receiver() -> None:
        if how == "task.cancel":
            got.append(await channel.receive())
        elif how == "timeout":
            async with asyncio.timeout_at(due):
                got.append(await channel.receive())
        else:
            got.append(await asyncio.wait_for(channel.receive(), due - loop.time()))

    sent = False

    def send() -> None:
        nonlocal sent
        try:
            channel.send_nowait("precious")
            sent = True
        except anyio.WouldBlock:
            pass

    with anyio.fail_after(20):
        task = loop.create_task(receiver())
        await turns(3)
        if how == "task.cancel":
            send()
            task.cancel()
        else:
            loop.call_at(due, send)  # the time-out falls due in the very same turn of the loop
        await asyncio.wait([task])
        await turns(5)
    left = [channel.receive_nowait() for _ in range(len(channel))]
    assert got + left == ["precious"] * sent
    assert channel.statistics().receivers_waiting == 0


@pytest.mark.asyncio_only
@pytest.mark.parametrize("how", ["task.cancel", "timeout"])
async def test_2_a_sender_told_cancelled_although_it_has_delivered(how: str) -> None:
    """Pitfall 2: a sender whose value was taken is told that it was cancelled, retries, and so sends it twice."""
    channel: Channel[str] = Channel()
    delivered = 0
    timeout = asyncio.timeout(None)

    async def sender() -> None:
        nonlocal delivered
        while not delivered:
            try:
                if how == "timeout":
                    async with timeout:
                        await channel.send("once")
                else:
                    await channel.send("once")
                delivered += 1
            except (TimeoutError, asyncio.CancelledError):
                continue  # it was not sent: try again

    with anyio.fail_after(20):
        task = asyncio.get_running_loop().create_task(sender())
        await turns(3)
        if how == "timeout":
            timeout.reschedule(asyncio.get_running_loop().time())
        assert channel.receive_nowait() == "once"
        if how == "task.cancel":
            task.cancel()
        await turns(6)
        with pytest.raises(anyio.WouldBlock):
            channel.receive_nowait()
        await asyncio.wait([task])
    assert delivered == 1


async def test_3_select_takes_more_than_one() -> None:
    """Pitfall 3: a select that races several receives takes a value from each and keeps only one."""
    channels = [Channel[int](1) for _ in range(5)]
    with anyio.fail_after(20):
        # All are ready at the call.
        for number, channel in enumerate(channels):
            channel.send_nowait(number)
        index, value = await select(*channels)
        assert value == index
        assert sum(len(channel) for channel in channels) == 4
        for channel in channels:
            while len(channel):
                channel.receive_nowait()
        # All become ready while it waits, before it runs again.
        winners: list[tuple[int, int]] = []
        async with anyio.create_task_group() as tasks:

            async def selector() -> None:
                winners.append(await select(*channels))

            tasks.start_soon(selector)
            await turns(3)
            for number, channel in enumerate(channels):
                channel.send_nowait(number)
        assert winners == [(0, 0)]
        assert [len(channel) for channel in channels] == [0, 1, 1, 1, 1]
        # It is cancelled while it waits.
        others = [Channel[int](1) for _ in range(5)]
        with given_up():
            await select(*others)
        for channel in others:
            assert channel.statistics().receivers_waiting == 0
            channel.send_nowait(1)
            assert len(channel) == 1


@pytest.mark.parametrize("capacity", [0, 1])
async def test_4_a_cancelled_waiter_stays_in_the_queue(capacity: int) -> None:
    """Pitfall 4: a cancelled waiter left in the queue makes the next send, or close, fail, or swallows its value."""
    channel: Channel[int] = Channel(capacity)
    with anyio.fail_after(20):
        for wait in (
            channel.receive,
            channel.receive_ok,
            channel.receive_many,
            channel.__anext__,
            lambda: select(channel),
        ):
            with given_up() as scope:
                await wait()
            assert scope.cancelled_caught
            assert channel.statistics().receivers_waiting == 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(channel.send, 1)
            await turns(3)
            assert await channel.receive() == 1
        for number in range(capacity):
            channel.send_nowait(number)
        for send in (lambda: channel.send(99), lambda: select(gochan.send(channel, 99))):
            with given_up() as scope:
                await send()
            assert scope.cancelled_caught
            assert channel.statistics().senders_waiting == 0
        channel.close()
        assert [value async for value in channel] == list(range(capacity))


async def test_5_a_cancelled_waiter_keeps_its_wake_up() -> None:
    """Pitfall 5: a waiter that was chosen and then cancelled does not pass its turn on, and all others sleep on."""
    channel: Channel[int] = Channel(1)
    with anyio.fail_after(20):
        for first_cancelled in (True, False):
            got: list[tuple[str, int]] = []
            scopes = {"first": anyio.CancelScope(), "second": anyio.CancelScope()}

            async def receiver(name: str) -> None:
                with scopes[name]:
                    got.append((name, await channel.receive()))

            async with anyio.create_task_group() as tasks:
                for name in scopes:
                    tasks.start_soon(receiver, name)
                    await turns(3)
                if first_cancelled:
                    scopes["first"].cancel()
                    channel.send_nowait(7)
                else:
                    channel.send_nowait(7)
                    scopes["first"].cancel()
                    channel.send_nowait(8)
            assert sorted(got) == ([("second", 7)] if first_cancelled else [("first", 7), ("second", 8)])
        # The same for places in a group.
        async with Group(limit=1) as group:
            gate = Event()
            started: list[str] = []

            async def note(name: str) -> None:
                started.append(name)

            async def wait_for_place(name: str, scope: anyio.CancelScope) -> None:
                with scope:
                    await group.go_when_free(note, name)

            group.go(gate.wait)
            async with anyio.create_task_group() as tasks:
                first = anyio.CancelScope()
                tasks.start_soon(wait_for_place, "first", first)
                await turns(3)
                tasks.start_soon(wait_for_place, "second", anyio.CancelScope())
                await turns(3)
                first.cancel()
                gate.set()
        assert started == ["second"]


async def test_6_two_selects_never_meet() -> None:
    """Pitfall 6: two selects on an unbuffered channel each wait for the other to be ready, and never meet."""
    channel: Channel[str] = Channel()
    other: Channel[str] = Channel()
    results: list[tuple[int, str | None]] = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def sender() -> None:
                results.append(await select(gochan.send(channel, "hello"), other))

            async def receiver() -> None:
                results.append(await select(other, channel))

            tasks.start_soon(sender)
            tasks.start_soon(receiver)
    assert sorted(results, key=str) == [(0, None), (1, "hello")]


async def test_6_a_select_pairs_with_itself() -> None:
    """Pitfall 6: a select that sends and receives on the same channel must not take its own value."""
    channel: Channel[str] = Channel()
    with anyio.fail_after(20):
        assert try_select(gochan.send(channel, "mine"), channel) is None
        with given_up() as scope:
            await select(gochan.send(channel, "mine"), channel)
        assert scope.cancelled_caught
        results: list[tuple[int, str | None]] = []

        async def both(name: str) -> None:
            results.append(await select(gochan.send(channel, name), channel))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(both, "a")
            tasks.start_soon(both, "b")
    [(sent, nothing), (received, value)] = sorted(results, key=lambda result: result[0])
    assert (sent, nothing, received) == (0, None, 1)
    assert value in ("a", "b")
