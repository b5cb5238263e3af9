"""Channels under contention, after the behaviours of channels in Go's src/runtime/chan_test.go.

Not ported: the benchmarks (they are in benchmarks/ under Go's names). The "race" test of the non-blocking receive pits
threads against each other in Go; on one event loop the same promise is that no interleaving of the tasks' turns lets it
miss what was ready all along. Shrinking stacks become garbage collections while tasks are parked.
"""

from __future__ import annotations

import gc
from collections import Counter

import anyio
import anyio.lowlevel
import pytest

from gochan import Channel, ChannelClosed, Group, receive_ok, select, send, try_select

from .helpers import bounded, patient, receivers_parked, senders_parked, settle

CAPACITIES = (0, 1, 2, 3, 7, 19)


# -- TestChan ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", CAPACITIES)
@bounded
async def test_receive_from_an_empty_channel_blocks(capacity: int) -> None:
    """Receivers of an empty channel wait, and a non-blocking receive beside them does not."""
    channel: Channel[int] = Channel(capacity)
    woken: list[str] = []

    async def plain() -> None:
        await channel.receive()
        woken.append("plain")

    async def with_ok() -> None:
        assert await channel.receive_ok() == (0, True)
        woken.append("ok")

    async with Group() as group:
        group.go(plain)
        group.go(with_ok)
        await receivers_parked(channel, 2)
        await settle()
        assert woken == []
        with pytest.raises(anyio.WouldBlock):
            channel.receive_nowait()
        assert try_select(channel) is None
        assert try_select(receive_ok(channel)) is None
        await channel.send(0)
        await channel.send(0)
    assert sorted(woken) == ["ok", "plain"]


@pytest.mark.parametrize("capacity", CAPACITIES)
@bounded
async def test_send_to_a_full_channel_blocks(capacity: int) -> None:
    """A sender waits once the buffer is full, and a non-blocking send beside it does not."""
    channel: Channel[int] = Channel(capacity)
    sent = False

    async def sender() -> None:
        nonlocal sent
        await channel.send(capacity)
        sent = True

    for i in range(capacity):
        await channel.send(i)
    async with Group() as group:
        group.go(sender)
        await senders_parked(channel)
        await settle()
        assert not sent
        with pytest.raises(anyio.WouldBlock):
            channel.send_nowait(-1)
        assert try_select(send(channel, -1)) is None
        assert [await channel.receive() for _ in range(capacity + 1)] == list(range(capacity + 1))
    assert sent


@pytest.mark.parametrize("capacity", CAPACITIES)
@bounded
async def test_a_closed_channel_gives_what_it_holds_and_then_says_so(capacity: int) -> None:
    """After close the buffer drains in order; then receive raises and receive_ok says (None, False), for ever."""
    channel: Channel[int] = Channel(capacity)
    for i in range(capacity):
        await channel.send(i)
    channel.close()
    assert [await channel.receive() for _ in range(capacity)] == list(range(capacity))
    for _ in range(3):
        with pytest.raises(ChannelClosed):
            await channel.receive()
        assert await channel.receive_ok() == (None, False)


@pytest.mark.parametrize("capacity", CAPACITIES)
@bounded
async def test_close_wakes_a_waiting_receiver(capacity: int) -> None:
    """A receiver that waits when the channel is closed learns that no value will come."""
    channel: Channel[int] = Channel(capacity)
    done: Channel[bool] = Channel()

    async def receiver() -> None:
        await done.send(await channel.receive_ok() == (None, False))

    async with Group() as group:
        group.go(receiver)
        await receivers_parked(channel)
        channel.close()
        assert await done.receive()


@pytest.mark.parametrize("with_ok", [False, True], ids=["receive", "receive_ok"])
@pytest.mark.parametrize("capacity", CAPACITIES)
@bounded
async def test_a_hundred_values_arrive_in_order(capacity: int, with_ok: bool) -> None:
    """One sender and one receiver: values come out as they went in, in both forms of receive."""
    channel: Channel[int] = Channel(capacity)

    async def sender() -> None:
        for i in range(100):
            await channel.send(i)

    async with Group() as group:
        group.go(sender)
        for i in range(100):
            if with_ok:
                assert await channel.receive_ok() == (i, True)
            else:
                assert await channel.receive() == i


async def _four_to_four(capacity: int, length: int) -> None:
    channel: Channel[int] = Channel(capacity)
    done: Channel[Counter[int]] = Channel()

    async def sender() -> None:
        for i in range(length):
            await channel.send(i)

    async def receiver() -> None:
        seen: Counter[int] = Counter()
        for _ in range(length):
            seen[await channel.receive()] += 1
        await done.send(seen)

    total: Counter[int] = Counter()
    async with Group() as group:
        for _ in range(4):
            group.go(sender)
        for _ in range(4):
            group.go(receiver)
        for _ in range(4):
            total += await done.receive()
    assert total == dict.fromkeys(range(length), 4)
    assert len(channel) == 0


