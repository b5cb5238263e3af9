"""Signals and events."""

from __future__ import annotations

import anyio
import pytest
from tests.turns import given_up

from gochan import Event, Group, Signal, select, try_select


async def test_everybody_goes_on_in_the_order_in_which_they_came() -> None:
    """One set wakes all who wait; who comes later does not wait at all."""
    event, woken = Event(), list[int]()

    async def waiter(number: int) -> None:
        await event.wait()
        woken.append(number)

    with anyio.fail_after(20):
        async with Group() as group:
            for number in range(3):
                group.go(waiter, number)
                await anyio.wait_all_tasks_blocked()
            assert not event.is_set()
            event.set()
            event.set()
        await event.wait()
    assert sorted(woken) == [0, 1, 2]
    assert event.is_set()


async def test_an_event_is_a_case_of_a_select() -> None:
    """Never ready before it is set, ready ever after."""
    event, other = Event(), Event()
    assert try_select(event, other) is None
    other.set()
    assert try_select(event, other) == (1, None)
    with anyio.fail_after(20):
        async with Group() as group:
            chosen = group.go(select, event, None)
            await anyio.wait_all_tasks_blocked()
            event.set()
        assert await chosen.result() == (0, None)


async def test_a_cancelled_wait_leaves_no_waiter() -> None:
    """After a time-out nobody stands in the queue."""
    event = Event()
    with given_up():
        await event.wait()
    event._state._check()
    assert "waiters=0" in repr(event)


def test_a_signal_cannot_be_set_from_outside() -> None:
    """The read-only view has no ``set``; an event is a signal."""
    assert not hasattr(Signal(), "set")
    assert isinstance(Event(), Signal)


def test_an_event_may_be_set_before_any_loop_runs() -> None:
    """It belongs to nobody yet; a later loop sees it."""
    event = Event()
    event.set()
    for backend in ("asyncio", "trio"):
        if backend == "trio":
            pytest.importorskip("trio")
        anyio.run(event.wait, backend=backend)
