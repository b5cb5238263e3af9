"""Non-blocking operations against a partner that becomes ready, after Go's test/chan/nonblock.go.

Go repeats the script for values of several machine sizes; here they are Python values of several kinds. Its delay until
the partner has got to its operation is exact here: the statistics tell when somebody waits.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from gochan import Channel, Group, try_select
from gochan import send as send_case

from .helpers import bounded, receivers_parked, senders_parked

VALUES = [123, 2**80, True, False, None, "hello", (1, 2), b""]


def send_with_method(channel: Channel[object], value: object) -> bool:
    try:
        channel.send_nowait(value)
    except anyio.WouldBlock:
        return False
    return True


def send_with_select(channel: Channel[object], value: object) -> bool:
    return try_select(send_case(channel, value)) is not None


def receive_with_method(channel: Channel[object]) -> list[object]:
    try:
        return [channel.receive_nowait()]
    except anyio.WouldBlock:
        return []


def receive_with_select(channel: Channel[object]) -> list[object]:
    outcome = try_select(channel)
    return [] if outcome is None else [outcome[1]]


Send = Callable[[Channel[object], object], bool]
Receive = Callable[[Channel[object]], list[object]]


@pytest.mark.parametrize(
    ("try_send", "try_receive"),
    [(send_with_method, receive_with_method), (send_with_select, receive_with_select)],
    ids=["nowait", "try_select"],
)
@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("capacity", [0, 1])
@bounded
async def test_nonblocking_operations_meet_a_waiting_partner(
    capacity: int, value: object, try_send: Send, try_receive: Receive
) -> None:
    """A non-blocking operation declines without a partner and succeeds with one that waits, or with a buffer's help."""
    channel: Channel[object] = Channel(capacity)
    strobe: Channel[None] = Channel()

    async def receiver() -> None:
        assert await channel.receive() is value
        await strobe.send(None)

    async def sender() -> None:
        await channel.send(value)
        await strobe.send(None)

    assert try_receive(channel) == []
    if capacity == 0:
        assert not try_send(channel, value)

    async with Group() as group:
        group.go(receiver)
        await receivers_parked(channel)
        assert try_send(channel, value)
        await strobe.receive()

        group.go(sender)
        if capacity:
            await strobe.receive()
        else:
            await senders_parked(channel)
        got = try_receive(channel)
        assert len(got) == 1
        assert got[0] is value
        if not capacity:
            await strobe.receive()

    assert try_receive(channel) == []
    if capacity:
        assert try_send(channel, value)
        assert not try_send(channel, value)
        assert try_receive(channel) == [value]
