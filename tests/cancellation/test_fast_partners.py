"""A partner that is too fast, and a budget of ready operations: a cancellation is put off by one of them only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

import gochan
from gochan import Channel, Event, select

from .every_source import every_source
from .scene import reached, turns
from .sources import Source
from .worlds import assert_no_waiter, drain

BUDGET = 130
"""`about 100` ready operations in a row, with room."""


def fast_receive(victim: Channel[int]) -> tuple[Callable[[], Awaitable[object]], Callable[[], None]]:
    return victim.receive, lambda: victim.send_nowait(1)


def fast_send(victim: Channel[int]) -> tuple[Callable[[], Awaitable[object]], Callable[[], None]]:
    return lambda: victim.send(1), lambda: drain(victim) and None


def fast_select(victim: Channel[int]) -> tuple[Callable[[], Awaitable[object]], Callable[[], None]]:
    return lambda: select(Channel[int](), victim), lambda: victim.send_nowait(1)


def fast_select_send(victim: Channel[int]) -> tuple[Callable[[], Awaitable[object]], Callable[[], None]]:
    return lambda: select(gochan.send(victim, 1), Event()), lambda: drain(victim) and None


FAST = [fast_receive, fast_send, fast_select, fast_select_send]


@every_source
@pytest.mark.parametrize("fast", FAST)
async def test_a_partner_that_serves_every_turn(make_source: Callable[[], Source], fast: Callable[..., object]) -> None:
    """A partner that completes each next operation in the turn in which it parks puts the cancellation off by one."""
    for lead in range(4):
        source = make_source()
        channel: Channel[int] = Channel()
        operation, serve = fast(channel)  # type: ignore[misc]
        served = after = 0
        fired = ended = False

        async def body() -> None:
            nonlocal served, after
            while True:
                await operation()
                served += 1
                after += source.pending()

        async def victim() -> None:
            nonlocal ended
            assert not await reached(source)(body)
            ended = True

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(victim)
                await turns(8)
                for turn in range(200):
                    try:
                        serve()
                    except anyio.WouldBlock:
                        pass
                    if turn == 20 + lead:
                        source.fire()
                        fired = True
                    await anyio.sleep(0)
        assert fired and ended
        assert served > 0 or not source.by_turns
        assert after <= 1
        assert_no_waiter(channel)


@every_source
async def test_a_partner_that_never_lets_up(make_source: Callable[[], Source]) -> None:
    """Two tasks that ping-pong without pause: the cancelled one ends within one operation, or one budget."""
    source = make_source()
    channel: Channel[int] = Channel()
    feeding = anyio.CancelScope()
    stop = False
    received = 0
    sent = 0
    after = 0
    ended = False

    async def body() -> None:
        nonlocal received, after
        while True:
            await channel.receive()
            received += 1
            after += source.pending()

    async def victim() -> None:
        nonlocal ended, stop
        assert not await reached(source)(body)
        ended = stop = True
        feeding.cancel()

    async def feeder() -> None:
        nonlocal sent
        with feeding:
            while not stop:
                await channel.send(1)
                sent += 1

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(victim)
            await turns(8)
            tasks.start_soon(feeder)
            await turns(8)
            source.fire()
    assert ended
    assert received == sent
    assert after <= BUDGET


@every_source
async def test_ready_operations_after_it(make_source: Callable[[], Source]) -> None:
    """Ready operations do not look for the cancellation that was put off, but one budget of them later it comes."""
    source = make_source()
    first: Channel[int] = Channel()
    buffer: Channel[int] = Channel(1)
    rounds = 0
    put_off = False

    async def body() -> None:
        nonlocal rounds, put_off
        await first.receive()
        put_off = source.pending()
        while True:
            await buffer.send(rounds)
            assert await buffer.receive() == rounds
            rounds += 1

    async def victim() -> None:
        assert not await reached(source)(body)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(victim)
            await turns(8)
            try:
                first.send_nowait(1)
            except anyio.WouldBlock:
                assert not source.by_turns  # the machine is slow: time has passed already
            source.fire()
    if put_off:
        assert 1 <= rounds <= BUDGET // 2
    assert len(buffer) == buffer.statistics().sent - buffer.statistics().received


@every_source
async def test_the_budget_s_yield_is_a_cancellation_point(make_source: Callable[[], Source]) -> None:
    """A task that only ever does ready operations is cancelled at a yield, before that operation tries."""
    source = make_source()
    channel: Channel[int] = Channel(1)
    done = 0
    after = 0

    async def body() -> None:
        nonlocal done, after
        while True:
            await channel.send(done)
            done += 1
            after += source.pending()
            await channel.receive()
            done += 1
            after += source.pending()

    async def victim() -> None:
        assert not await reached(source)(body)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(victim)
            await turns(12)
            source.fire()
    statistics = channel.statistics()
    assert statistics.sent + statistics.received == done
    assert len(channel) == statistics.sent - statistics.received
    assert after <= BUDGET
