"""One sender, many selecting receivers of the same channel, after Go's test/ken/chan1.go."""

from __future__ import annotations

from collections import Counter

import pytest

from gochan import Channel, Group, receive_ok, select

from .helpers import bounded


@pytest.mark.parametrize("capacity", [0, 2])
@bounded
async def test_ten_selecting_receivers_share_the_values(capacity: int) -> None:
    """Ten receivers with the channel in two cases each: every value of a thousand arrives exactly once."""
    channel: Channel[int] = Channel(capacity)
    seen: Counter[int] = Counter()

    async def receiver() -> None:
        while True:
            _, outcome = await select(receive_ok(channel), receive_ok(channel))
            match outcome:
                case (value, True):
                    seen[value] += 1
                case _:
                    return

    async with Group() as group:
        for _ in range(10):
            group.go(receiver)
        for i in range(1000):
            await channel.send(i)
        channel.close()
    assert seen == dict.fromkeys(range(1000), 1)
