"""SingleFlight: one call for all who ask, with what it was asked, in the group of who asked first."""

from __future__ import annotations

import asyncio
import copy
import pickle
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle
from tests.diagnostics.looking import standing
from tests.threads import Call

import gochan
from gochan import Event, Flight, Group, SingleFlight

from .work import Work, for_ever

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


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
    plain = SingleFlight[str, int]()

    async def three() -> int:
        return (await plain.do("key", lambda: 3)).value

    assert await three() == await Call(asyncio.run, three()).result() == 3  # nobody has waited in either


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
