"""Every form of send against every form of receive that drops the value, after Go's test/chan/select7.go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from gochan import Channel, Group, receive, receive_ok, select, send

from .helpers import bounded, settle

Receiver = Callable[[Channel[int]], Awaitable[object]]
Sender = Callable[[Channel[int]], Awaitable[object]]


async def receive_plain(channel: Channel[int]) -> None:
    await channel.receive()


async def receive_plain_ok(channel: Channel[int]) -> None:
    await channel.receive_ok()


async def receive_one_case(channel: Channel[int]) -> None:
    await select(channel)


async def receive_among_two(channel: Channel[int]) -> None:
    await select(Channel[int](), receive(channel))


async def receive_ok_among_two(channel: Channel[int]) -> None:
    await select(receive_ok(channel), Channel[int]())


async def receive_many(channel: Channel[int]) -> None:
    assert await channel.receive_many() == [1]


async def receive_iterating(channel: Channel[int]) -> None:
    async for _ in channel:
        break


async def send_plain(channel: Channel[int]) -> None:
    await channel.send(1)


async def send_one_case(channel: Channel[int]) -> None:
    await select(send(channel, 1))


async def send_among_two(channel: Channel[int]) -> None:
    await select(Channel[int](), send(channel, 1))


RECEIVERS = [
    receive_plain,
    receive_plain_ok,
    receive_one_case,
    receive_among_two,
    receive_ok_among_two,
    receive_many,
    receive_iterating,
]
SENDERS = [send_plain, send_one_case, send_among_two]


@pytest.mark.parametrize("receiver_first", [True, False], ids=["receiver-waits", "sender-waits"])
@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("sender", SENDERS)
@bounded
async def test_every_send_meets_every_receive(sender: Sender, receiver: Receiver, receiver_first: bool) -> None:
    """Each way of sending completes against each way of receiving, whoever waits for the other."""
    channel: Channel[int] = Channel()

    async def meet() -> None:
        await (receiver if receiver_first else sender)(channel)

    async with Group() as group:
        group.go(meet)
        await settle()
        await (sender if receiver_first else receiver)(channel)
    statistics = channel.statistics()
    assert (statistics.sent, statistics.received) == (1, 1)
