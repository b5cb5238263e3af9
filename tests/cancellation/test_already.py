"""Operations begun in a task, or a scope, that is cancelled already; and cancellations that meet a close or a crowd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest
from tests.turns import given_up

import gochan
from gochan import Channel, ChannelClosed, Group, select

from .every_source import every_source
from .operations import CHANNEL_OPERATIONS
from .scene import reached, turns
from .sources import Source, TaskCancel
from .worlds import VALUE, Receiving, Sending, Waiting, assert_no_waiter

DROPPING_AND_UNBUFFERED = {"receive-drop_newest", "select-drop_oldest"}


@pytest.mark.parametrize("name", CHANNEL_OPERATIONS)
async def test_waits_in_a_scope_that_is_cancelled_already(name: str) -> None:
    """An operation that has to wait in an already cancelled scope raises, and leaves no trace in any queue."""
    operation = CHANNEL_OPERATIONS[name]()
    returned = False
    with anyio.fail_after(20):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await operation.call()
            returned = True
        assert scope.cancelled_caught
        assert not returned
        operation.complete()
        await operation.check(returned=False, result=None)


# A channel that drops and has no buffer is never ready to be received from: no sender waits there.
@pytest.mark.parametrize("name", [name for name in CHANNEL_OPERATIONS if name not in DROPPING_AND_UNBUFFERED])
async def test_ready_in_a_scope_that_is_cancelled_already(name: str) -> None:
    """An operation that need not wait succeeds in an already cancelled scope; the next one that waits is cancelled."""
    operation = CHANNEL_OPERATIONS[name]()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            # Make it ready: a buffered value, room, a partner that waits, an event that is set.
            if isinstance(operation, Receiving):
                if operation.channel.capacity:
                    operation.complete()
                else:
                    tasks.start_soon(operation.channel.send, VALUE)
                    await turns(4)
                    operation.accepted.append(VALUE)
                    operation.completed = True
            elif isinstance(operation, Sending):
                if operation.channel.capacity:
                    operation.taken.append(operation.channel.receive_nowait())
                    operation.completed = True
                else:

                    async def take(operation: Sending = operation) -> None:
                        operation.taken.append(await operation.channel.receive())

                    tasks.start_soon(take)
                    await turns(4)
                    operation.completed = True
            else:
                assert isinstance(operation, Waiting)
                operation.complete()
            result = None
            returned = False
            with anyio.CancelScope() as scope:
                scope.cancel()
                result = await operation.call()
                returned = True
                await Channel[int]().receive()
            assert scope.cancelled_caught
            assert returned
        await operation.check(returned=True, result=result)


@pytest.mark.asyncio_only
@pytest.mark.parametrize("name", CHANNEL_OPERATIONS)
async def test_a_task_cancelled_before_it_waits(name: str) -> None:
    """A task that was cancelled while it ran is cancelled by its next operation that waits; no trace is left."""
    operation = CHANNEL_OPERATIONS[name]()
    source = TaskCancel()

    async def body() -> None:
        source.fire()
        await operation.call()

    with anyio.fail_after(20):
        assert not await asyncio.ensure_future(source.guard(body))
        operation.complete()
        await operation.check(returned=False, result=None)


@every_source
@pytest.mark.parametrize("buffered", [False, True])
async def test_close_and_a_cancellation(make_source: Callable[[], Source], buffered: bool) -> None:
    """A waiter that `close` has reached ends with ChannelClosed or with the cancellation that came after it."""
    for sending in (False, True):
        channel: Channel[int] = Channel(int(buffered))
        if buffered and sending:
            channel.send_nowait(0)
        source = make_source()
        ends: list[str] = []

        async def body() -> None:
            try:
                if sending:
                    await channel.send(1)
                else:
                    await channel.receive()
            except ChannelClosed:
                ends.append("closed")
                await anyio.sleep(0)
            except anyio.get_cancelled_exc_class():
                ends.append("cancelled")
                raise

        async def victim() -> None:
            await reached(source)(body)
            await turns(5)
            ends.append("clean")

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(victim)
                await turns(10)
                channel.close()
                source.fire()
        assert ends in (["closed", "clean"], ["cancelled", "clean"])
        assert_no_waiter(channel)
        assert len(channel) == int(buffered and sending)


async def test_a_wake_up_is_not_spent_on_a_cancelled_waiter() -> None:
    """Of many waiters, those that were cancelled in the very turn of the hand-over get nothing; the others get all."""
    channel: Channel[int] = Channel()
    got: dict[int, int] = {}
    scopes = [anyio.CancelScope() for _ in range(20)]

    async def receiver(number: int) -> None:
        with scopes[number]:
            got[number] = await channel.receive()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(receiver, number)
                await turns(2)
            for number in range(0, 20, 2):
                scopes[number].cancel()
            for number in range(10):
                channel.send_nowait(number)
            with pytest.raises(anyio.WouldBlock):
                channel.send_nowait(99)
            assert channel.statistics().receivers_waiting == 0
    assert got == {2 * number + 1: number for number in range(10)}


async def test_select_against_select_with_cancellations() -> None:
    """Selects that meet each other on unbuffered channels, cancelled at random turns: every exchange has two sides."""
    for delay in range(6):
        ab, ba = Channel[str](), Channel[str]()
        sent: list[str] = []
        received: list[str] = []
        scope = anyio.CancelScope()

        async def one() -> None:
            with scope:
                match await select(gochan.send(ab, "from one"), ba):
                    case (0, _):
                        sent.append("from one")
                    case (1, value):
                        received.append(value)

        async def two() -> None:
            with given_up(20):
                match await select(gochan.send(ba, "from two"), ab):
                    case (0, _):
                        sent.append("from two")
                    case (1, value):
                        received.append(value)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one)
                tasks.start_soon(two)
                await turns(delay)
                scope.cancel()
        assert sent == received
        assert_no_waiter(ab, ba)


async def test_a_group_s_cancel_reaches_parked_and_committed_alike() -> None:
    """`Group.cancel` in the turn of a hand-over: the goroutine has the value or the sender keeps it, never neither."""
    for committed in (False, True):
        channel: Channel[int] = Channel()
        got: list[int] = []

        async def receiver() -> None:
            got.append(await channel.receive())
            await anyio.sleep(0)
            got.append(-1)

        with anyio.fail_after(20):
            async with Group() as group:
                goroutine = group.go(receiver)
                await turns(4)
                if committed:
                    channel.send_nowait(7)
                goroutine.cancel()
                await turns(4)
        assert got == ([7] if committed else [])
        assert_no_waiter(channel)
