"""A select sends its value once, after Go's test/chan/doubleselect.go.

Go's program takes the number of rounds from a flag; here the long run is a slow test.
"""

from __future__ import annotations

import pytest

from gochan import Channel, Group, select, send

from .helpers import bounded, patient


async def _double_select(rounds: int, capacity: int) -> None:
    ways: list[Channel[int]] = [Channel(capacity) for _ in range(4)]
    merged: Channel[int] = Channel()
    seen: set[int] = set()

    async def sender() -> None:
        for i in range(rounds):
            await select(*[send(way, i) for way in ways])
        for way in ways:
            way.close()

    async def forward(way: Channel[int]) -> None:
        last = -1
        async for value in way:
            assert value > last
            last = value
            await merged.send(value)

    async def forward_all() -> None:
        async with Group() as group:
            for way in ways:
                group.go(forward, way)
        merged.close()

    async with Group() as group:
        group.go(sender)
        group.go(forward_all)
        async for value in merged:
            assert value not in seen, "one select delivered twice"
            seen.add(value)
    assert seen == set(range(rounds))


@pytest.mark.parametrize("capacity", [0, 1])
@bounded
async def test_a_select_delivers_to_one_channel_only(capacity: int) -> None:
    """A four-way sending select delivers each value to exactly one of the four channels."""
    await _double_select(1_500, capacity)


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [0, 1])
@patient(300)
async def test_a_select_delivers_to_one_channel_only_in_full(capacity: int) -> None:
    """The same with 100,000 values."""
    await _double_select(100_000, capacity)
