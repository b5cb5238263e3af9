"""Small generic helpers over channels, after Go's test/typeparam/chans.go.

Its context is an `Event` here: what these helpers take from a context is the selectable `done` alone. A finalizer
becomes `weakref.finalize`.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
import pytest

from gochan import Channel, Event, Group, ReceiveChannel, SendChannel, Signal, go, receive_ok, select, send, try_select

from .helpers import bounded, receivers_parked, settle

T = TypeVar("T")


async def read_all(done: Signal, source: ReceiveChannel[T]) -> list[T]:
    values: list[T] = []
    while True:
        match await select(done, receive_ok(source)):
            case (1, (value, True)):
                values.append(value)  # type: ignore[arg-type]
            case _:
                return values


def merge_two(done: Signal, first: ReceiveChannel[T], second: ReceiveChannel[T]) -> ReceiveChannel[T]:
    merged: Channel[T] = Channel()

    async def forward() -> None:
        sources: list[ReceiveChannel[T] | None] = [first, second]
        with merged:
            while any(source is not None for source in sources):
                cases = [None if source is None else receive_ok(source) for source in sources]
                index, outcome = await select(*cases, done)
                if index == 2:
                    return
                match outcome:
                    case (value, True):
                        await merged.send(value)  # type: ignore[arg-type]
                    case _:
                        sources[index] = None

    go(forward)
    return merged


def keep(done: Signal, source: ReceiveChannel[T], wanted: Callable[[T], bool]) -> ReceiveChannel[T]:
    kept: Channel[T] = Channel()

    async def forward() -> None:
        with kept:
            while True:
                match await select(done, receive_ok(source)):
                    case (1, (value, True)):
                        if wanted(value):  # type: ignore[arg-type]
                            await kept.send(value)  # type: ignore[arg-type]
                    case _:
                        return

    go(forward)
    return kept


def sink(done: Signal) -> Channel[int]:
    drain: Channel[int] = Channel()

    async def swallow() -> None:
        while True:
            match await select(done, receive_ok(drain)):
                case (1, (_, True)):
                    pass
                case _:
                    return

    go(swallow)
    return drain


class Exclusive(Generic[T]):
    """A value that one goroutine at a time may hold."""

    def __init__(self, value: T) -> None:
        self._place: Channel[T] = Channel(1)
        self._place.send_nowait(value)

    async def acquire(self) -> T:
        return await self._place.receive()

    def try_acquire(self) -> tuple[int, T] | None:
        return try_select(self._place)

    def release(self, value: T) -> None:
        try:
            self._place.send_nowait(value)
        except anyio.WouldBlock:
            raise RuntimeError("released without being acquired") from None


class RangeReceiver(Generic[T]):
    """The receiving end of `ranger`; when it is dropped, the sending end learns of it."""

    def __init__(self, values: ReceiveChannel[T], dropped: Event) -> None:
        self._values = values
        weakref.finalize(self, dropped.set)

    async def next(self) -> object:
        return await self._values.receive_ok()


class RangeSender(Generic[T]):
    """The sending end of `ranger`."""

    def __init__(self, values: Channel[T], dropped: Signal) -> None:
        self._values = values
        self._dropped = dropped

    async def send(self, value: T) -> bool:
        index, _ = await select(send(self._values, value), self._dropped)
        return index == 0

    def close(self) -> None:
        self._values.close()


def ranger() -> tuple[RangeSender[int], RangeReceiver[int]]:
    values: Channel[int] = Channel()
    dropped = Event()
    return RangeSender(values, dropped), RangeReceiver(values, dropped)


async def send_all(channel: Channel[int], *values: int) -> None:
    for value in values:
        await channel.send(value)
    channel.close()


@bounded
async def test_read_all() -> None:
    """Reading to the end gives all values in order."""
    async with Group() as group:
        source: Channel[int] = Channel()
        group.go(send_all, source, 4, 2, 5)
        assert await read_all(Event(), source) == [4, 2, 5]


@bounded
async def test_read_all_until_done() -> None:
    """The done signal ends the reading with what has come so far."""
    done = Event()
    async with Group() as group:
        source: Channel[int] = Channel()
        reader = group.go(read_all, done, source)
        await source.send(1)
        await source.send(2)
        await receivers_parked(source)
        done.set()
        assert await reader.result() == [1, 2]


@bounded
async def test_merge() -> None:
    """Two channels merge into one that closes when both have closed."""
    done = Event()
    async with Group() as group:
        odd: Channel[int] = Channel()
        even: Channel[int] = Channel()
        group.go(send_all, odd, 1, 3, 5)
        group.go(send_all, even, 2, 4, 6)
        got = await read_all(done, merge_two(done, odd, even))
    assert sorted(got) == [1, 2, 3, 4, 5, 6]
    assert [value for value in got if value % 2] == [1, 3, 5]
    assert [value for value in got if not value % 2] == [2, 4, 6]


@bounded
async def test_merge_ends_when_done() -> None:
    """The done signal closes the merged channel although the sources stay open."""
    done = Event()
    async with Group():
        merged = merge_two(done, Channel[int](), Channel[int]())
        await settle()
        done.set()
        assert await read_all(Event(), merged) == []


@bounded
async def test_filter() -> None:
    """Only the wanted values pass, and the end passes too."""
    done = Event()
    async with Group() as group:
        source: Channel[int] = Channel()
        group.go(send_all, source, 1, 2, 3)
        assert await read_all(done, keep(done, source, lambda value: value % 2 == 0)) == [2]


@bounded
async def test_sink() -> None:
    """A sink takes every value until it is closed."""
    async with Group():
        drain = sink(Event())
        for value in range(3):
            await drain.send(value)
        drain.close()


@bounded
async def test_sink_ends_when_done() -> None:
    """The done signal ends the sink: nobody takes further values."""
    done = Event()
    async with Group():
        drain = sink(done)
        await drain.send(1)
        await receivers_parked(drain)
        done.set()
        await settle()
        with pytest.raises(anyio.WouldBlock):
            drain.send_nowait(2)


@bounded
async def test_exclusive() -> None:
    """A cap-1 channel that holds a value is a lock around it."""
    exclusive = Exclusive([0])

    async def increment() -> None:
        for _ in range(10):
            cell = await exclusive.acquire()
            before = cell[0]
            await settle(1)
            cell[0] = before + 1
            exclusive.release(cell)

    async with Group() as group:
        group.go(increment)
        group.go(increment)
    assert await exclusive.acquire() == [20]


@bounded
async def test_exclusive_try() -> None:
    """Trying to acquire a held value fails at once, and works again after the release."""
    exclusive = Exclusive("a")
    assert exclusive.try_acquire() == (0, "a")

    async def other() -> None:
        assert exclusive.try_acquire() is None

    async with Group() as group:
        group.go(other)
    exclusive.release("b")
    with pytest.raises(RuntimeError, match="without being acquired"):
        exclusive.release("c")
    assert exclusive.try_acquire() == (0, "b")


@bounded
async def test_ranger() -> None:
    """A sender that waits learns that the receiving end was dropped, by a collection or the last reference."""
    sender, receiver = ranger()
    delivered = Event()
    refused = Event()

    async def take_one(receiver: RangeReceiver[int]) -> None:
        assert await receiver.next() == (1, True)

    async def produce() -> None:
        assert await sender.send(1)
        delivered.set()
        assert not await sender.send(2)
        refused.set()

    async with Group() as group:
        group.go(take_one, receiver)
        del receiver
        group.go(produce)
        await delivered.wait()
        await settle()
        gc.collect()
        await refused.wait()


@bounded
async def test_ranger_end() -> None:
    """The receiving end learns that the sender has closed."""
    sender, receiver = ranger()
    sender.close()
    assert await receiver.next() == (None, False)


def accepts_views(_source: ReceiveChannel[int], _target: SendChannel[int]) -> None:
    """Only for the type checker: a channel is both views."""


def test_a_channel_is_both_views() -> None:
    """A channel may be passed where either direction is asked for."""
    channel: Channel[int] = Channel()
    accepts_views(channel, channel)
