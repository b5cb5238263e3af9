"""What always blocks, never blocks, always raises and never raises, after the table in Go's test/chan/select3.go.

Not ported: bare operations on a nil channel. gochan has no nil channel; the `None` case of a select is its only form,
and the rows about nil channels use it. A panic becomes `ChannelClosed`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gochan import Channel, ChannelClosed, receive, receive_ok, select, send, try_select

from .helpers import blocks, bounded

Operation = Callable[[], Awaitable[object]]


def _closed() -> Channel[int]:
    channel: Channel[int] = Channel()
    channel.close()
    return channel


def _with_room() -> Channel[int]:
    return Channel(1)


def _with_value() -> Channel[int]:
    channel: Channel[int] = Channel(1)
    channel.send_nowait(7)
    return channel


def _full_and_closed() -> Channel[int]:
    channel = _with_value()
    channel.close()
    return channel


async def _drain_closed_ten_times() -> None:
    channel = _closed()
    for _ in range(10):
        with pytest.raises(ChannelClosed):
            await channel.receive()
        assert await channel.receive_ok() == (None, False)


async def _both_ways_alone() -> None:
    channel: Channel[int] = Channel()
    await select(send(channel, 1), channel)


async def _both_ways_twice_alone() -> None:
    channel: Channel[int] = Channel()
    await select(send(channel, 1), channel, channel, send(channel, 2))


async def _sent_to_a_closed_channel() -> None:
    with pytest.raises(ChannelClosed):
        await select(send(_closed(), 7))


async def _trying(*cases: Any) -> object:
    return try_select(*cases)


ALWAYS_BLOCKS: dict[str, Operation] = {
    "receive from an empty rendezvous channel": lambda: Channel[int]().receive(),
    "receive_ok from an empty rendezvous channel": lambda: Channel[int]().receive_ok(),
    "receive from an empty buffered channel": lambda: _with_room().receive(),
    "send to a rendezvous channel without receiver": lambda: Channel[int]().send(7),
    "send to a full channel": lambda: _with_value().send(7),
    "iteration over an empty channel": lambda: Channel[int]().__anext__(),
    "select without cases": lambda: select(),
    "select with one nil case": lambda: select(None),
    "select with several nil cases": lambda: select(None, None, None),
    "select of a receive that is not ready": lambda: select(Channel[int]()),
    "select of a receive_ok that is not ready": lambda: select(receive_ok(Channel[int]())),
    "select of a send that is not ready": lambda: select(send(Channel[int](), 7)),
    "select of a send to a full channel": lambda: select(send(_with_value(), 7)),
    "select of nil and a receive that is not ready": lambda: select(None, Channel[int]()),
    "priority select of nothing ready": lambda: select(Channel[int](), send(Channel[int](), 1), priority=True),
    "select that could only meet itself": _both_ways_alone,
    "select that could only meet itself, twice": _both_ways_twice_alone,
}

NEVER_BLOCKS: dict[str, Operation] = {
    "send to a channel with room": lambda: _with_room().send(7),
    "send to an unbounded channel": lambda: Channel[int](float("inf")).send(7),
    "receive from a channel with a value": lambda: _with_value().receive(),
    "receives from a closed channel": _drain_closed_ten_times,
    "receive from a closed channel that holds a value": lambda: _full_and_closed().receive(),
    "try_select without cases": lambda: _trying(),
    "try_select with a nil case": lambda: _trying(None),
    "try_select of a receive that is not ready": lambda: _trying(Channel[int]()),
    "try_select of a send that is not ready": lambda: _trying(send(Channel[int](), 7)),
    "select of a send that is ready": lambda: select(send(_with_room(), 7)),
    "select of a receive that is ready": lambda: select(_with_value()),
    "select of a receive_ok on a closed channel": lambda: select(receive_ok(_closed())),
    "select of a send on a closed channel": _sent_to_a_closed_channel,
    "select of nil and a ready receive": lambda: select(None, _with_value(), None),
    "select of both ways on a channel with room and a value": lambda: select((both := _with_room()), send(both, 1)),
}

ALWAYS_RAISES: dict[str, Operation] = {
    "send on a closed channel": lambda: _closed().send(7),
    "send on a closed channel with a value in it": lambda: _full_and_closed().send(7),
    "receive from a closed channel": lambda: _closed().receive(),
    "select of a send on a closed channel": lambda: select(send(_closed(), 7)),
    "select of a receive from a closed channel": lambda: select(_closed()),
    "select of an explicit receive from a closed channel": lambda: select(receive(_closed())),
    "try_select of a send on a closed channel": lambda: _trying(send(_closed(), 7)),
    "try_select of a receive from a closed channel": lambda: _trying(_closed()),
    "select of a closed send among channels that are not ready": lambda: select(
        Channel[int](), send(_closed(), 7), None
    ),
}

NEVER_RAISES: dict[str, Operation] = {
    "try_select of nil": lambda: _trying(None, None),
    "receive_ok from a closed channel": lambda: _closed().receive_ok(),
    "select of a receive_ok on a closed channel": lambda: select(receive_ok(_closed())),
    "try_select of a receive_ok on a closed channel": lambda: _trying(receive_ok(_closed())),
    "receive of the last value of a closed channel": lambda: select(_full_and_closed()),
}


@pytest.mark.parametrize("operation", ALWAYS_BLOCKS.values(), ids=ALWAYS_BLOCKS.keys())
@bounded
async def test_always_blocks(operation: Operation) -> None:
    """An operation that nothing can complete waits."""
    assert await blocks(operation)


@pytest.mark.parametrize("operation", NEVER_BLOCKS.values(), ids=NEVER_BLOCKS.keys())
@bounded
async def test_never_blocks(operation: Operation) -> None:
    """An operation that can complete does so at once."""
    assert not await blocks(operation)


@pytest.mark.parametrize("operation", ALWAYS_RAISES.values(), ids=ALWAYS_RAISES.keys())
@bounded
async def test_always_raises(operation: Operation) -> None:
    """Sending on a closed channel, and receiving from a closed and drained one, raise."""
    with pytest.raises(ChannelClosed):
        await operation()


@pytest.mark.parametrize("operation", NEVER_RAISES.values(), ids=NEVER_RAISES.keys())
@bounded
async def test_never_raises(operation: Operation) -> None:
    """The forms that report the end as a value, and non-blocking selects of nothing, do not raise."""
    await operation()
