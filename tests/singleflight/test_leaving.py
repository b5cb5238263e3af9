"""SingleFlight: who may leave when, what becomes of the call, and ``forget``."""

from __future__ import annotations

import logging

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle, until

from gochan import Cancelled, Event, Flight, Group, SingleFlight

from .work import Work, for_ever

# ---- leaving ----


@bounded
async def test_who_leaves_alone_hurts_nobody() -> None:
    """The leader or another: the call goes on for the rest, and counts as shared."""
    work = Work()
    async with Group() as group:
        leader = group.go(work.ask, 1)
        await settle()
        second, third = group.go(work.ask, 2), group.go(work.ask, 3)
        await settle()
        leader.cancel()
        await settle()
        third.cancel()
        await settle()
        assert (work.begun, work.cancelled) == (1, 0)
        work.gate.set()
        assert await second.result() == Flight(1, shared=True)


@bounded
async def test_the_last_one_to_leave_cancels_it() -> None:
    """However it leaves: a cancelled goroutine, or a time-out around it."""
    work = Work()
    async with Group() as group:
        first = group.go(work.ask)
        await settle()
        with anyio.move_on_after(0.001):
            await work.ask()
        assert work.cancelled == 0
        first.cancel()
        await settle()
        assert work.cancelled == 1
        assert repr(work.flights) == "<SingleFlight flights=0>"


@bounded
async def test_who_asks_during_the_clean_up_gets_a_new_call() -> None:
    """And the end of the old one does not take the new one's key."""
    flights, cleaning, finish, gate = SingleFlight[str, str](), Event(), Event(), Event()

    async def slow_to_go() -> str:
        try:
            await Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                cleaning.set()
                await finish.wait()
        return "old"

    async def new() -> str:
        await gate.wait()
        return "new"

    async with Group() as group:
        first = group.go(flights.do, "key", slow_to_go)
        await settle()
        first.cancel()
        await cleaning.wait()
        second = group.go(flights.do, "key", new)
        await settle()
        finish.set()
        await settle()
        third = group.go(flights.do, "key", slow_to_go)
        await settle()
        gate.set()
        assert await second.result() == await third.result() == Flight("new", shared=True)


@bounded
async def test_a_call_that_will_not_be_cancelled_is_left_alone() -> None:
    """Its value is nobody's."""
    flights, finish = SingleFlight[str, int](), Event()

    async def stubborn() -> int:
        with anyio.CancelScope(shield=True):
            await finish.wait()
        return 1

    async with Group():
        with anyio.move_on_after(0.001) as scope:
            await flights.do("key", stubborn)
        assert scope.cancelled_caught
        assert await flights.do("key", lambda: 2) == Flight(2, shared=False)
        finish.set()


@bounded
async def test_a_clean_up_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for the error any more, and the group must not end by it."""
    flights = SingleFlight[str, int]()

    async def fail() -> int:
        try:
            return await for_ever()
        finally:
            raise ValueError("clean-up")

    with caplog.at_level(logging.ERROR, "gochan"):
        async with Group():
            with anyio.move_on_after(0.001):
                await flights.do("key", fail)
    (record,) = caplog.records
    assert "'key' failed" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "clean-up"


@bounded
async def test_a_group_that_is_cancelled_takes_its_flights_along() -> None:
    """The one who asked there gets ``Cancelled``, from the group's cause; a new call is possible at once."""
    work, causes = Work(), list[str]()

    async def ask_on() -> None:
        with anyio.CancelScope(shield=True), pytest.raises(Cancelled, match="was cancelled, with the group") as caught:
            await work.ask()
        causes.append(str(caught.value.__cause__))

    async with Group() as group:
        group.go(ask_on)
        await settle()
        group.cancel(OSError("why"))
    assert causes == ["why"]
    assert work.cancelled == 1
    work.gate.set()
    async with Group():
        assert (await work.ask(2)).value == 2


@bounded
async def test_those_who_wait_elsewhere_have_the_call_made_again() -> None:
    """SF5: the one that has waited longest makes it, in its own group, and the others join: nobody of them has left."""
    work = Work()
    async with Group() as outer:
        async with Group() as inner:
            inner.go(work.ask, 1)
            await settle()
            joined = [outer.go(work.ask, value) for value in (2, 3, 4)]
            await settle()
            inner.cancel()
        assert work.cancelled == 1
        await settle()
        assert work.begun == 2
        work.gate.set()
        flights = [await one.result() for one in joined]
    assert len({flight.value for flight in flights}) == 1
    assert all(flight.shared for flight in flights)


