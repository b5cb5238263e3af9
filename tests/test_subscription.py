"""Subscriptions: the receiving side of a broadcast, as a channel, as a stream, and as garbage."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from anyio.abc import ObjectReceiveStream
from tests.conformance.helpers import settle, until
from tests.memory.test_cycles import no_garbage

from gochan import (
    Broadcast,
    ChannelClosed,
    Event,
    Goroutine,
    Group,
    ReceiveChannel,
    Subscription,
    merge,
    receive,
    receive_ok,
    select,
    try_select,
)
from gochan.testing import explore


class Value:
    """Something that can be watched."""


async def receivers_parked(broadcast: Broadcast[Any], count: int) -> None:
    await until(lambda: broadcast.statistics().receivers_waiting == count)


async def collected(channel: ReceiveChannel[int]) -> list[int]:
    """What a function that knows receiving channels only makes of it."""
    return [value async for value in channel]


async def test_it_is_a_receive_channel_and_an_object_stream() -> None:
    """It goes wherever either is asked for; it is true even when there is nothing to read."""
    broadcast = Broadcast[int](3)
    reader: Subscription[int] = broadcast.subscribe()
    assert isinstance(reader, ObjectReceiveStream)
    assert reader.extra_attributes == {}
    assert not len(reader)
    assert reader
    for value in range(3):
        await broadcast.publish(value)
    broadcast.close()
    assert await collected(reader) == [0, 1, 2]
    with pytest.raises(anyio.EndOfStream):
        await reader.receive()


async def test_several_goroutines_share_one() -> None:
    """Each value goes to one of them, first come, first served, plain receives and selects in one queue."""
    broadcast = Broadcast[int](1)
    reader, got = broadcast.subscribe(), list[tuple[int, int]]()

    async def plain(number: int) -> None:
        got.append((number, await reader.receive()))

    async def selecting(number: int) -> None:
        got.append((number, (await select(reader, None))[1]))

    with anyio.fail_after(5):
        async with Group() as group:
            for number in range(6):
                group.go(selecting if number % 2 else plain, number)
                await receivers_parked(broadcast, number + 1)
            for value in range(6):
                await broadcast.publish(value)
    assert sorted(got) == [(number, number) for number in range(6)]


async def test_receive_many_takes_what_is_there() -> None:
    """At most the limit; a limit that is none is refused."""
    broadcast = Broadcast[int](5)
    reader = broadcast.subscribe()
    for value in range(5):
        await broadcast.publish(value)
    assert await reader.receive_many(2) == [0, 1]
    assert await reader.receive_many() == [2, 3, 4]
    with pytest.raises(ValueError, match="at least one value"):
        await reader.receive_many(0)
    wrong: Any = "2"
    with pytest.raises(TypeError, match="limit of receive_many"):
        await reader.receive_many(wrong)
    with pytest.raises(anyio.WouldBlock):
        reader.receive_nowait()


async def test_in_a_select() -> None:
    """Itself, by ``receive``, with the ok flag, and mapped; waiting and ready."""
    broadcast = Broadcast[int](9)
    reader = broadcast.subscribe()
    assert try_select(reader) is None
    for value in range(4):
        await broadcast.publish(value)
    assert await select(reader, None) == (0, 0)
    assert await select(None, receive(reader)) == (1, 1)
    assert await select(receive_ok(reader)) == (0, (2, True))
    assert try_select(receive(reader).map(str)) == (0, "3")
    with anyio.fail_after(5):
        async with Group() as group:
            waiting = list[Goroutine[Any]]()
            for case in (reader, receive_ok(reader), receive(reader).map(str)):
                waiting.append(group.go(select, case))
                await receivers_parked(broadcast, len(waiting))
            for number in range(3):
                await broadcast.publish(number)
        assert [await one.result() for one in waiting] == [(0, 0), (0, (1, True)), (0, "2")]
    broadcast.close()
    assert await select(receive_ok(reader)) == (0, (None, False))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["with", "async with"])
async def test_a_with_block_closes_it(asynchronous: bool) -> None:
    """However it is left; nothing else of the broadcast is touched."""
    broadcast = Broadcast[int](1)
    with pytest.raises(KeyError):
        if asynchronous:
            async with broadcast.subscribe() as reader:
                raise KeyError
        else:
            with broadcast.subscribe() as reader:
                raise KeyError
    assert reader.closed
    assert not broadcast.closed
    assert broadcast.statistics().subscriptions == 0
    await reader.aclose()


async def test_a_closed_one_ends_for_everybody() -> None:
    """Who waits gets ``ChannelClosed``, unread values are gone, iteration ends; the others go on."""
    broadcast = Broadcast[int](3)
    reader, other = broadcast.subscribe(), broadcast.subscribe()

    async def wait() -> None:
        with pytest.raises(ChannelClosed, match="closed subscription") as caught:
            await reader.receive()
        assert caught.value.channel is reader

    with anyio.fail_after(5):
        async with Group() as group:
            group.go(wait)
            group.go(wait)
            await receivers_parked(broadcast, 2)
            reader.close()
            reader.close()
        await broadcast.publish(1)
        assert (len(reader), len(other)) == (0, 1)
        assert [value async for value in reader] == []
        assert await reader.receive_ok() == (None, False)
        with pytest.raises(ChannelClosed):
            await select(reader)
        with pytest.raises(ChannelClosed):
            reader.receive_nowait()
        broadcast.close(KeyError("not its affair any more"))
        assert [value async for value in reader] == []
    assert await other.receive() == 1


def test_it_is_made_by_subscribe() -> None:
    """By hand there is nothing to make it of."""
    nothing: Any = None
    with pytest.raises(TypeError, match=r"made by Broadcast\.subscribe"):
        Subscription(nothing)


@pytest.mark.parametrize("how", ["publish", "receive", "merge"])
async def test_what_never_waits_still_yields(how: str) -> None:
    """A goroutine that finds everything ready lets others run once in a while."""
    broadcast, others_ran = Broadcast[int](math.inf), Event()
    reader = broadcast.subscribe()
    for value in range(2000):
        broadcast.publish_nowait(value)
    merged = merge(reader)

    async def other() -> None:
        others_ran.set()

    async with Group() as group:
        group.go(other)
        for _ in range(1000):
            match how:
                case "publish":
                    await broadcast.publish(0)
                case "receive":
                    await reader.receive()
                case _:
                    await merged.receive()
            if others_ran.is_set():
                break
        assert others_ran.is_set()


# ---- forgotten ----


async def test_a_forgotten_one_counts_as_closed() -> None:
    """Dropped without a close, it neither holds publishers up nor keeps values."""
    broadcast = Broadcast[int](1)
    reader = broadcast.subscribe()
    broadcast.publish_nowait(0)
    del reader
    assert broadcast.statistics().subscriptions == 0
    broadcast.publish_nowait(1)
    assert broadcast.statistics().buffered == 0
    broadcast._state._check()


async def test_one_that_only_the_collector_finds() -> None:
    """In a cycle it goes when the collector comes, and the publisher that waited goes on then."""
    broadcast = Broadcast[int](1)
    cycle: list[Any] = [broadcast.subscribe()]
    cycle.append(cycle)
    broadcast.publish_nowait(0)
    with anyio.fail_after(10):
        async with Group() as group:
            group.go(broadcast.publish, 1)
            await until(lambda: broadcast.statistics().publishers_waiting == 1)
            del cycle
            gc.collect()
    broadcast._state._check()


async def test_one_that_another_thread_drops() -> None:
    """The collector may run in any thread: nothing is changed there, the loop is told."""
    broadcast = Broadcast[int](1)
    held = [broadcast.subscribe()]
    broadcast.publish_nowait(0)
    with anyio.fail_after(10):
        async with Group() as group:
            group.go(broadcast.publish, 1)
            await until(lambda: broadcast.statistics().publishers_waiting == 1)
            thread = threading.Thread(target=held.clear)
            thread.start()
            thread.join()
            assert broadcast.statistics().publishers_waiting == 1  # not before the loop has its turn
    broadcast._state._check()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_forgetting_under_every_schedule(backend: Any) -> None:
    """Whenever the last reference goes, no publisher is stuck."""

    async def main() -> None:
        broadcast = Broadcast[int](1)
        stays, slow = broadcast.subscribe(), [broadcast.subscribe()]

        async def publish() -> None:
            for value in range(4):
                await broadcast.publish(value)
            broadcast.close()

        async def drop() -> None:
            await anyio.sleep(0)
            slow.clear()

        async with Group() as group:
            group.go(publish)
            group.go(drop)
            assert [value async for value in stays] == [0, 1, 2, 3]
        broadcast._state._check()

    explore(main, backend=backend, runs=80)


@pytest.mark.asyncio_only
async def test_nothing_needs_the_collector() -> None:
    """No operation leaves a reference cycle behind, however it ended."""

    async def operations() -> None:
        broadcast = Broadcast[Value](1)
        reader, quiet = broadcast.subscribe(), broadcast.subscribe()
        await give_up(reader.receive())
        await give_up(select(quiet, reader))
        await broadcast.publish(Value())
        await reader.receive()
        await give_up(broadcast.publish(Value()))
        del quiet
        await broadcast.publish(Value())
        await give_up(Broadcast[Value](1).subscribe().receive())

    async def give_up(operation: Awaitable[object]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await operation

    with anyio.fail_after(10):
        await operations()  # what is made once is made here
        with no_garbage():
            await operations()
            await settle()


async def test_values_are_not_kept() -> None:
    """One that everybody has read is its readers' alone; one that was overtaken is nobody's."""

    async def values(count: int) -> AsyncIterator[Value]:
        for _ in range(count):
            yield Value()

    for policy in ("wait", "lag", "latest"):
        broadcast = Broadcast[Value](1, policy)
        readers = [broadcast.subscribe() for _ in range(2)]
        watched = list[weakref.ref[Value]]()
        async for value in values(3):
            watched.append(weakref.ref(value))
            await broadcast.publish(value)
            del value
            if policy == "wait":
                for reader in readers:
                    await reader.receive()
            gc.collect()
            assert [ref() is None for ref in watched[:-1]] == [True] * (len(watched) - 1)
        for reader in readers:
            reader.close()
        gc.collect()
        assert [ref() for ref in watched] == [None] * 3
