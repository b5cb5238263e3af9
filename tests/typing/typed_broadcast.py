"""Checked, never run: broadcasts, merges and worker pools keep their types."""

from __future__ import annotations

import math
from typing import Literal, assert_never, assert_type

from anyio.abc import ObjectReceiveStream

from gochan import (
    Broadcast,
    BroadcastStatistics,
    Channel,
    Lagged,
    ReceiveChannel,
    SendChannel,
    Subscription,
    merge,
    receive,
    receive_ok,
    select,
    worker_pool,
)


async def broadcasts() -> None:
    numbers = Broadcast[int](3)
    Broadcast[int](math.inf, "latest", name="prices")
    Broadcast[int](3, policy="lag")
    Broadcast[int](3, policy="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await numbers.publish(1)
    numbers.publish_nowait(1)
    await numbers.publish("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    numbers.publish_nowait("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    numbers.close(ValueError("why"))
    assert_type(numbers.subscribe(), Subscription[int])
    assert_type(numbers.policy, Literal["wait", "lag", "latest"])
    assert_type(numbers.capacity, int | float)
    assert_type(numbers.statistics(), BroadcastStatistics)
    with numbers as same:
        assert_type(same, Broadcast[int])


async def subscriptions(numbers: Broadcast[int]) -> None:
    with numbers.subscribe() as reader:
        assert_type(reader, Subscription[int])
    async with numbers.subscribe() as reader:
        assert_type(reader, Subscription[int])
    assert_type(await reader.receive(), int)
    assert_type(reader.receive_nowait(), int)
    assert_type(await reader.receive_ok(), tuple[int, Literal[True]] | tuple[None, Literal[False]])
    assert_type(await reader.receive_many(3), list[int])
    assert_type(len(reader), int)
    assert_type(reader.missed, int)
    async for value in reader:
        assert_type(value, int)
    receives(reader)
    streams(reader)
    sends(reader)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    wider: Subscription[int | str] = reader
    receives_text(reader)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    print(wider)


def receives(channel: ReceiveChannel[int]) -> None: ...


def receives_text(channel: ReceiveChannel[str]) -> None: ...


def sends(channel: SendChannel[int]) -> None: ...


def streams(stream: ObjectReceiveStream[int]) -> None: ...


async def selects(numbers: Broadcast[int], reader: Subscription[int], words: Subscription[str]) -> None:
    match await select(reader, words, receive(reader), receive_ok(words), numbers.publishing(1)):
        case (0, number):
            assert_type(number, int)
        case (1, word):
            assert_type(word, str)
        case (2, number):
            assert_type(number, int)
        case (3, (text, True)):
            assert_type(text, str)
        case (3, _):
            pass
        case (4, nothing):
            assert_type(nothing, None)
        case _ as never:
            assert_never(never)
    numbers.publishing("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def merges(ints: Channel[int], texts: Channel[str], floats: Subscription[float]) -> None:
    async with merge(ints, texts) as both:
        assert_type(await both.receive(), int | str)
        async for value in both:
            assert_type(value, int | str)
        match await select(both, floats):
            case (0, value):
                assert_type(value, int | str)
            case (1, number):
                assert_type(number, float)
            case _ as never:
                assert_never(never)
        async with merge(both, merge(floats)) as three:
            assert_type(await three.receive_many(), list[int | str | float])
    async with merge(ints, ints, ints, ints, ints, ints, ints, texts) as eight:
        assert_type(await eight.receive(), int | str)
    async with merge(*[ints]) as many:
        assert_type(await many.receive(), int)
    receives(merge(ints))
    receives(both)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    merge(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def length(text: str) -> int:
    return len(text)


def plain(text: str) -> int:
    return len(text)


async def pools(ints: Channel[int], texts: Channel[str], words: Subscription[str]) -> None:
    await worker_pool(length, texts, workers=3)
    await worker_pool(length, words, workers=3, results=ints)
    await worker_pool(length, ints, workers=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await worker_pool(length, texts, workers=3, results=texts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await worker_pool(plain, texts, workers=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def lagged(error: Lagged) -> None:
    assert_type(error.missed, int)
