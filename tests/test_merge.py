"""Merge: several channels as one, with nothing in flight between them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import anyio
import pytest
from tests.conformance.helpers import receivers_parked, senders_parked, settle, until

from gochan import (
    Broadcast,
    Channel,
    ChannelClosed,
    Goroutine,
    Group,
    Lagged,
    ReceiveChannel,
    merge,
    receive,
    receive_ok,
    select,
    send,
    try_select,
)
from gochan._merge import Merged


def filled(*values: int, closed: bool = True) -> Channel[int]:
    """A channel with these values, closed behind them."""
    channel = Channel[int](math.inf)
    for value in values:
        channel.send_nowait(value)
    if closed:
        channel.close()
    return channel


# ---- what comes out ----


async def test_everything_comes_and_then_the_end() -> None:
    """All values of all channels, those of one channel in its order; closed when all are."""
    sources = [filled(*range(10)), filled(*range(10, 20)), filled(*range(20, 30))]
    async with merge(*sources) as numbers:
        got = [number async for number in numbers]
        assert await numbers.receive_ok() == (None, False)
        with pytest.raises(ChannelClosed):
            await numbers.receive()
    assert sorted(got) == list(range(30))
    for start in (0, 10, 20):
        assert [number for number in got if start <= number < start + 10] == list(range(start, start + 10))


async def test_values_that_come_later() -> None:
    """A receiver that waits gets the first that comes, from whichever channel; the end of one is not the end."""
    a, b, got = Channel[int](), Channel[int](), list[int]()

    async def collect() -> None:
        async with merge(a, b) as numbers:
            async for number in numbers:
                got.append(number)

    with anyio.fail_after(5):
        async with Group() as group:
            group.go(collect)
            for value, channel in enumerate((a, b, b, a)):
                await channel.send(value)
            await receivers_parked(b, 1)
            a.close()
            await settle()
            assert got == [0, 1, 2, 3]
            await b.send(4)
            b.close()
    assert got == [0, 1, 2, 3, 4]


async def test_it_is_fair_between_channels() -> None:
    """Among channels that always have a value each has the same chance."""
    sources = [filled(*[number] * 3000, closed=False) for number in range(3)]
    async with merge(*sources) as numbers:
        seen = Counter([await numbers.receive() for _ in range(3000)])
    assert all(850 < count < 1150 for count in seen.values()), seen


async def test_nothing_is_taken_ahead() -> None:
    """A value leaves its channel when it is received, not before: a rendezvous stays one, and the block loses none."""
    a, b, buffered = Channel[int](), Channel[int](), filled(1, 2, 3, closed=False)
    with anyio.fail_after(5):
        async with Group() as group:
            group.go(a.send, 10)
            group.go(b.send, 20)
            await senders_parked(a, 1)
            await senders_parked(b, 1)
            async with merge(a, b, buffered) as numbers:
                await settle()
                assert (len(buffered), a.statistics().senders_waiting, b.statistics().senders_waiting) == (3, 1, 1)
                got = await numbers.receive()
            rest = set[int]()
            while (taken := try_select(a, b, buffered)) is not None:
                rest.add(taken[1])
            assert rest == {10, 20, 1, 2, 3} - {got}


async def test_several_receivers() -> None:
    """Each value goes to one of them, and all see the end."""
    a, b, got = Channel[int](), Channel[int](), list[int]()

    async def read(numbers: ReceiveChannel[int]) -> None:
        async for number in numbers:
            got.append(number)

    with anyio.fail_after(5):
        async with merge(a, b) as numbers, Group() as group:
            for _ in range(3):
                group.go(read, numbers)
            for value in range(10):
                await (b if value % 3 else a).send(value)
            b.close()
            await settle()
            a.close()
    assert sorted(got) == list(range(10))


async def test_receive_many_and_nowait() -> None:
    """From all channels, buffers and waiting senders; nothing is taken for an end or where there is none."""
    a, b = filled(1, 2, closed=False), Channel[int]()
    with anyio.fail_after(5):
        async with merge(a, b) as numbers, Group() as group:
            group.go(b.send, 3)
            await senders_parked(b, 1)
            assert len(await numbers.receive_many(2)) == 2
            assert len(await numbers.receive_many()) == 1
            with pytest.raises(anyio.WouldBlock):
                numbers.receive_nowait()
            a.send_nowait(4)
            assert numbers.receive_nowait() == 4
            a.close()
            b.close()
            with pytest.raises(ChannelClosed):
                numbers.receive_nowait()


async def test_one_channel_none_and_twice_the_same() -> None:
    """A merge of nothing has ended; the same channel twice is one channel."""
    nothing: Merged[int] = merge()
    async with nothing:
        assert [value async for value in nothing] == []
    async with merge(filled(1, 2)) as one:
        assert [value async for value in one] == [1, 2]
    both = Channel[int]()
    with anyio.fail_after(5):
        async with merge(both, both) as twice, Group() as group:
            waiting = [group.go(twice.receive_ok), group.go(twice.receive_ok)]
            await receivers_parked(both, 4)
            await both.send(1)
            both.close()
        ends = [await one.result() for one in waiting]
    assert sorted(ends, key=str) == [(1, True), (None, False)]


async def test_broadcasts_and_merges_merge() -> None:
    """Whatever can be received from; the inner end is not the outer one."""
    broadcast, inner_source, outer_source = Broadcast[int](5), Channel[int](5), Channel[int](5)
    with anyio.fail_after(5):
        async with merge(inner_source, broadcast.subscribe()) as inner, merge(inner, outer_source) as outer:
            async with Group() as group:
                waiting = group.go(outer.receive)
                await receivers_parked(outer_source, 1)
                await broadcast.publish(1)
                assert await waiting.result() == 1
                waiting = group.go(outer.receive)
                await receivers_parked(outer_source, 1)
                broadcast.close()
                inner_source.close()
                inner._state._check()
                outer._state._check()
                await outer_source.send(2)
                assert await waiting.result() == 2
            outer_source.close()
            assert await outer.receive_ok() == (None, False)


async def test_leaving_the_inner_block_while_the_outer_waits() -> None:
    """From then on the outer one gets nothing through it."""
    source, other = Channel[int](1), Channel[int](1)
    with anyio.fail_after(5):
        async with Group() as group:
            inner = merge(source)
            async with merge(merge(inner), other) as outer:
                waiting = group.go(outer.receive)
                await receivers_parked(source, 1)
                inner.close()
                assert source.statistics().receivers_waiting == 0
                source.send_nowait(1)
                other.send_nowait(2)
                assert await waiting.result() == 2
    assert source.receive_nowait() == 1


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
async def test_lagging_comes_through(nested: bool) -> None:
    """Word of missed values is raised by the receive of the merge that meets it; ``receive_many`` stops before it."""
    for _ in range(20):
        broadcast = Broadcast[int](1, "lag")
        reader, channel = broadcast.subscribe(), filled(7, 8, 9)
        for value in range(3):
            await broadcast.publish(value)
        broadcast.close()
        got, words = list[int](), 0
        async with merge(merge(reader) if nested else reader, channel) as numbers:
            while True:
                try:
                    got += await numbers.receive_many()
                except Lagged as word:
                    assert (word.missed, word.channel) == (2, reader)
                    words += 1
                except ChannelClosed:
                    break
        assert words == 1
        assert sorted(got) == [2, 7, 8, 9]


# ---- in a select ----


async def test_in_a_select() -> None:
    """A merge is one case, ready or waiting, with the ok flag and mapped; the end of one channel wakes nobody."""
    a, b, other = Channel[int](1), Channel[int](1), Channel[str]()
    with anyio.fail_after(5):
        async with merge(a, b) as numbers, Group() as group:
            assert try_select(numbers) is None
            b.send_nowait(1)
            assert await select(other, numbers) == (1, 1)
            a.send_nowait(2)
            assert await select(receive(numbers).map(str)) == (0, "2")
            waiting = list[Goroutine[Any]]()
            for case in (numbers, receive_ok(numbers), receive(numbers).map(str)):
                waiting.append(group.go(select, other, case))
                await receivers_parked(a, len(waiting))
            a.close()
            await settle()
            assert other.statistics().receivers_waiting == 3
            for value in range(3):
                await b.send(value)
                await until(lambda: len(b) == 0)
            assert [await one.result() for one in waiting] == [(1, 0), (1, (1, True)), (1, "2")]
            last = group.go(select, other, receive_ok(numbers))
            await receivers_parked(b, 1)
            b.close()
            assert await last.result() == (1, (None, False))
            with pytest.raises(ChannelClosed):
                await select(numbers)
    assert other.statistics().receivers_waiting == 0


async def test_a_losing_merge_leaves_no_trace() -> None:
    """When another case wins, it is in no queue any more, and no value of it is gone."""
    a, b, other = Channel[int](), Channel[int](), Channel[str]()
    with anyio.fail_after(5):
        async with merge(a, b) as numbers, Group() as group:
            waiting = group.go(select, numbers, other)
            await receivers_parked(b, 1)
            await other.send("won")
            assert await waiting.result() == (1, "won")
            assert a.statistics().receivers_waiting == b.statistics().receivers_waiting == 0
            with pytest.raises(anyio.WouldBlock):
                a.send_nowait(1)


async def test_it_never_pairs_with_itself() -> None:
    """A select that sends on a channel and receives from a merge of it waits for somebody else."""
    a = Channel[int](name="a")
    with anyio.fail_after(5):
        async with merge(a) as numbers, Group() as group:
            waiting = group.go(select, numbers, send(a, 1))
            await receivers_parked(a, 1)
            await settle()
            a._state._check()
            assert await a.receive() == 1
            assert await waiting.result() == (1, None)


# ---- the end ----


async def test_a_cause_comes_last() -> None:
    """The others are drained first; every way to receive has the cause of the channel that failed."""
    cause = KeyError("why")
    failed, good = filled(1, closed=False), filled(2, 3)
    failed.close(cause)
    async with merge(failed, good) as numbers:
        got = list[int]()
        with pytest.raises(ChannelClosed) as caught:
            async for number in numbers:
                got.append(number)
        assert sorted(got) == [1, 2, 3]
        assert caught.value.__cause__ is cause
        assert caught.value.channel is numbers
        with pytest.raises(ChannelClosed) as caught:
            await numbers.receive()
        assert caught.value.__cause__ is cause
        assert await numbers.receive_ok() == (None, False)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["with", "async with"])
async def test_leaving_the_block_ends_it(asynchronous: bool) -> None:
    """For who waits, too; the channels stay open, and in their queues is nobody."""
    a, b = Channel[int](), Channel[int](1)
    numbers = merge(a, b)

    async def wait() -> None:
        with pytest.raises(ChannelClosed, match="merge that has ended"):
            await numbers.receive()

    with anyio.fail_after(5):
        async with Group() as group:
            group.go(wait)
            group.go(wait)
            if asynchronous:
                async with numbers as inside:
                    await receivers_parked(a, 2)
            else:
                with numbers as inside:
                    await receivers_parked(a, 2)
            assert inside is numbers
    assert not a.closed
    assert a.statistics().receivers_waiting == b.statistics().receivers_waiting == 0
    b.send_nowait(1)
    assert [value async for value in numbers] == []
    assert len(b) == 1
    numbers.close()
