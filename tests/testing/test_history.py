"""``History``: it does what it records, and records what it did."""

from __future__ import annotations

import anyio
import pytest

import gochan
from gochan import Channel, ChannelClosed, Event, receive_ok, send
from gochan.testing import History
from gochan.testing._history import UNKNOWN, Operation


def seen(operation: Operation) -> tuple[object, ...]:
    return operation.outcome, operation.chosen, operation.value


async def test_each_operation_does_what_the_channel_does() -> None:
    """The same results and the same errors, and an outcome for each."""
    history, channel = History(), Channel[int](1)
    await history.send(channel, 1)
    with pytest.raises(anyio.WouldBlock):
        history.send_nowait(channel, 2)
    assert await history.receive(channel) == 1
    with pytest.raises(anyio.WouldBlock):
        history.receive_nowait(channel)
    history.send_nowait(channel, 3)
    assert history.receive_nowait(channel) == 3
    history.close(channel)
    assert await history.receive_ok(channel) == (None, False)
    with pytest.raises(ChannelClosed):
        await history.receive(channel)
    with pytest.raises(ChannelClosed):
        await history.send(channel, 4)
    assert [seen(operation) for operation in history.operations] == [
        ("ok", 0, None),
        ("blocked", None, None),
        ("ok", 0, 1),
        ("blocked", None, None),
        ("ok", 0, None),
        ("ok", 0, 3),
        ("ok", 0, None),
        ("closed", 0, None),
        ("closed", 0, None),
        ("closed", 0, None),
    ]


async def test_calls_and_returns_are_counted_in_their_order() -> None:
    """A rendezvous: both are called before either returns."""
    history, channel = History(), Channel[int]()
    async with gochan.Group() as group:
        group.go(history.send, channel, 1, name="sender")
        assert await history.receive(channel) == 1
    first, second = history.operations
    assert {first.call, second.call} == {1, 2}
    assert {first.returned, second.returned} == {3, 4}
    assert "sender" in {first.task, second.task}


async def test_select_tells_which_case_was_done() -> None:
    """By its number, with the value of one that receives."""
    history, full, values, nothing = History(), Channel[int](1), Channel[int](1), Channel[int]()
    await values.send(5)
    await full.send(0)
    assert await history.select(nothing, send(full, 1), values, None) == (2, 5)
    assert history.try_select(nothing, send(full, 1)) is None
    assert history.try_select(receive_ok(full)) == (0, (0, True))
    full.close()
    assert await history.select(nothing, receive_ok(full)) == (1, (None, False))
    with pytest.raises(ChannelClosed):
        await history.select(nothing, full)
    assert [seen(operation) for operation in history.operations] == [
        ("ok", 2, 5),
        ("blocked", None, None),
        ("ok", 0, 0),
        ("closed", 1, None),
        ("closed", 1, None),
    ]


async def test_what_a_map_function_made_is_not_taken_for_the_value() -> None:
    """Only the function has seen that one."""
    history, channel = History(), Channel[int](1)
    await channel.send(1)
    assert await history.select(gochan.receive(channel).map(str)) == (0, "1")
    assert history.operations[0].value is UNKNOWN


async def test_what_is_no_channel_is_recorded_as_such() -> None:
    """An event, for one, may be chosen at any time."""
    history, event = History(), Event()
    event.set()
    assert await history.select(event) == (0, None)
    assert history.operations[0].alternatives[0].way == "other"


async def test_a_cancelled_operation_is_recorded_as_cancelled() -> None:
    """Whatever cancels it, and the cancellation goes on."""
    history, channel = History(), Channel[int]()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await history.receive(channel)
    assert scope.cancelled_caught
    with anyio.CancelScope() as scope:
        scope.cancel()
        await history.select(channel, send(channel, 1))
    assert [operation.outcome for operation in history.operations] == ["cancelled", "cancelled"]


async def test_what_has_not_returned_is_pending() -> None:
    """Also when its coroutine is thrown away."""
    history, channel = History(), Channel[int]()
    async with gochan.Group() as group:
        group.go(history.receive, channel)
        while not channel.statistics().receivers_waiting:
            await anyio.sleep(0)
        assert seen(history.operations[0]) == ("pending", None, None)
        group.cancel()
    coroutine = history.receive(channel)
    coroutine.close()
    assert len(history.operations) == 1


async def test_who_certainly_waited_before_is_known() -> None:
    """If as many wait on a side as have not returned, the next one is behind all of them."""
    history, channel = History(), Channel[int]()
    async with gochan.Group() as group:
        for number in range(2):
            group.go(history.receive, channel)
            while channel.statistics().receivers_waiting == number:
                await anyio.sleep(0)
        first, second = history.operations
        assert first.behind == []
        assert second.behind == [(0, first)]
        group.cancel()


async def test_who_only_may_have_waited_is_not() -> None:
    """One that was committed and has not resumed waits no more: nothing is said then."""
    history, channel = History(), Channel[int]()
    async with gochan.Group() as group:
        group.go(history.receive, channel)
        while not channel.statistics().receivers_waiting:
            await anyio.sleep(0)
        channel.send_nowait(1)
        with pytest.raises(anyio.WouldBlock):
            history.receive_nowait(channel)
        assert history.operations[1].behind == []


def test_outside_of_a_loop() -> None:
    """Operations that do not wait can be recorded there, too."""
    history, channel = History(), Channel[int](1, name="numbers")
    history.send_nowait(channel, 1)
    assert [str(operation) for operation in history.operations] == ["send(numbers, 1) at once -> ok"]
    assert history.operations[0].task == "outside"
