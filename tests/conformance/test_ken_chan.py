"""Direct and selecting senders and receivers on four channels, with exact counts, after Go's test/ken/chan.go.

Go's pseudo-random yields are drawn from a seeded generator here; the longer run is a slow test.
"""

from __future__ import annotations

import random
from collections import Counter

import anyio.lowlevel
import pytest

from gochan import Channel, Group, select, send

from .helpers import bounded, patient

STARTS = (100, 200, 300, 400)
LENGTH = 76
"""Every stream counts from its start until the last two digits are 75."""


class Traffic:
    """Four channels, the goroutines that use them, and how much went through."""

    def __init__(self, capacity: int, seed: int) -> None:
        self.channels: list[Channel[int]] = [Channel(capacity) for _ in STARTS]
        self.rng = random.Random(seed)
        self.counts: Counter[str] = Counter()

    async def dawdle(self, most: int) -> None:
        for _ in range(self.rng.randrange(most)):
            await anyio.lowlevel.checkpoint()

    async def send_directly(self, k: int) -> None:
        for value in range(STARTS[k], STARTS[k] + LENGTH):
            await self.dawdle(4)
            await self.channels[k].send(value)
            self.counts["sent"] += 1

    async def receive_directly(self, k: int) -> None:
        for expected in range(STARTS[k], STARTS[k] + LENGTH):
            await self.dawdle(4)
            assert await self.channels[k].receive() == expected
            self.counts["received"] += 1

    async def send_selecting(self) -> None:
        following = list(STARTS)
        while cases := [
            send(self.channels[k], value) if value < STARTS[k] + LENGTH else None for k, value in enumerate(following)
        ]:
            if not any(cases):
                return
            await self.dawdle(3)
            index, _ = await select(*cases)
            following[index] += 1
            self.counts["sent"] += 1

    async def receive_selecting(self) -> None:
        following = list(STARTS)
        for _ in range(LENGTH * len(STARTS)):
            await self.dawdle(3)
            index, value = await select(*self.channels)
            assert value == following[index]
            following[index] += 1
            self.counts["received"] += 1


async def _all_topologies(capacity: int, seed: int) -> None:
    everything = range(len(STARTS))
    for senders, receivers in (("direct", "direct"), ("direct", "select"), ("select", "direct"), ("select", "select")):
        traffic = Traffic(capacity, seed)
        async with Group() as group:
            if senders == "direct":
                for k in everything:
                    group.go(traffic.send_directly, k)
            else:
                group.go(traffic.send_selecting)
            if receivers == "direct":
                for k in everything:
                    group.go(traffic.receive_directly, k)
            else:
                group.go(traffic.receive_selecting)
        assert traffic.counts == {"sent": LENGTH * len(STARTS), "received": LENGTH * len(STARTS)}
        for channel in traffic.channels:
            statistics = channel.statistics()
            assert statistics.sent == statistics.received == LENGTH
            assert statistics.buffered == statistics.senders_waiting == statistics.receivers_waiting == 0


async def _one_channel_after_another(capacity: int, seed: int) -> None:
    for k in range(len(STARTS)):
        traffic = Traffic(capacity, seed)
        async with Group() as group:
            group.go(traffic.send_directly, k)
            group.go(traffic.receive_directly, k)
        assert traffic.counts == {"sent": LENGTH, "received": LENGTH}


@pytest.mark.parametrize("capacity", [0, 1, 10, 100])
@bounded
async def test_every_topology(capacity: int) -> None:
    """Direct or selecting senders to direct or selecting receivers: every stream arrives whole and in order."""
    await _one_channel_after_another(capacity, seed=capacity)
    await _all_topologies(capacity, seed=capacity)


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [0, 1, 10, 100])
@patient(300)
async def test_every_topology_with_many_seeds(capacity: int) -> None:
    """The same under a hundred patterns of yields."""
    for seed in range(100):
        await _all_topologies(capacity, seed)
