"""First in, first out, after Go's test/chan/fifo.go; and the order of waiters, which Go's channels keep too."""

from __future__ import annotations

import pytest

from gochan import Channel, Group, select, send

from .helpers import bounded, receivers_parked, senders_parked

COUNT = 10


@bounded
async def test_a_buffer_keeps_the_order() -> None:
    """Values leave a buffered channel in the order in which they entered it."""
    channel: Channel[int] = Channel(COUNT)
    for i in range(COUNT):
        await channel.send(i)
    assert [await channel.receive() for _ in range(COUNT)] == list(range(COUNT))


@bounded
async def test_a_chain_of_goroutines_receives_in_order() -> None:
    """Goroutines that take turns at one rendezvous channel see its values in the order sent."""
    channel: Channel[int] = Channel()

    async def link(expected: int, my_turn: Channel[None], next_turn: Channel[None]) -> None:
        await my_turn.receive()
        assert await channel.receive() == expected
        await next_turn.send(None)

    async with Group() as group:
        first: Channel[None] = Channel()
        turn = first
        for i in range(COUNT):
            following: Channel[None] = Channel()
            group.go(link, i, turn, following)
            turn = following
        await first.send(None)
        for i in range(COUNT):
            await channel.send(i)
        await turn.receive()


@pytest.mark.parametrize("selecting", [(), (1, 4, 5), tuple(range(COUNT))], ids=["plain", "mixed", "selects"])
@pytest.mark.parametrize("capacity", [0, 3])
@bounded
async def test_receivers_are_served_in_the_order_they_came(capacity: int, selecting: tuple[int, ...]) -> None:
    """The i-th waiting receiver gets the i-th value, plain receives and select cases in one queue."""
    channel: Channel[int] = Channel(capacity)
    idle: Channel[int] = Channel()
    got: dict[int, int] = {}

    async def receiver(me: int) -> None:
        got[me] = (await select(idle, channel))[1] if me in selecting else await channel.receive()

    async with Group() as group:
        for me in range(COUNT):
            group.go(receiver, me)
            await receivers_parked(channel, me + 1)
        for i in range(COUNT):
            channel.send_nowait(i)
    assert got == {me: me for me in range(COUNT)}


@pytest.mark.parametrize("selecting", [(), (1, 4, 5), tuple(range(COUNT))], ids=["plain", "mixed", "selects"])
@pytest.mark.parametrize("capacity", [0, 3])
@bounded
async def test_senders_are_served_in_the_order_they_came(capacity: int, selecting: tuple[int, ...]) -> None:
    """Buffered values come first, then those of the waiting senders, plain sends and select cases in one queue."""
    channel: Channel[int] = Channel(capacity)
    idle: Channel[int] = Channel()

    async def sender(me: int) -> None:
        if me in selecting:
            await select(idle, send(channel, me))
        else:
            await channel.send(me)

    async with Group() as group:
        for i in range(capacity):
            channel.send_nowait(-1 - i)
        for me in range(COUNT):
            group.go(sender, me)
            await senders_parked(channel, me + 1)
        assert len(channel) == capacity
        got = []
        for _ in range(COUNT + capacity):
            got.append(channel.receive_nowait())
            assert len(channel) == min(capacity, COUNT + capacity - len(got))
    assert got == [-1 - i for i in range(capacity)] + list(range(COUNT))


@bounded
async def test_nobody_overtakes_a_waiter() -> None:
    """A value handed to a waiting receiver is its own before it runs: a newcomer cannot take it."""
    channel: Channel[int] = Channel()
    got: list[int] = []

    async def receiver() -> None:
        got.append(await channel.receive())

    async with Group() as group:
        group.go(receiver)
        await receivers_parked(channel)
        channel.send_nowait(1)
        assert len(channel) == 0
        group.go(channel.send, 2)
        assert await channel.receive() == 2
    assert got == [1]
