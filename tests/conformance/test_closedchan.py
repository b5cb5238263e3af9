"""Every operation on a closed channel, in three phrasings, after Go's test/closedchan.go.

The phrasings are the plain operation, a select with that one case, and a select in which another case is never ready. A
panic becomes `ChannelClosed`, the zero value with ok=False becomes `(None, False)`. Not ported: closing twice and
closing nil panic in Go; here `close` is idempotent (that it is, is tested) and there is no nil channel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from gochan import Channel, ChannelClosed, Group, receive_ok, select, send, try_select

from .helpers import bounded, receivers_parked, senders_parked

NONE_READY = object()


class Plain:
    """The operations as methods of the channel."""

    @staticmethod
    async def receive(channel: Channel[int]) -> int:
        return await channel.receive()

    @staticmethod
    async def receive_ok(channel: Channel[int]) -> object:
        return await channel.receive_ok()

    @staticmethod
    async def receive_nowait(channel: Channel[int]) -> object:
        try:
            return channel.receive_nowait()
        except anyio.WouldBlock:
            return NONE_READY

    @staticmethod
    async def send(channel: Channel[int], value: int) -> object:
        return await channel.send(value)

    @staticmethod
    async def send_nowait(channel: Channel[int], value: int) -> object:
        try:
            return channel.send_nowait(value)
        except anyio.WouldBlock:
            return NONE_READY


class OneCase:
    """The operations as the only case of a select."""

    @staticmethod
    def others() -> list[Any]:
        return []

    @classmethod
    async def receive(cls, channel: Channel[int]) -> Any:
        return (await select(channel, *cls.others()))[1]

    @classmethod
    async def receive_ok(cls, channel: Channel[int]) -> object:
        return (await select(receive_ok(channel), *cls.others()))[1]

    @classmethod
    async def receive_nowait(cls, channel: Channel[int]) -> object:
        outcome = try_select(channel, *cls.others())
        return NONE_READY if outcome is None else outcome[1]

    @classmethod
    async def send(cls, channel: Channel[int], value: int) -> object:
        return (await select(send(channel, value), *cls.others()))[1]

    @classmethod
    async def send_nowait(cls, channel: Channel[int], value: int) -> object:
        outcome = try_select(send(channel, value), *cls.others())
        return NONE_READY if outcome is None else outcome[1]


class AmongOthers(OneCase):
    """The operations as one case of several, of which the others are never ready."""

    @staticmethod
    def others() -> list[Any]:
        return [Channel[int](), None, send(Channel[int](), 0)]


PHRASINGS: tuple[Any, ...] = (Plain, OneCase, AmongOthers)
by_phrasing = pytest.mark.parametrize("ops", PHRASINGS, ids=lambda ops: ops.__name__)
by_capacity = pytest.mark.parametrize("capacity", [0, 2])


def closed_channel(capacity: int, *values: int) -> Channel[int]:
    channel: Channel[int] = Channel(capacity)
    for value in values:
        channel.send_nowait(value)
    channel.close()
    return channel


async def _raises(operation: Callable[..., Awaitable[object]], channel: Channel[int], *args: object) -> None:
    with pytest.raises(ChannelClosed) as caught:
        await operation(channel, *args)
    assert caught.value.channel is channel


@by_phrasing
@by_capacity
@bounded
async def test_closed_and_drained(ops: Any, capacity: int) -> None:
    """Every way of receiving from a closed, empty channel says at once that it is closed, as often as it is asked."""
    channel = closed_channel(capacity)
    for _ in range(2):
        await _raises(ops.receive, channel)
        assert await ops.receive_ok(channel) == (None, False)
        await _raises(ops.receive_nowait, channel)


@by_phrasing
@bounded
async def test_closed_with_values_left(ops: Any) -> None:
    """Every way of receiving gets the values that were buffered before the close, in order, and then the end."""
    channel = closed_channel(3, 1, 2, 3)
    assert await ops.receive(channel) == 1
    assert await ops.receive_ok(channel) == (2, True)
    assert await ops.receive_nowait(channel) == 3
    await _raises(ops.receive, channel)
    assert await ops.receive_ok(channel) == (None, False)
    await _raises(ops.receive_nowait, channel)


@by_phrasing
@by_capacity
@bounded
async def test_sending_on_a_closed_channel_raises_and_stores_nothing(ops: Any, capacity: int) -> None:
    """Every way of sending on a closed channel raises, the non-blocking ones too, and the value goes nowhere."""
    channel = closed_channel(capacity)
    for _ in range(2):
        await _raises(ops.send, channel, 2)
        await _raises(ops.send_nowait, channel, 2)
    assert len(channel) == 0
    assert channel.statistics().sent == 0
    assert await ops.receive_ok(channel) == (None, False)


@by_phrasing
@bounded
async def test_sending_on_a_closed_channel_that_is_full(ops: Any) -> None:
    """A non-blocking send on a channel both full and closed reports the close, not that it would have to wait."""
    channel = closed_channel(1, 1)
    await _raises(ops.send_nowait, channel, 2)
    await _raises(ops.send, channel, 2)
    assert await ops.receive_ok(channel) == (1, True)
    assert await ops.receive_ok(channel) == (None, False)


@by_capacity
@bounded
async def test_closing_again_changes_nothing(capacity: int) -> None:
    """A second close is allowed; the first one's cause stays."""
    channel: Channel[int] = Channel(capacity)
    first = ValueError("first")
    channel.close(first)
    channel.close(ValueError("second"))
    channel.close()
    with pytest.raises(ChannelClosed) as caught:
        await channel.receive()
    assert caught.value.__cause__ is first


