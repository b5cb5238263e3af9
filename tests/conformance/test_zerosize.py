"""Channels of values that carry nothing, after Go's test/chan/zerosize.go.

Go's elements of size zero are Python's None, True and (): the channel counts them like any other.
"""

from __future__ import annotations

import pytest

from gochan import Channel, receive_ok, select

from .helpers import bounded


@pytest.mark.parametrize("nothing", [None, (), True], ids=repr)
@bounded
async def test_empty_values_count(nothing: object) -> None:
    """`len` counts values that carry no information, and each is received once, with the ok flag true."""
    channel: Channel[object] = Channel(2)
    await channel.send(nothing)
    await channel.send(nothing)
    assert len(channel) == 2
    assert await channel.receive() is nothing
    assert await select(receive_ok(channel)) == (0, (nothing, True))
    channel.close()
    assert await channel.receive_ok() == (None, False)