@bounded
async def test_who_waits_elsewhere_without_a_group() -> None:
    """It could not make the call, so it gets ``Cancelled``, too."""
    work = Work()

    async def join() -> None:
        await until(lambda: work.begun == 1)
        with pytest.raises(Cancelled):
            await work.ask()

    async with anyio.create_task_group() as outside:
        outside.start_soon(join)
        async with Group() as group:
            group.go(work.ask)
            await until(lambda: work.waiting == 2)
            group.cancel()
    assert work.begun == 1


@bounded
async def test_a_call_whose_every_group_is_cancelled() -> None:
    """One group after the other: each time somebody who is left makes it, and the last one gets the value."""
    work = Work()
    async with Group() as outer:
        last = None
        for number in range(5):
            async with Group() as inner:
                inner.go(work.ask, number)
                await settle()
                last = last or outer.go(work.ask, 7)
                await settle()
                inner.cancel()
            await settle()
        work.gate.set()
        assert last is not None
        assert (await last.result()).value == 7


@bounded
async def test_in_a_group_that_was_stopped_it_is_cancelled() -> None:
    """Clean-up code behind a shield that asks there gets ``Cancelled`` instead of waiting for ever."""
    work, got = Work(), list[str]()

    async def clean_up() -> None:
        try:
            await for_ever()
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await work.ask()
                except Cancelled as error:
                    got.append(str(error))

    for limit in (None, 1):
        async with Group(limit=limit) as group:
            group.go(clean_up)
            await settle()
            group.cancel()
    assert got == ["the flight of 'key' was cancelled, with the group that it ran in"] * 2
    assert repr(work.flights) == "<SingleFlight flights=0>"


# ---- forget ----


@bounded
async def test_after_forget_the_next_one_makes_a_new_call() -> None:
    """SF-4: the old one goes on for those who wait for it, and its end leaves the new one in place."""
    old, new = Work(), Work()
    new.flights = flights = old.flights
    flights.forget("key")
    async with Group() as group:
        first = group.go(old.ask, 1)
        await settle()
        flights.forget("key")
        second = group.go(new.ask, 2)
        await settle()
        old.gate.set()
        assert await first.result() == Flight(1, shared=False)
        third = group.go(new.ask, 3)
        await settle()
        assert new.begun == 1
        new.gate.set()
        assert await second.result() == await third.result() == Flight(2, shared=True)


@bounded
async def test_a_forgotten_one_is_cancelled_with_its_last_waiter() -> None:
    """And leaves the new one alone."""
    old, new = Work(), Work()
    new.flights = old.flights
    async with Group() as group:
        first = group.go(old.ask)
        await settle()
        old.flights.forget("key")
        second = group.go(new.ask, 2)
        await settle()
        first.cancel()
        await settle()
        assert (old.cancelled, new.cancelled) == (1, 0)
        new.gate.set()
        assert await second.result() == Flight(2, shared=False)


@bounded
async def test_errors_among_cancellations_are_the_waiters_alone() -> None:
    """A cancellation of the call's own tasks is not handed to those who wait elsewhere."""
    flights, got = SingleFlight[str, None](), list[BaseException]()

    async def fail_in_the_end() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("clean-up")

    async def fn() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_in_the_end)
            tasks.start_soon(for_ever)

    async def join() -> None:
        try:
            await flights.do("key", fn)
        except ExceptionGroup as errors:
            got.extend(errors.exceptions)

    async with Group() as outer:
        async with Group() as inner:
            inner.go(flights.do, "key", fn)
            await settle()
            outer.go(join)
            await settle()
            inner.cancel()
    assert [str(error) for error in got] == ["clean-up"]


@bounded
async def test_what_is_left_of_a_loop_that_is_closed_has_no_say() -> None:
    """A table that another loop has taken over is a new one: the end of an old call does not touch it."""
    old, new = Work(), Work()
    new.flights = old.flights
    async with Group() as group:
        first = group.go(old.ask, 1)
        await settle()
        old.flights._state.forget_waiters()
        second = group.go(new.ask, 2)
        await settle()
        old.gate.set()
        assert await first.result() == Flight(1, shared=False)
        assert repr(new.flights) == "<SingleFlight flights=1>"
        new.gate.set()
        assert await second.result() == Flight(2, shared=False)