@by_capacity
@bounded
async def test_closed_send_against_ready_receive(capacity: int) -> None:
    """A closed send counts as ready: beside a ready receive each is chosen about half the time."""
    channel = closed_channel(capacity)
    ready: Channel[int] = Channel(1)
    raised = 0
    for _ in range(400):
        if not len(ready):
            ready.send_nowait(1)
        try:
            assert await select(ready, send(channel, 1)) == (0, 1)
        except ChannelClosed as error:
            assert error.channel is channel
            raised += 1
    assert 100 < raised < 300


@by_phrasing
@by_capacity
@bounded
async def test_close_wakes_waiting_senders(ops: Any, capacity: int) -> None:
    """Senders that wait at the close raise, first come first; their values are lost, the buffered ones are not."""
    channel: Channel[int] = Channel(capacity)
    cause = ValueError("no more")
    for value in range(capacity):
        channel.send_nowait(value)
    raised: list[int] = []

    async def sender(me: int) -> None:
        with pytest.raises(ChannelClosed) as caught:
            await ops.send(channel, 100 + me)
        assert caught.value.channel is channel
        assert caught.value.__cause__ is cause
        raised.append(me)

    async with Group() as group:
        for me in range(3):
            group.go(sender, me)
            await senders_parked(channel, me + 1)
        channel.close(cause)
        assert channel.statistics().senders_waiting == 0
    assert sorted(raised) == [0, 1, 2]
    assert [channel.receive_nowait() for _ in range(capacity)] == list(range(capacity))
    assert await ops.receive_ok(channel) == (None, False)


@by_phrasing
@by_capacity
@bounded
async def test_close_wakes_waiting_receivers(ops: Any, capacity: int) -> None:
    """Receivers that wait when the channel is closed all learn of it, in either form."""
    channel: Channel[int] = Channel(capacity)
    ended: list[str] = []

    async def raising() -> None:
        with pytest.raises(ChannelClosed):
            await ops.receive(channel)
        ended.append("raised")

    async def asking() -> None:
        assert await ops.receive_ok(channel) == (None, False)
        ended.append("told")

    async with Group() as group:
        for waiting, body in enumerate((raising, asking, raising, asking), start=1):
            group.go(body)
            await receivers_parked(channel, waiting)
        channel.close()
        assert channel.statistics().receivers_waiting == 0
    assert sorted(ended) == ["raised", "raised", "told", "told"]


@bounded
async def test_close_is_no_value_for_other_channels_of_a_select() -> None:
    """A parked select that a close wakes has left its other channels: their next operations do not meet it."""
    closing: Channel[int] = Channel()
    other: Channel[int] = Channel()

    async def chooser() -> None:
        assert await select(other, receive_ok(closing), send(other, 5)) == (1, (None, False))

    async with Group() as group:
        group.go(chooser)
        await receivers_parked(closing)
        closing.close()
        with pytest.raises(anyio.WouldBlock):
            other.send_nowait(1)
        with pytest.raises(anyio.WouldBlock):
            other.receive_nowait()
