"""SingleFlight: one call for all who ask, and who may leave it when."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import logging
import pickle
import traceback
import weakref
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle
from tests.diagnostics.looking import info, standing
from tests.threads import Call

import gochan
from gochan import Cancelled, Deadlock, Event, Flight, Goroutine, Group, SingleFlight
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def for_ever() -> int:
    await Event().wait()
    return 0


class Work:
    """Something slow to ask for: how often it began and ended, and a gate to hold it."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.cancelled = 0
        self.gate = Event()
        self.flights = SingleFlight[str, int]()

    async def run(self, value: int = 1) -> int:
        self.begun += 1
        try:
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        self.ended += 1
        return value

    async def ask(self, value: int = 1, key: str = "key") -> Flight[int]:
        return await self.flights.do(key, self.run, value)


# ---- one call ----


@bounded
async def test_all_who_ask_meanwhile_get_one_call_s_value() -> None:
    """With ``shared`` for every one of them; the next one who asks makes a new call."""
    work = Work()
    async with Group() as group:
        asked = [group.go(work.ask, number) for number in range(5)]
        await settle()
        assert work.begun == 1
        work.gate.set()
        flights = [await one.result() for one in asked]
        assert len(set(flights)) == 1
        assert all(flight.shared for flight in flights)
        assert work.ended == 1
        assert await work.ask(7) == Flight(7, shared=False)
        assert work.ended == 2
    assert repr(work.flights) == "<SingleFlight flights=0>"


@bounded
async def test_keys_have_flights_of_their_own() -> None:
    """Keys are compared as Python compares; None is one."""
    flights, gate, asked = SingleFlight[Any, Any](), Event(), list[Any]()

    async def run(key: Any) -> Any:
        asked.append(key)
        await gate.wait()
        return key

    async with Group() as group:
        for key in (1, 1.0, "1", None, (1,)):
            group.go(flights.do, key, run, key)
            await settle(3)
        assert repr(flights) == "<SingleFlight flights=4>"
        flights._state._check()
        gate.set()
    assert asked == [1, "1", None, (1,)]


@bounded
async def test_a_flight_is_a_tuple_with_names() -> None:
    """To be unpacked, matched, or asked."""
    flight = await SingleFlight[str, int]().do("key", lambda: 3)
    value, shared = flight
    assert (value, shared) == (flight.value, flight.shared) == (3, False)
    match flight:
        case Flight(value=3, shared=False):
            pass
        case _:
            pytest.fail("no match")


@bounded
async def test_a_plain_function_runs_at_once() -> None:
    """In the caller's task, without a suspension; it joins a call that is on its way."""
    work = Work()
    call = work.flights.do("key", lambda: 3)
    with pytest.raises(StopIteration) as ended:
        call.send(None)
    assert ended.value.value == Flight(3, shared=False)
    async with Group() as group:
        group.go(work.ask, 5)
        await settle()
        joined = group.go(work.flights.do, "key", pytest.fail)
        await settle()
        work.gate.set()
        assert await joined.result() == Flight(5, shared=True)


@bounded
async def test_functions_of_every_kind() -> None:
    """Partial ones, methods, lambdas that give a coroutine; what is awaitable and no coroutine is a value."""
    work, event = Work(), Event()
    work.gate.set()
    async with Group():
        assert (await work.flights.do("a", partial(work.run, 2))).value == 2
        assert (await work.flights.do("a", lambda: work.run(3))).value == 3
        assert (await SingleFlight[str, Event]().do("a", lambda: event)).value is event
        assert (await SingleFlight[str, None]().do("a", lambda: None)).value is None


@bounded
async def test_the_leader_s_context_is_the_call_s() -> None:
    """As it is at the call; those who join have no say."""
    variable = ContextVar("variable", default=0)
    flights, gate, got = SingleFlight[str, int](), Event(), list[int]()

    async def run() -> int:
        await gate.wait()
        return variable.get()

    async def ask(number: int) -> None:
        variable.set(number)
        got.append((await flights.do("key", run)).value)

    async with Group() as group:
        group.go(ask, 1)
        await settle()
        group.go(ask, 2)
        await settle()
        gate.set()
    assert got == [1, 1]


@bounded
async def test_it_runs_in_the_leader_s_group() -> None:
    """As a goroutine: the group waits for it, ``go`` in it goes there, and a dump shows where it was asked for."""
    work = Work()
    async with Group() as outer:
        async with Group() as inner:
            outer.go(for_ever).cancel()
            asked = outer.go(work.ask)
            await settle()
            assert inner._active == 0
            inner.go(work.flights.do, "other", work.run)
            await settle()
            assert inner._active == 2
            flying = next(one for one in gochan.goroutines() if one.name == "Work.run" and one.created_by)
            assert flying.created_by is not None
            work.gate.set()
        await asked.result()


