"""Capacities, after Go's test/chancap.go.

Not ported: Go's refusal of buffers larger than its address space (a buffer takes no memory before it is filled here),
and its many integer types.
"""

from __future__ import annotations

import math

import pytest

from gochan import Channel

from .helpers import bounded


@pytest.mark.parametrize("capacity", [0, 1, 10, 2**63, 10**30, math.inf])
def test_capacity_is_what_was_asked_for(capacity: float) -> None:
    """Any non-negative size is a capacity, a huge one too, and a new channel is empty, open and true."""
    channel: Channel[int] = Channel(capacity)
    assert channel.capacity == capacity
    assert len(channel) == 0
    assert channel
    assert not channel.closed


@pytest.mark.parametrize("capacity", [-1, -(10**30), -math.inf, math.nan])
def test_negative_capacity_is_refused(capacity: float) -> None:
    """A negative capacity, or one that is not a number, is a ValueError."""
    with pytest.raises(ValueError, match="capacity"):
        Channel(capacity)


@pytest.mark.parametrize("capacity", [1.5, 1.0, "1", None, 1j])
def test_a_capacity_is_an_integer(capacity: object) -> None:
    """A capacity that is neither an int nor math.inf is a TypeError."""
    with pytest.raises(TypeError, match="capacity"):
        Channel(capacity)  # type: ignore[arg-type]


def test_the_default_is_a_rendezvous() -> None:
    """A channel without a capacity has no buffer."""
    assert Channel[int]().capacity == 0


@bounded
async def test_len_follows_sends_and_receives() -> None:
    """`len` counts the values in the buffer at every step."""
    channel: Channel[int] = Channel(10)
    for i in range(10):
        assert len(channel) == i
        await channel.send(i)
    for i in range(10):
        assert len(channel) == 10 - i
        await channel.receive()
    assert (len(channel), channel.capacity) == (0, 10)


@bounded
async def test_an_unbounded_channel_never_fills() -> None:
    """Sends to an unbounded channel do not wait, however many there are."""
    channel: Channel[int] = Channel(math.inf)
    for i in range(5_000):
        channel.send_nowait(i)
    assert len(channel) == 5_000
    assert [await channel.receive() for _ in range(5_000)] == list(range(5_000))
