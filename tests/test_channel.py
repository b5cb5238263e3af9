"""Channels, beyond what Go has: overflow, causes, batches, statistics."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest
from tests.conformance.helpers import receivers_parked, senders_parked
from tests.turns import given_up

from gochan import Channel, ChannelClosed, ChannelStatistics, Group, receive, select, send


def contents(channel: Channel[Any]) -> list[Any]:
    """What is in the buffer, taken out."""
    return [channel.receive_nowait() for _ in range(len(channel))]


def counts(channel: Channel[Any]) -> tuple[int, int, int, int]:
    """Sent, received, buffered, dropped."""
    seen = channel.statistics()
    return seen.sent, seen.received, seen.buffered, seen.dropped


# ---- overflow ----


@pytest.mark.parametrize(
    ("overflow", "capacity", "kept"),
    [
        ("drop_newest", 0, []),
        ("drop_newest", 1, [0]),
        ("drop_newest", 3, [0, 1, 2]),
        ("drop_newest", math.inf, [0, 1, 2, 3, 4]),
        ("drop_oldest", 0, []),
        ("drop_oldest", 1, [4]),
        ("drop_oldest", 3, [2, 3, 4]),
        ("drop_oldest", math.inf, [0, 1, 2, 3, 4]),
    ],
)
@pytest.mark.parametrize("nowait", [False, True], ids=["send", "nowait"])
async def test_a_full_channel_that_drops(overflow: Any, capacity: float, kept: list[int], nowait: bool) -> None:
    """No send waits; the policy says which values are left; the dropped ones are counted, and not as sent."""
    channel = Channel[int](capacity, overflow=overflow)
    with anyio.fail_after(20):
        for number in range(5):
            if nowait:
                channel.send_nowait(number)
            else:
                await channel.send(number)
            channel._state._check()
    assert counts(channel) == (len(kept), 0, len(kept), 5 - len(kept))
    assert contents(channel) == kept
    assert counts(channel) == (len(kept), len(kept), 0, 5 - len(kept))


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
async def test_a_dropping_rendezvous_hands_over_when_somebody_waits(overflow: Any) -> None:
    """At capacity 0 a value goes to the receiver that waits longest; only without one it is dropped."""
    channel = Channel[int](0, overflow=overflow)
    with anyio.fail_after(20):
        async with Group() as group:
            receivers = []
            for number in range(2):
                receivers.append(group.go(channel.receive))
                await receivers_parked(channel, number + 1)
            for number in range(3):
                await channel.send(number)
        assert [await handle.result() for handle in receivers] == [0, 1]
    assert counts(channel) == (2, 2, 0, 1)


@pytest.mark.parametrize("overflow", ["drop_newest", "drop_oldest"])
async def test_a_send_that_drops_is_a_ready_case(overflow: Any) -> None:
    """In a select such a send never waits either."""
    channel = Channel[int](1, overflow=overflow)
    with anyio.fail_after(20):
        for number in range(2):
            assert await select(send(channel, number)) == (0, None)
    assert counts(channel)[3] == 1


def test_a_dropping_channel_still_closes() -> None:
    """After close nothing is dropped any more: the send is an error."""
    channel = Channel[int](1, overflow="drop_oldest")
    channel.send_nowait(1)
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.send_nowait(2)
    assert counts(channel) == (1, 0, 1, 0)


# ---- close with a cause ----


@pytest.mark.parametrize("capacity", [0, 1])
async def test_the_cause_is_at_both_ends(capacity: int) -> None:
    """Every error after ``close(cause)`` is fresh, names its channel, and comes from the cause."""
    channel, cause = Channel[int](capacity, name="jobs"), ValueError("broken")
    channel.close(cause)
    errors = list[ChannelClosed]()
    with anyio.fail_after(20):
        for operation in (
            channel.receive,
            channel.receive_many,
            lambda: channel.send(1),
            channel.__anext__,
            lambda: select(channel),
            lambda: select(send(channel, 1)),
        ):
            with pytest.raises(ChannelClosed, match="jobs") as caught:
                await operation()
            errors.append(caught.value)
        assert await channel.receive_ok() == (None, False)
    for operate in (channel.receive_nowait, lambda: channel.send_nowait(1)):
        with pytest.raises(ChannelClosed) as caught:
            operate()
        errors.append(caught.value)
    assert all(error.__cause__ is cause and error.channel is channel for error in errors)
    assert len({id(error) for error in errors}) == len(errors)


async def test_the_cause_reaches_those_who_wait() -> None:
    """A receiver and a select that wait get it as well."""
    channel, cause = Channel[int](), ValueError("broken")
    caught = list[BaseException | None]()

    async def fail(operation: Any) -> None:
        with pytest.raises(ChannelClosed) as error:
            await operation
        caught.append(error.value.__cause__)

    with anyio.fail_after(20):
        async with Group() as group:
            group.go(fail, channel.receive())
            group.go(fail, select(channel, None))
            await receivers_parked(channel, 2)
            channel.close(cause)
    assert caught == [cause, cause]


@pytest.mark.parametrize("first", [None, KeyError("first")], ids=["plain", "cause"])
def test_the_first_close_counts(first: BaseException | None) -> None:
    """A later cause changes nothing."""
    channel = Channel[int]()
    channel.close(first)
    channel.close(ValueError("second"))
    with pytest.raises(ChannelClosed) as caught:
        channel.receive_nowait()
    assert caught.value.__cause__ is first


@pytest.mark.parametrize("asynchronous", [False, True], ids=["with", "async with"])
@pytest.mark.parametrize(
    ("error", "is_cause"),
    [(None, False), (ValueError("body"), True), (KeyboardInterrupt(), False), (GeneratorExit(), False)],
    ids=["none", "exception", "interrupt", "exit"],
)
async def test_a_with_block_closes(asynchronous: bool, error: BaseException | None, is_cause: bool) -> None:
    """Left by an Exception it closes with that cause; by anything else, plainly; the error goes on."""
    channel = Channel[int](1)

    async def block() -> None:
        if asynchronous:
            async with channel as inside:
                assert inside is channel
                if error is not None:
                    raise error
        else:
            with channel as inside:
                assert inside is channel
                if error is not None:
                    raise error

    try:
        await block()
    except BaseException as raised:
        assert raised is error
    assert channel.closed
    with pytest.raises(ChannelClosed) as caught:
        channel.receive_nowait()
    assert caught.value.__cause__ is (error if is_cause else None)


async def test_a_cancellation_closes_plainly() -> None:
    """A consumer of a cancelled producer sees an end, not a failure."""
    channel = Channel[int](5)
    with given_up():
        with channel:
            channel.send_nowait(1)
            await anyio.sleep_forever()
    assert [number async for number in channel] == [1]


# ---- iteration ----


async def test_iteration_ends_when_closed_and_drained() -> None:
    """It gives what is there and what comes, and can be gone through by several tasks at once."""
    channel, got = Channel[int](2), list[int]()

    async def consume() -> None:
        async for number in channel:
            got.append(number)

    with anyio.fail_after(20):
        async with Group() as group:
            for _ in range(3):
                group.go(consume)
            for number in range(10):
                await channel.send(number)
            channel.close()
        assert [number async for number in channel] == []
    assert sorted(got) == list(range(10))


async def test_iteration_drains_and_then_raises_the_cause() -> None:
    """After a close with a cause the values come first, then ``ChannelClosed`` from it."""
    channel, got = Channel[int](3), list[int]()
    for number in range(3):
        channel.send_nowait(number)
    channel.close(ValueError("half way"))
    with anyio.fail_after(20), pytest.raises(ChannelClosed) as caught:
        async for number in channel:
            got.append(number)
    assert got == [0, 1, 2]
    assert isinstance(caught.value.__cause__, ValueError)


# ---- receive_many ----


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, [0, 1, 2, 3, 4]), (1, [0]), (3, [0, 1, 2]), (99, [0, 1, 2, 3, 4])]
)
@pytest.mark.parametrize("capacity", [0, 2, 5, math.inf])
async def test_receive_many_takes_what_is_there(capacity: float, limit: int | None, expected: list[int]) -> None:
    """From the buffer and from waiting senders, in order; the senders it took from go on, the others wait."""
    channel = Channel[int](capacity)
    with anyio.fail_after(20):
        async with Group() as group:
            for number in range(5):
                group.go(channel.send, number)
                # trio starts a batch in its own order
                await anyio.wait_all_tasks_blocked()
            assert await channel.receive_many(limit) == expected
            channel._state._check()
            await anyio.wait_all_tasks_blocked()
            seen = channel.statistics()
            assert (seen.buffered, seen.senders_waiting) == (
                min(capacity, 5 - len(expected)),
                max(5 - len(expected) - capacity, 0),
            )
            rest = await channel.receive_many() if len(expected) < 5 else []
    assert expected + rest == [0, 1, 2, 3, 4]


async def test_receive_many_waits_for_one_value_only() -> None:
    """One value is enough; it does not wait for a full batch."""
    channel = Channel[int](9)
    with anyio.fail_after(20):
        async with Group() as group:
            batch = group.go(channel.receive_many, 5)
            await receivers_parked(channel)
            channel.send_nowait(1)
        assert await batch.result() == [1]


async def test_receive_many_drains_a_closed_channel_before_it_raises() -> None:
    """What is left comes in one batch; the close is told by the next call."""
    channel = Channel[int](3)
    channel.send_nowait(1)
    channel.send_nowait(2)
    channel.close()
    assert await channel.receive_many(5) == [1, 2]
    with pytest.raises(ChannelClosed):
        await channel.receive_many(5)


@pytest.mark.parametrize("limit", [0, -1])
async def test_receive_many_takes_at_least_one(limit: int) -> None:
    """A limit below 1 is an error that says so; nothing is taken."""
    channel = Channel[int](1)
    channel.send_nowait(1)
    with pytest.raises(ValueError, match="at least one"):
        await channel.receive_many(limit)
    assert len(channel) == 1


# ---- nowait ----


@pytest.mark.parametrize("capacity", [0, 2])
async def test_nowait_never_waits(capacity: int) -> None:
    """Where it would have to, it raises ``WouldBlock`` and has done nothing."""
    channel = Channel[int](capacity)
    for number in range(capacity):
        channel.send_nowait(number)
    with pytest.raises(anyio.WouldBlock):
        channel.send_nowait(99)
    assert contents(channel) == list(range(capacity))
    with pytest.raises(anyio.WouldBlock):
        channel.receive_nowait()
    assert counts(channel) == (capacity, capacity, 0, 0)


async def test_nowait_serves_and_obeys_the_queue() -> None:
    """It completes whoever waits longest, and a value behind a waiting sender is not taken before its own."""
    channel = Channel[int](1)
    channel.send_nowait(0)
    with anyio.fail_after(20):
        async with Group() as group:
            for number in (1, 2):
                group.go(channel.send, number)
                await senders_parked(channel, number)
            assert [channel.receive_nowait() for _ in range(3)] == [0, 1, 2]


# ---- what it tells of itself ----


async def test_statistics_tell_everything() -> None:
    """All eight numbers, select cases included; they are a frozen snapshot."""
    channel = Channel[int](1)
    with anyio.fail_after(20):
        async with Group() as group:
            group.go(channel.receive)
            await receivers_parked(channel, 1)
            group.go(select, channel, None)
            await receivers_parked(channel, 2)
            before = channel.statistics()
            channel.send_nowait(1)
            channel.send_nowait(2)
            channel.send_nowait(3)
            group.go(channel.send, 4)
            await senders_parked(channel, 1)
            group.go(select, send(channel, 5))
            await senders_parked(channel, 2)
            assert channel.statistics() == ChannelStatistics(1, 1, 2, 0, 3, 2, 0, False)
            assert await channel.receive_many() == [3, 4, 5]
            channel.close()
    assert before == ChannelStatistics(
        capacity=1, buffered=0, senders_waiting=0, receivers_waiting=2, sent=0, received=0, dropped=0, closed=False
    )
    assert channel.statistics() == ChannelStatistics(1, 0, 0, 0, 5, 5, 0, True)
    with pytest.raises(AttributeError):
        before.sent = 9  # type: ignore[misc]


@pytest.mark.parametrize("capacity", [0, 3, math.inf])
async def test_sent_is_received_and_buffered(capacity: float) -> None:
    """A waiting sender's value counts only when it has been accepted."""
    channel = Channel[int](capacity)
    with anyio.fail_after(20):
        async with Group() as group:
            for number in range(5):
                group.go(channel.send, number)
            await anyio.wait_all_tasks_blocked()
            seen = channel.statistics()
            assert seen.sent == seen.buffered == min(capacity, 5)
            await channel.receive()
            seen = channel.statistics()
            assert seen.sent == 1 + seen.buffered
            await channel.receive_many()