@bounded
async def test_dumps_say_where_it_was_asked_for() -> None:
    """The caller's line."""
    work = Work()

    async def ask() -> None:
        await work.flights.do("key", work.run)

    async with standing(ask):
        (flying,) = (one for one in gochan.goroutines() if one.name == "Work.run")
        assert flying.created_by is not None
        assert flying.created_by.file == __file__
        assert flying.created_by.function.endswith("ask")


@bounded
async def test_a_group_s_limit_does_not_hold_it_up() -> None:
    """Those who hold the places wait for it: it takes none, and gives none back."""
    work, running, most = Work(), 0, 0

    async def ask(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await work.ask(number, str(number % 3))
        running -= 1

    async with Group(limit=2) as group:
        for number in range(9):
            group.go(ask, number)
        await settle()
        assert work.begun == 2
        work.gate.set()
    assert most == 2


# ---- failures ----


@bounded
async def test_a_failure_is_everybody_s_and_not_the_group_s() -> None:
    """All raise it, with the traceback of the call and their own lines, which does not grow; the group goes on."""
    flights, gate, calls = SingleFlight[str, int](), Event(), list[int]()

    async def fail() -> int:
        calls.append(1)
        await gate.wait()
        raise ValueError("boom")

    async def ask() -> tuple[BaseException, list[str]]:
        with pytest.raises(ValueError, match="boom") as caught:
            await flights.do("key", fail)
        return caught.value, [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    async with Group() as group:
        asked = [group.go(ask) for _ in range(4)]
        await settle()
        gate.set()
        results = [await one.result() for one in asked]
    assert calls == [1]
    assert len({id(error) for error, _ in results}) == 1
    assert [names for _, names in results] == [["ask", "do", "fail"]] * 4
    assert repr(flights) == "<SingleFlight flights=0>"


@bounded
async def test_a_plain_one_s_failure_is_the_caller_s() -> None:
    """So are wrong arguments; the key is free again."""
    flights = SingleFlight[str, float]()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await flights.do("key", lambda: 1 / 0)
    with pytest.raises(TypeError, match="argument"):
        await flights.do("key", for_ever, 1)  # type: ignore[arg-type]
    assert repr(flights) == "<SingleFlight flights=0>"


@bounded
async def test_errors_in_a_group_s_shape() -> None:
    """As they are."""

    async def fail() -> int:
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])

    async with Group():
        with pytest.raises(ExceptionGroup) as caught:
            await SingleFlight[str, int]().do("key", fail)
    assert len(caught.value.exceptions) == 2


@backends
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt], ids=["SystemExit", "KeyboardInterrupt"])
def test_the_end_of_the_program_comes_out_bare(error: type[BaseException], backend: Backend) -> None:
    """Out of ``run``, as from everywhere."""

    async def leave() -> int:
        await anyio.lowlevel.checkpoint()
        raise error

    async def main() -> None:
        await SingleFlight[str, int]().do("key", leave)

    with pytest.raises(error):
        gochan.run(main, backend=backend)


@bounded
async def test_an_error_keeps_nothing_alive() -> None:
    """Neither through the flight nor in a cycle: when it is dropped it is gone, and what its frames held."""

    class Held: ...

    async def fail(held: Held) -> int:
        await anyio.lowlevel.checkpoint()
        raise ValueError("boom")

    async def ask() -> weakref.ref[Held]:
        held = Held()
        try:
            await flights.do("key", fail, held)
        except ValueError:
            pass
        return weakref.ref(held)

    flights = SingleFlight[str, int]()
    async with Group() as group:
        asked = [group.go(ask), group.go(ask)]
        gc.disable()
        try:
            references = [await one.result() for one in asked]
            await settle()
            assert [reference() for reference in references] == [None, None]
        finally:
            gc.enable()


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
    """Those who wait elsewhere get ``Cancelled``, from the group's cause; a new call is possible at once."""
    work, got = Work(), list[BaseException | None]()

    async def join() -> None:
        try:
            await work.ask()
        except Cancelled as error:
            got.append(error.__cause__)

    async with Group() as outer:
        async with Group() as inner:
            leader = inner.go(work.ask)
            await settle()
            for _ in range(2):
                outer.go(join)
            await settle()
            inner.cancel(OSError("why"))
        with pytest.raises(Cancelled):
            await leader.result()
        await settle()
        assert [str(error) for error in got] == ["why", "why"]
        assert work.cancelled == 1
        work.gate.set()
        assert (await work.ask(2)).value == 2


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


