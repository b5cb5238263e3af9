"""A channel sent over a channel, inside a select, after Go's test/chan/sendstmt.go.

Not ported: what the file says of the precedence of Go's arrow operator; Python's sends are calls.
"""

from __future__ import annotations

from gochan import Channel, Group, select, send

from .helpers import bounded


@bounded
async def test_a_channel_of_channels() -> None:
    """A select can send a channel, and the receiver can answer over it."""
    requests: Channel[Channel[int]] = Channel()
    idle: Channel[int] = Channel()

    async def server() -> None:
        async for reply in requests:
            await select(idle, send(reply, 42))

    async with Group() as group:
        group.go(server)
        for _ in range(3):
            reply: Channel[int] = Channel()
            index, _ = await select(idle, send(requests, reply))
            assert index == 1
            assert await reply.receive() == 42
        requests.close()


@bounded
async def test_the_result_of_a_receive_can_be_sent() -> None:
    """A value received in the argument of a send goes straight on."""
    first: Channel[int] = Channel(1)
    second: Channel[int] = Channel(1)
    await first.send(7)
    await second.send(await first.receive())
    assert await select(second) == (0, 7)
