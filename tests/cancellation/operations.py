"""Every awaiting operation, in every phrasing, by name."""

from __future__ import annotations

from collections.abc import Callable

import gochan
from gochan import select

from .worlds import VALUE, FreePlace, GroupEnd, Operation, Receiving, Result, Sending, Waiting


async def _receive(op: Receiving) -> list[str]:
    return [await op.channel.receive()]


async def _receive_ok(op: Receiving) -> list[str]:
    value, ok = await op.channel.receive_ok()
    assert ok and value is not None
    return [value]


async def _receive_many(op: Receiving) -> list[str]:
    return await op.channel.receive_many()


async def _receive_at_most_two(op: Receiving) -> list[str]:
    return await op.channel.receive_many(2)


async def _anext(op: Receiving) -> list[str]:
    return [await op.channel.__anext__()]


async def _select_receive(op: Receiving) -> list[str]:
    _, value = await select(op.channel)
    return [value]


async def _select_receive_ok(op: Receiving) -> list[str]:
    _, (value, ok) = await select(gochan.receive_ok(op.channel))
    assert ok and value is not None
    return [value]


async def _select_receive_among(op: Receiving) -> list[str]:
    match await select(gochan.send(op.spare, "never"), op.spare, op.never, None, op.channel):
        case (4, value):
            return [value]
        case other:
            raise AssertionError(other)


async def _select_receive_twice(op: Receiving) -> list[str]:
    _, value = await select(op.channel, op.channel)
    return [value]


async def _select_receive_or_send(op: Receiving) -> list[str]:
    match await select(op.channel, gochan.send(op.spare, "never"), op.spare):
        case (0, value):
            return [value]
        case other:
            raise AssertionError(other)


async def _select_receive_first(op: Receiving) -> list[str]:
    index, value = await select(op.spare, op.channel, priority=True)
    assert index == 1
    return [value]


async def _select_mapped(op: Receiving) -> list[str]:
    _, value = await select(gochan.receive(op.channel).map(lambda value: [value]))
    return value


async def _send(op: Sending) -> None:
    await op.channel.send(VALUE)


async def _select_send(op: Sending) -> None:
    assert await select(gochan.send(op.channel, VALUE)) == (0, None)


async def _select_send_among(op: Sending) -> None:
    assert await select(op.spare, op.never, gochan.send(op.channel, VALUE), gochan.send(op.spare, "never")) == (2, None)


async def _select_send_and_receive_same(op: Sending) -> None:
    assert await select(op.channel, gochan.send(op.channel, VALUE)) == (1, None)


async def _wait(op: Waiting) -> None:
    await op.event.wait()


async def _select_event(op: Waiting) -> None:
    assert await select(op.event) == (0, None)


async def _select_event_among(op: Waiting) -> None:
    assert await select(op.spare, gochan.send(op.spare, "never"), op.event) == (2, None)


async def _result(op: Result) -> str:
    return await op.goroutine.result()


async def _select_goroutine(op: Result) -> str:
    _, value = await select(op.goroutine)
    return value


async def _select_goroutine_among(op: Result) -> str:
    match await select(op.spare, op.goroutine, gochan.send(op.spare, "never")):
        case (1, value):
            return value
        case other:
            raise AssertionError(other)


async def _done(op: Result) -> None:
    await op.goroutine.done.wait()


CHANNEL_OPERATIONS: dict[str, Callable[[], Operation]] = {
    "receive": lambda: Receiving(_receive, 0),
    "receive-buffered": lambda: Receiving(_receive, 1),
    "receive_ok": lambda: Receiving(_receive_ok, 0),
    "receive_many": lambda: Receiving(_receive_many, 0),
    "receive_many-buffered": lambda: Receiving(_receive_many, 2),
    "receive_many-several": lambda: Receiving(_receive_many, 2, count=3),
    "receive_many-limit": lambda: Receiving(_receive_at_most_two, 3, count=3),
    "receive-drop_newest": lambda: Receiving(_receive, 0, overflow="drop_newest"),
    "receive-drop_oldest": lambda: Receiving(_receive, 1, overflow="drop_oldest"),
    "select-drop_oldest": lambda: Receiving(_select_receive_among, 0, overflow="drop_oldest"),
    "anext": lambda: Receiving(_anext, 0),
    "select-receive": lambda: Receiving(_select_receive, 0),
    "select-receive_ok": lambda: Receiving(_select_receive_ok, 1),
    "select-receive-among": lambda: Receiving(_select_receive_among, 0),
    "select-receive-twice": lambda: Receiving(_select_receive_twice, 0),
    "select-receive-priority": lambda: Receiving(_select_receive_first, 0),
    "select-receive-mapped": lambda: Receiving(_select_mapped, 0),
    "select-receive-or-send": lambda: Receiving(_select_receive_or_send, 1),
    "send": lambda: Sending(_send, 0),
    "send-full": lambda: Sending(_send, 1),
    "select-send": lambda: Sending(_select_send, 0),
    "select-send-among": lambda: Sending(_select_send_among, 0),
    "select-send-among-full": lambda: Sending(_select_send_among, 2),
    "select-send-and-receive-same": lambda: Sending(_select_send_and_receive_same, 0),
    "event": lambda: Waiting(_wait),
    "select-event": lambda: Waiting(_select_event),
    "select-event-among": lambda: Waiting(_select_event_among),
}
"""Operations whose partner completes them at once."""


GOROUTINE_OPERATIONS: dict[str, Callable[[], Operation]] = {
    "result": lambda: Result(_result),
    "select-goroutine": lambda: Result(_select_goroutine),
    "select-goroutine-among": lambda: Result(_select_goroutine_among),
    "goroutine-done": lambda: Result(_done),
    "go_when_free": FreePlace,
    "group-end": GroupEnd,
}
"""Operations whose partner is a goroutine that first has to run to its end, some turns of the loop later."""


OPERATIONS = CHANNEL_OPERATIONS | GOROUTINE_OPERATIONS
