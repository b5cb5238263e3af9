"""A long chain of goroutines, after Go's test/chan/goroutines.go (which takes its length from the command line)."""

from __future__ import annotations

import pytest

from gochan import Channel, Group

from .helpers import bounded, patient


async def _daisy_chain(length: int) -> None:
    async def pass_on(left: Channel[int], right: Channel[int]) -> None:
        await left.send(await right.receive() + 1)

    async with Group() as group:
        leftmost: Channel[int] = Channel()
        left = leftmost
        for _ in range(length):
            right: Channel[int] = Channel()
            group.go(pass_on, left, right)
            left = right
        group.go(left.send, 0)
        assert await leftmost.receive() == length


@bounded
async def test_ten_thousand_goroutines_in_a_chain() -> None:
    """One value passes through a chain of 10,000 goroutines, each adding one, and all of them end."""
    await _daisy_chain(10_000)


@pytest.mark.slow
@patient(300)
async def test_a_hundred_thousand_goroutines_in_a_chain() -> None:
    """The same with 100,000."""
    await _daisy_chain(100_000)
