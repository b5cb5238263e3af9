"""Select under contention, after the behaviours of select in Go's src/runtime/chan_test.go.

The "race" test of the non-blocking select pits threads against each other in Go; on one event loop the same promise is
that no interleaving of the tasks' turns lets it miss a channel that was ready all along.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from gochan import Channel, Group, receive_ok, select, send, try_select

from .helpers import bounded, patient, receivers_parked, settle

# -- TestNonblockSelectRace, TestNonblockSelectRace2 ------------------------------------------------------------------


async def _nonblocking_select_race(rounds: int, close_second: bool) -> None:
    done: Channel[bool] = Channel(1)
    async with Group() as group:
        for i in range(rounds):
            first: Channel[int] = Channel(1)
            second: Channel[int] = Channel(0 if close_second else 1)
            await first.send(1)

            async def chooser(first: Channel[int] = first, second: Channel[int] = second) -> None:
                await done.send(try_select(receive_ok(first), receive_ok(second)) is not None)

            group.go(chooser)
            await settle(i % 3)
            if close_second:
                second.close()
            else:
                await second.send(1)
            await settle(i // 3 % 3)
            try_select(first)
            assert await done.receive(), "one of the two was ready at every moment"


@pytest.mark.parametrize("close_second", [False, True], ids=["send", "close"])
@bounded
async def test_a_nonblocking_select_acts_on_one_moment(close_second: bool) -> None:
    """If at every moment one of two channels is ready, try_select never finds nothing."""
    await _nonblocking_select_race(600, close_second)


@pytest.mark.slow
@pytest.mark.parametrize("close_second", [False, True], ids=["send", "close"])
@patient(600)
async def test_a_nonblocking_select_acts_on_one_moment_in_full(close_second: bool) -> None:
    """The same in 100,000 rounds."""
    await _nonblocking_select_race(100_000, close_second)


# -- TestSelfSelect ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, 10])
@bounded
async def test_a_select_never_meets_itself(capacity: int) -> None:
    """Two goroutines that each select send-or-receive on one channel pair up with each other, and never hang."""
    channel: Channel[int] = Channel(capacity)
    counts: Counter[str] = Counter()

    async def both_ways(me: int) -> None:
        for i in range(1000):
            if me == 0 or i % 2 == 0:
                index, value = await select(send(channel, me), channel)
                received = index == 1
            else:
                index, value = await select(channel, send(channel, me))
                received = index == 0
            counts["received" if received else "sent"] += 1
            if received and capacity == 0:
                assert value == 1 - me, "received from itself"

    async with Group() as group:
        group.go(both_ways, 0)
        group.go(both_ways, 1)
    assert counts["sent"] == counts["received"] + len(channel)
    assert counts.total() == 2000


# -- TestSelectStress --------------------------------------------------------------------------------------------------


async def _select_stress(count: int) -> None:
    channels: list[Channel[int]] = [Channel(0), Channel(0), Channel(2), Channel(3)]
    received: Counter[int] = Counter()

    async def sender(k: int) -> None:
        for _ in range(count):
            await channels[k].send(k)

    async def receiver(k: int) -> None:
        for _ in range(count):
            assert await channels[k].receive() == k
            received[k] += 1

    async def select_sender() -> None:
        quota = [count] * 4
        while any(quota):
            order = (3, 2, 0, 1)
            index, _ = await select(*[send(channels[k], k) if quota[k] else None for k in order])
            quota[order[index]] -= 1

    async def select_receiver() -> None:
        quota = [count] * 4
        while any(quota):
            index, value = await select(*[channel if quota[k] else None for k, channel in enumerate(channels)])
            assert value == index
            quota[index] -= 1
            received[index] += 1

    async with Group() as group:
        for k in range(4):
            group.go(sender, k)
            group.go(receiver, k)
        group.go(select_sender)
        group.go(select_receiver)
    assert received == dict.fromkeys(range(4), 2 * count)
    for channel in channels:
        statistics = channel.statistics()
        assert (statistics.buffered, statistics.senders_waiting, statistics.receivers_waiting) == (0, 0, 0)


@bounded
async def test_selects_and_plain_operations_mixed() -> None:
    """Senders, receivers, a selecting sender and receiver share four channels: all quotas are met and all end."""
    await _select_stress(250)


@pytest.mark.slow
@patient(300)
async def test_selects_and_plain_operations_mixed_in_full() -> None:
    """The same with 10,000 values per goroutine and channel."""
    await _select_stress(10_000)


# -- TestSelectFairness ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocking", [True, False], ids=["select", "try_select"])
@bounded
async def test_ready_cases_win_equally_often(blocking: bool) -> None:
    """Of four cases two are always ready: each wins half the time, within ten standard deviations."""
    trials = 3000
    first: Channel[int] = Channel(trials + 1)
    second: Channel[int] = Channel(trials + 1)
    for i in range(trials + 1):
        await first.send(i)
        await second.send(i)
    never_a: Channel[int] = Channel()
    never_b: Channel[int] = Channel()
    wins: Counter[int] = Counter()
    for _ in range(trials):
        if blocking:
            index, _ = await select(never_a, first, never_b, second)
        else:
            outcome = try_select(never_a, first, never_b, second)
            assert outcome is not None
            index = outcome[0]
        wins[index] += 1
    assert set(wins) == {1, 3}
    assert abs(wins[1] - trials / 2) <= 10 * (trials * 0.25) ** 0.5


# -- TestPseudoRandomSend ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, 100])
@bounded
async def test_two_sends_to_one_channel_mix(capacity: int) -> None:
    """A select that may send 1 or 0 to the same channel sends both often, whether it waits or not."""
    count = 100
    channel: Channel[int] = Channel(capacity)
    values: list[int] = []

    async def receiver() -> None:
        for _ in range(count):
            await anyio.lowlevel.checkpoint()
            values.append(await channel.receive())

    async with Group() as group:
        group.go(receiver)
        for _ in range(count):
            index, _ = await select(send(channel, 1), send(channel, 0))
            assert index in (0, 1)
    assert len(values) == count
    assert count / 10 < sum(values) < count - count / 10


# -- TestSelectDuplicateChannel ----------------------------------------------------------------------------------------


@bounded
async def test_a_select_may_queue_twice_on_one_channel() -> None:
    """A select with the same channel in two cases, woken by a third, leaves both its places to those behind it."""
    c: Channel[int] = Channel()
    d: Channel[int] = Channel()
    e: Channel[int] = Channel()
    got: list[int] = []

    async def selector() -> None:
        assert await select(c, c, d) == (2, 7)
        await e.send(9)

    async def plain() -> None:
        got.append(await c.receive())

    async with Group() as group:
        group.go(selector)
        await receivers_parked(d)
        group.go(plain)
        await settle()
        await d.send(7)
        assert await e.receive() == 9
        assert c.statistics().receivers_waiting == 1
        await c.send(8)
    assert got == [8]


# -- the choice is random, not merely balanced -------------------------------------------------------------------------


@bounded
async def test_the_choice_does_not_alternate() -> None:
    """A fair choice has runs: over 400 picks the winner neither alternates nor follows the order of the cases."""
    rng = random.Random(0)
    picks: list[int] = []
    for _ in range(400):
        ready: list[Channel[int]] = [Channel(1), Channel(1)]
        for channel in ready:
            channel.send_nowait(rng.randrange(10))
        index, _ = await select(*ready)
        picks.append(index)
    changes = sum(a != b for a, b in pairwise(picks))
    assert 100 < changes < 300