@pytest.mark.parametrize("capacity", CAPACITIES)
@bounded
async def test_four_senders_to_four_receivers(capacity: int) -> None:
    """Four senders of the same values to four receivers: each value arrives four times, none is lost or doubled."""
    await _four_to_four(capacity, 150)


@pytest.mark.slow
@patient(600)
async def test_four_senders_to_four_receivers_in_full() -> None:
    """The same, a thousand values each, for every capacity below 200."""
    for capacity in range(200):
        await _four_to_four(capacity, 1000)


@pytest.mark.parametrize("capacity", CAPACITIES)
@bounded
async def test_len_and_capacity(capacity: int) -> None:
    """`len` is the number of buffered values, `capacity` what was asked for."""
    channel: Channel[int] = Channel(capacity)
    assert (len(channel), channel.capacity) == (0, capacity)
    for i in range(capacity):
        await channel.send(i)
        assert len(channel) == i + 1
    assert (len(channel), channel.capacity) == (capacity, capacity)


# -- TestNonblockRecvRace ---------------------------------------------------------------------------------------------


async def _nonblocking_receive_race(rounds: int) -> None:
    for i in range(rounds):
        channel: Channel[int] = Channel(1)
        await channel.send(1)
        got: list[tuple[str, object]] = []

        async def taker(channel: Channel[int] = channel, got: list[tuple[str, object]] = got) -> None:
            outcome = try_select(receive_ok(channel))
            assert outcome is not None, "a ready channel was reported as not ready"
            got.append(("taker", outcome[1]))

        async with Group() as group:
            group.go(taker)
            await settle(i % 3)
            channel.close()
            await settle(i // 3 % 3)
            got.append(("main", await channel.receive_ok()))
        assert sorted(value is None for _, (value, _) in got) == [False, True]  # type: ignore[misc]


@bounded
async def test_a_nonblocking_receive_beside_close_sees_the_value_or_the_close() -> None:
    """While a full channel is closed and drained, a non-blocking receive gets a value or the close, never neither."""
    await _nonblocking_receive_race(300)


@pytest.mark.slow
@patient(300)
async def test_a_nonblocking_receive_beside_close_in_full() -> None:
    """The same in 10,000 rounds."""
    await _nonblocking_receive_race(10_000)


@pytest.mark.parametrize(
    "value",
    [None, 0, "", (), object(), [1], ValueError("a value"), ChannelClosed],
    ids=lambda value: type(value).__name__,
)
@bounded
async def test_any_value_can_be_sent(value: object) -> None:
    """Values of every kind, None too, pass unchanged; a non-blocking select of sends to a full channel declines."""
    channel: Channel[object] = Channel(1)
    await channel.send(value)
    assert try_select(send(channel, value)) is None
    assert try_select(send(channel, value), send(channel, object())) is None
    assert await channel.receive() is value
    assert try_select(send(channel, value), send(channel, value)) in ((0, None), (1, None))
    received, ok = await channel.receive_ok()
    assert received is value
    assert ok is True


# -- TestMultiConsumer -------------------------------------------------------------------------------------------------


async def _multi_consumer(iterations: int) -> None:
    workers = 23
    primes = (2, 3, 7, 11, 13, 17, 19, 23, 27, 31)
    jobs: Channel[int] = Channel(workers * 3)
    results: Channel[int] = Channel(workers * 3)

    async def work(me: int) -> None:
        async for value in jobs:
            if primes[me % len(primes)] == value:
                await anyio.lowlevel.checkpoint()
            await results.send(value)

    async def feed() -> None:
        for i in range(iterations):
            await jobs.send(primes[i % len(primes)])
        jobs.close()

    async def run_pool() -> None:
        async with Group() as pool:
            for i in range(workers):
                pool.go(work, i)
        results.close()

    async with Group() as group:
        group.go(run_pool)
        group.go(feed)
        got = [value async for value in results]
    assert len(got) == iterations
    assert sum(got) == sum(primes[i % len(primes)] for i in range(iterations))


@bounded
async def test_one_feeder_many_workers() -> None:
    """A feeder, 23 workers that iterate over the jobs, results closed at the end: nothing is lost or doubled."""
    await _multi_consumer(4_000)


@pytest.mark.slow
@patient(300)
async def test_one_feeder_many_workers_in_full() -> None:
    """The same with 271,828 jobs."""
    await _multi_consumer(271_828)


# -- TestShrinkStackDuringBlockedSend ----------------------------------------------------------------------------------


@bounded
async def test_a_parked_sender_survives_garbage_collection() -> None:
    """Values of parked senders and selects outlive a collection, even when nobody else refers to them."""
    channel: Channel[list[int]] = Channel()
    other: Channel[list[int]] = Channel()
    rounds = 6

    async def sender() -> None:
        for i in range(rounds):
            await channel.send([i])

    async def selecting_sender() -> None:
        for i in range(rounds):
            await select(send(other, [100 + i]))

    async with Group() as group:
        group.go(sender)
        group.go(selecting_sender)
        for i in range(rounds):
            await senders_parked(channel)
            await senders_parked(other)
            gc.collect()
            assert await channel.receive() == [i]
            assert await other.receive() == [100 + i]