def test_an_empty_channel_is_true() -> None:
    """``len`` counts the buffer only, and truth has nothing to do with it."""
    channel = Channel[int](2)
    assert channel
    assert len(channel) == 0
    channel.send_nowait(1)
    assert len(channel) == 1


def test_repr_says_what_one_looks_for() -> None:
    """Name, fill, closed, and who waits."""
    channel = Channel[int](3, name="jobs")
    channel.send_nowait(1)
    assert repr(channel) == "<Channel 'jobs' 1/3 senders=0 receivers=0>"
    channel.close()
    assert repr(channel) == "<Channel 'jobs' 1/3 closed senders=0 receivers=0>"
    assert repr(Channel[int](math.inf)) == "<Channel 0/inf senders=0 receivers=0>"


def test_what_it_was_made_with_cannot_be_changed() -> None:
    """Capacity, name and ``closed`` are read-only."""
    channel = Channel[int](3, name="jobs")
    assert (channel.capacity, channel.name, channel.closed) == (3, "jobs", False)
    for attribute in ("capacity", "name", "closed"):
        with pytest.raises(AttributeError):
            setattr(channel, attribute, 1)


# ---- ready operations ----


async def test_ready_operations_do_not_suspend() -> None:
    """A send with room and a receive with a value run to the end without giving way to anybody."""
    channel = Channel[int](2)
    await channel.send(0)  # the first operation under a loop takes the slow path

    for operation in (
        channel.send(1),
        channel.receive(),
        channel.receive_ok(),
        select(send(channel, 2)),
        select(channel),
    ):
        with pytest.raises(StopIteration):
            operation.send(None)
    receiving = receive(channel)
    assert receiving.__case__() is receiving


async def test_a_send_returns_when_a_receiver_has_the_value() -> None:
    """At capacity 0; with a buffer it returns as soon as there is room."""
    channel, log = Channel[int](), list[str]()

    async def sender() -> None:
        await channel.send(1)
        log.append("sent")

    with anyio.fail_after(20):
        async with Group() as group:
            group.go(sender)
            await senders_parked(channel)
            assert log == []
            assert await channel.receive() == 1
    assert log == ["sent"]
