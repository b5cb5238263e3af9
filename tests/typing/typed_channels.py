"""Checked, never run: directions, variance, and a Channel where anyio asks for a stream."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from typing import Literal, assert_type

from anyio.abc import ObjectReceiveStream, ObjectSendStream, ObjectStream

from gochan import (
    BlockingChannel,
    Channel,
    ChannelClosed,
    ChannelStatistics,
    ReceiveChannel,
    SendChannel,
    receive,
    send,
)


class Animal: ...


class Cat(Animal):
    def purr(self) -> None: ...


async def operations(ch: Channel[int]) -> None:
    assert_type(await ch.receive(), int)
    assert_type(ch.receive_nowait(), int)
    assert_type(await ch.receive_ok(), tuple[int, Literal[True]] | tuple[None, Literal[False]])
    assert_type(await ch.receive_many(), list[int])
    assert_type(await ch.receive_many(10), list[int])
    await ch.send(1)
    ch.send_nowait(1)
    await ch.send("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ch.send_nowait("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ch.close(ValueError("why"))
    ch.close("why")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async for value in ch:
        assert_type(value, int)
    with ch as same:
        assert_type(same, Channel[int])
    async with ch as same:
        assert_type(same, Channel[int])
    assert_type(len(ch), int)
    assert_type(ch.closed, bool)
    assert_type(ch.capacity, int | float)
    assert_type(ch.name, str | None)
    assert_type(ch.statistics(), ChannelStatistics)


def construction() -> None:
    assert_type(Channel[int](), Channel[int])
    Channel[int](math.inf, overflow="block", name="jobs")
    Channel[int](3, overflow="drop_oldest")
    Channel[int](3, overflow="drop_some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    inferred: Channel[str] = Channel(1)
    inferred.send_nowait("x")


def what_is_read_only(ch: Channel[int]) -> None:
    ch.capacity = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    ch.closed = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# ---- directions ----


async def producer(out: SendChannel[int]) -> None:
    await out.send(1)
    out.send_nowait(1)
    out.close()
    await out.aclose()
    await out.receive()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    receive(out)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def consumer(jobs: ReceiveChannel[int]) -> None:
    assert_type(await jobs.receive(), int)
    assert_type(jobs.receive_nowait(), int)
    assert_type(await jobs.receive_many(5), Sequence[int])
    async for job in jobs:
        assert_type(job, int)
    await jobs.send(1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    jobs.close()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    send(jobs, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def a_channel_goes_both_ways() -> None:
    ch = Channel[int]()
    await producer(ch)
    await consumer(ch)
    words = Channel[str]()
    await producer(words)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await consumer(words)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_view_is_no_channel(out: SendChannel[int], jobs: ReceiveChannel[int]) -> None:
    a: Channel[int] = out  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    b: Channel[int] = jobs  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    c: ReceiveChannel[int] = out  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    d: SendChannel[int] = jobs  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del a, b, c, d


# ---- variance ----


def receiving_is_covariant(cats: ReceiveChannel[Cat], animals: ReceiveChannel[Animal]) -> None:
    up: ReceiveChannel[Animal] = cats
    down: ReceiveChannel[Cat] = animals  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del up, down


def sending_is_contravariant(cats: SendChannel[Cat], animals: SendChannel[Animal]) -> None:
    down: SendChannel[Cat] = animals
    up: SendChannel[Animal] = cats  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del up, down


def a_channel_is_invariant(cats: Channel[Cat], animals: Channel[Animal]) -> None:
    up: Channel[Animal] = cats  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    down: Channel[Cat] = animals  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    view_up: ReceiveChannel[Animal] = cats
    view_down: SendChannel[Cat] = animals
    del up, down, view_up, view_down


# ---- anyio ----


async def as_anyio_streams(ch: Channel[int]) -> None:
    both: ObjectStream[int] = ch
    sending: ObjectSendStream[int] = ch
    receiving: ObjectReceiveStream[int] = ch
    await both.send_eof()
    await sending.send(1)
    assert_type(await receiving.receive(), int)
    async for value in receiving:
        assert_type(value, int)


# ---- threads, errors, iteration ----


def from_a_thread(ch: Channel[int]) -> None:
    blocking = ch.blocking()
    assert_type(blocking, BlockingChannel[int])
    blocking.send(1)
    blocking.send(1, timeout=2.5)
    assert_type(blocking.receive(), int)
    assert_type(blocking.receive(timeout=1), int)
    for value in blocking:
        assert_type(value, int)
    blocking.close()
    blocking.send("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def errors(error: ChannelClosed) -> None:
    import anyio

    end: anyio.EndOfStream = error
    closed: anyio.ClosedResourceError = error
    del end, closed


def an_iterator(jobs: ReceiveChannel[int]) -> AsyncIterator[int]:
    return jobs.__aiter__()