# ---- wrong use ----


@bounded
async def test_a_key_must_be_hashable() -> None:
    """A TypeError before anything has run."""
    flights = SingleFlight[Any, Any]()
    with pytest.raises(TypeError, match=r"SingleFlight\.do\(\) takes a hashable key, not \[1\]"):
        await flights.do([1], pytest.fail)
    with pytest.raises(TypeError, match=r"SingleFlight\.forget\(\) takes a hashable key"):
        flights.forget({})


@pytest.mark.parametrize("wrong", [None, 3, "print"], ids=repr)
@bounded
async def test_it_takes_functions(wrong: Any) -> None:
    """A TypeError otherwise; the key stays free."""
    flights = SingleFlight[str, int]()
    with pytest.raises(TypeError, match=r"SingleFlight\.do\(\) takes a function"):
        await flights.do("key", wrong)
    with pytest.raises(TypeError, match="leave out the call"):
        await flights.do("key", for_ever())  # type: ignore[arg-type]
    assert repr(flights) == "<SingleFlight flights=0>"


@backends
def test_an_async_function_needs_a_group(backend: Backend) -> None:
    """A RuntimeError with the remedy; a plain one needs none."""
    flights = SingleFlight[str, int]()

    async def main() -> None:
        with anyio.fail_after(5):
            with pytest.raises(RuntimeError, match=r"gochan\.run\(main\)"):
                await flights.do("key", for_ever)
            assert (await flights.do("key", lambda: 1)).value == 1

    anyio.run(main, backend=backend)
    assert repr(flights) == "<SingleFlight flights=0>"


@bounded
async def test_a_group_that_has_ended_does_not_count() -> None:
    """The next one further out does."""
    work = Work()
    work.gate.set()
    async with Group() as outer:
        started = Event()

        async def late() -> int:
            await started.wait()
            return (await work.ask(4)).value

        async with Group():
            handle = outer.go(late)
        started.set()
        assert await handle.result() == 4


@bounded
async def test_another_thread_is_refused() -> None:
    """While a call is on its way in this loop."""
    work = Work()

    async def elsewhere() -> None:
        await work.flights.do("other", lambda: 1)

    async with Group() as group:
        group.go(work.ask)
        await settle()
        with pytest.raises(RuntimeError, match="another thread"):
            await Call(asyncio.run, elsewhere()).result()
        with pytest.raises(RuntimeError, match="another thread"):
            await Call(work.flights.forget, "key").result()
        work.gate.set()


@backends
def test_the_next_loop_takes_it_over(backend: Backend) -> None:
    """Without the calls of the one that is closed."""
    work = Work()

    async def main() -> None:
        with anyio.move_on_after(0.01):
            async with Group():
                await work.ask()

    async def later() -> None:
        with anyio.fail_after(5):
            async with Group():
                assert (await work.ask(3)).value == 3

    anyio.run(main, backend=backend)
    work.gate = Event()
    work.gate.set()
    anyio.run(later, backend="trio" if backend == "asyncio" else "asyncio")


def test_it_stays_where_it_is() -> None:
    """A copy would not know of the calls."""
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(SingleFlight[str, int]())


@pytest.mark.asyncio_only
async def test_eager_tasks_that_ask_in_the_middle_of_a_plain_function_wait_for_it() -> None:
    """They run inside its step; even they are no second call."""
    if not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("not applicable: eager tasks came with 3.12")
    flights = SingleFlight[str, int]()
    tasks = list[asyncio.Task[Flight[int]]]()

    def run() -> int:
        for _ in range(2):
            call = flights.do("key", pytest.fail)
            tasks.append(asyncio.Task(call, loop=asyncio.get_running_loop(), eager_start=True))  # type: ignore[call-arg]
        return 3

    with anyio.fail_after(5):
        assert await flights.do("key", run) == Flight(3, shared=True)
        assert [await task for task in tasks] == [Flight(3, shared=True)] * 2


# ---- schedules, cancellation everywhere, dumps ----


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
    """Joiners in another group get the value or ``Cancelled``."""

    async def main() -> None:
        flights = SingleFlight[str, int]()

        async def run() -> int:
            await gochan.sleep(0)
            return 1

        async def join() -> str:
            try:
                return str((await flights.do("key", run)).value)
            except Cancelled:
                return "cancelled"

        async with Group() as outer:
            async with Group() as inner:
                inner.go(flights.do, "key", run)
                joined = [outer.go(join) for _ in range(2)]
                await gochan.sleep(0)
                inner.cancel()
            for one in joined:
                assert await one.result() in ("1", "cancelled")
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
