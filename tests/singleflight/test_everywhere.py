"""SingleFlight: under many schedules, cancelled everywhere, and seen from outside."""

from __future__ import annotations

import gc
import inspect
import weakref
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle
from tests.diagnostics.looking import info, standing

import gochan
from gochan import Deadlock, Flight, Goroutine, Group, SingleFlight
from gochan.testing import CancelOutcome, cancel_sweep, explore

from .work import Work

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@backends
def test_whoever_is_cancelled_anywhere_leaves_the_other_unharmed(backend: Backend) -> None:
    """At every suspension of a leader and of one who joins."""

    async def setup() -> Work:
        work = Work()
        gochan.go(open_later, work)
        return work

    async def open_later(work: Work) -> None:
        await anyio.sleep(2)
        work.gate.set()

    others = list[Goroutine[Flight[int]]]()

    async def leading(work: Work) -> Flight[int]:
        others[:] = [gochan.go(join_later, work)]
        return await work.ask(1)

    async def join_later(work: Work) -> Flight[int]:
        await anyio.sleep(1)
        return await work.ask(2)

    async def joining(work: Work) -> Flight[int]:
        others[:] = [gochan.go(work.ask, 3)]
        await anyio.sleep(1)
        return await work.ask(4)

    async def check(work: Work, outcome: CancelOutcome) -> None:
        (other,) = others
        flight = await other.result()
        work.flights._state._check()
        assert repr(work.flights) == "<SingleFlight flights=0>"
        assert work.begun == work.ended + work.cancelled
        if outcome.returned:
            assert flight == outcome.result
            assert flight.shared

    for operation in (leading, joining):
        cancel_sweep(setup, operation, check, backend=backend)


@backends
@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_no_schedule_gives_a_wrong_or_no_answer(backend: Backend, strategy: Literal["random", "pct"]) -> None:
    """Four ask, two of them are cancelled, one forgets: nobody else is, and no two calls of one key overlap."""

    async def main() -> None:
        flights = SingleFlight[str, int]()
        flying = ended = 0

        async def run() -> int:
            nonlocal flying, ended
            flying += 1
            assert flying <= 1 + forgotten
            try:
                await gochan.sleep(0)
                await gochan.sleep(0)
            finally:
                flying -= 1
                ended += 1
            return ended

        forgotten = 0
        async with Group() as group:
            handles = [group.go(flights.do, "key", run) for _ in range(4)]
            await gochan.sleep(0)
            handles[0].cancel()
            await gochan.sleep(0)
            forgotten = 1 + 4  # and those that are cleaning up
            handles[3].cancel()
            flights.forget("key")
        for handle in handles[1:3]:
            flight = await handle.result()
            assert 1 <= flight.value <= ended
        assert not flying
        flights._state._check()
        assert repr(flights) == "<SingleFlight flights=0>"

    explore(main, backend=backend, runs=80, strategy=strategy)


@backends
def test_no_schedule_strands_anybody_when_the_group_ends(backend: Backend) -> None:
    """Those who wait in another group get the value, whatever becomes of the first one's."""

    async def main() -> None:
        flights = SingleFlight[str, int]()

        async def run() -> int:
            await gochan.sleep(0)
            return 1

        async def join() -> int:
            return (await flights.do("key", run)).value

        async with Group() as outer:
            async with Group() as inner:
                inner.go(flights.do, "key", run)
                joined = [outer.go(join) for _ in range(2)]
                await gochan.sleep(0)
                inner.cancel()
            for one in joined:
                assert await one.result() == 1
        flights._state._check()

    explore(main, backend=backend, runs=80)


@bounded
async def test_dumps_say_what_is_waited_for() -> None:
    """The goroutine that makes the call, with its number; that one shows as what it waits for."""
    work = Work()
    async with standing(work.ask) as (asking,):
        (flying,) = (one for one in gochan.goroutines() if one.name == "Work.run")
        assert info(asking).state == "goroutine wait"
        assert info(asking).waiting_on == (f"goroutine {flying.id} Work.run",)
        assert flying.state == "event wait"


@bounded
async def test_a_call_that_can_never_end_is_a_leak() -> None:
    """And who waits for it is one, though somebody holds the SingleFlight: that wakes nobody."""
    flights = SingleFlight[str, int]()

    async def ask() -> None:
        await flights.do("key", gochan.Channel[int]().receive)

    async with standing(ask):
        gc.collect()
        assert sorted(found.state for found in gochan.find_leaks()) == ["chan receive", "goroutine wait"]


@backends
def test_asking_inside_one_s_own_call_is_a_deadlock(backend: Backend) -> None:
    """As in Go; the report shows the two."""

    async def main() -> None:
        flights = SingleFlight[str, Any]()

        async def again() -> Any:
            return await flights.do("key", again)

        await flights.do("key", again)

    with pytest.raises(Deadlock) as caught:
        gochan.run(main, backend=backend)
    assert str(caught.value).count("[goroutine wait") == 2


@bounded
async def test_a_key_and_a_value_are_kept_no_longer_than_the_call() -> None:
    """Nor are the function and its arguments."""

    class Thing: ...

    flights = SingleFlight[Thing, Thing]()

    async def run(thing: Thing) -> Thing:
        await anyio.lowlevel.checkpoint()
        return thing

    async def ask() -> list[weakref.ref[Thing]]:
        key, thing = Thing(), Thing()
        await flights.do(key, run, thing)
        return [weakref.ref(key), weakref.ref(thing)]

    async with Group():
        references = await ask()
        await settle()
        gc.collect()
        assert [reference() for reference in references] == [None, None]


@bounded
async def test_a_call_that_never_began_leaves_no_warning() -> None:
    """Cancelled together with its group before its first step: its coroutine is closed."""
    work = Work()
    begun = list[Any]()

    def make() -> Any:
        begun.append(work.run())
        return begun[0]

    async with Group() as group:
        group.go(work.flights.do, "key", make)
        while not begun:
            await anyio.lowlevel.checkpoint()
        group.cancel()
    if inspect.getcoroutinestate(begun[0]) == inspect.CORO_CREATED:
        pytest.fail("it would warn that it was never awaited")
