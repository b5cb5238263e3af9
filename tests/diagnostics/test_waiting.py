"""The word for what a task waits for, and the primitives."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from tests.diagnostics.looking import info, seen, standing, turns

import gochan
from gochan._core.waiter import PARKED
from gochan.diagnostics import goroutines
from gochan.diagnostics._coroutines import attribute, chain, has_begun, is_running
from gochan.diagnostics._tasks import Task, running_world
from gochan.diagnostics._waiting import Waiting, on_self, register, waiting


def task_of(goroutine: gochan.Goroutine[Any]) -> Task:
    return next(task for task in running_world().tasks if task.id == goroutine.id)


async def found(fn: Any) -> Waiting:
    async with standing(fn) as (goroutine,):
        return task_of(goroutine).waiting()


# ---- the words ----


async def test_send_waits_in_chan_send() -> None:
    """A send without a receiver is "chan send", and tells its channel."""
    jobs = gochan.Channel[int](name="jobs")
    said = await found(partial(jobs.send, 1))
    assert (said.word, said.primitives, said.shown) == ("chan send", (jobs._state,), (jobs,))


@pytest.mark.parametrize("how", ["receive", "receive_ok", "receive_many", "__anext__"])
async def test_every_way_to_receive_is_chan_receive(how: str) -> None:
    """A receive is "chan receive", whichever method it is."""
    jobs = gochan.Channel[int](name="jobs")
    said = await found(getattr(jobs, how))
    assert (said.word, said.primitives, said.shown) == ("chan receive", (jobs._state,), (jobs,))


async def test_iteration_is_chan_receive() -> None:
    """``async for`` over a channel is "chan receive"."""
    jobs = gochan.Channel[int]()

    async def worker() -> None:
        async for _ in jobs:
            pass

    assert (await seen(worker)).state == "chan receive"


async def test_select_tells_all_its_primitives() -> None:
    """A select is "select"; its primitives are those of the cases that can ever be ready."""
    jobs, results, stop = gochan.Channel[int](), gochan.Channel[str](name="results"), gochan.Event()
    cases = (jobs, None, gochan.send(results, "x").map(str), gochan.receive_ok(jobs), stop)
    said = await found(partial(gochan.select, *cases))
    assert said.word == "select"
    assert said.primitives == (jobs._state, results._state, jobs._state, stop._state)


async def test_select_shows_a_goroutine_rather_than_its_signal() -> None:
    """A select over a handle tells the goroutine."""
    async with standing(gochan.Event().wait) as (other,):
        said = await found(partial(gochan.select, other, gochan.Channel[int]()))
        assert said.shown[0] is other
        assert said.primitives[0] is other.done._state


@pytest.mark.parametrize("cases", [(), (None,), (None, None)])
async def test_select_of_nothing(cases: tuple[None, ...]) -> None:
    """A select that can never be ready is "select (no cases)", also when all cases are None."""
    said = await found(partial(gochan.select, *cases))
    assert (said.word, said.primitives) == ("select (no cases)", ())
    assert said.waiter is not None


async def test_event_and_signal_are_event_wait() -> None:
    """Waiting for an Event, or for a goroutine's ``done``, is "event wait"."""
    stop = gochan.Event()
    said = await found(stop.wait)
    assert (said.word, said.primitives, said.shown) == ("event wait", (stop._state,), (stop,))
    async with standing(stop.wait) as (other,):
        assert (await found(other.done.wait)).word == "event wait"


async def test_result_is_goroutine_wait() -> None:
    """Waiting for a result is "goroutine wait", though a signal is what wakes it."""
    async with standing(gochan.Event().wait) as (other,):
        said = await found(other.result)
        assert (said.word, said.primitives, said.shown) == ("goroutine wait", (other.done._state,), (other,))


async def test_end_of_a_group_is_goroutine_wait() -> None:
    """A group's host that waits for its goroutines is in "goroutine wait"."""

    async def host() -> None:
        async with gochan.Group() as group:
            group.go(gochan.Event().wait)

    assert (await seen(host)).state == "goroutine wait"


async def test_place_in_a_group_is_semacquire() -> None:
    """Waiting for a place under a group's limit is "semacquire", as in Go."""

    async def starter() -> None:
        async with gochan.Group(limit=1) as group:
            group.go(gochan.Event().wait)
            await group.go_when_free(gochan.Event().wait)

    assert (await seen(starter)).state == "semacquire"


async def test_every_sleep_is_sleep(backend_name: str) -> None:
    """The sleeps of gochan, anyio and the backend's library are "sleep"."""
    sleeps: list[Any] = [partial(gochan.sleep, 60), partial(anyio.sleep, 60), anyio.sleep_forever]
    if backend_name == "trio":
        import trio

        sleeps += [partial(trio.sleep, 60), partial(trio.sleep_until, trio.current_time() + 60)]
    else:
        sleeps += [partial(asyncio.sleep, 60)]
    async with standing(*sleeps) as started:
        assert [info(one).state for one in started] == ["sleep"] * len(sleeps)


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


async def test_waiting_for_a_socket_is_io_wait(connection: tuple[socket.socket, socket.socket]) -> None:
    """A task that waits for input is in "IO wait"."""
    ours, _ = connection

    async def wait() -> None:
        await anyio.wait_readable(ours)

    assert (await seen(wait)).state == "IO wait"


async def test_accepting_and_reading_are_io_wait() -> None:
    """A server of anyio that accepts, and a client that reads, are in "IO wait"."""

    async def idle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, gochan.Group() as servers:
        server = servers.go(listener.serve, idle)
        async with await anyio.connect_tcp("127.0.0.1", port) as client, standing(client.receive) as (reader,):
            assert info(reader).state == "IO wait"
            # The server itself waits for the tasks that it has for each of its sockets.
            assert info(server).state in {"IO wait", "await"}
        servers.cancel()


@pytest.mark.asyncio_only
async def test_socket_of_the_loop_is_io_wait(connection: tuple[socket.socket, socket.socket]) -> None:
    """The loop's own socket methods are "IO wait", also uvloop's, which are compiled."""
    ours, _ = connection

    async def wait() -> None:
        await asyncio.get_running_loop().sock_recv(ours, 1)

    assert (await seen(wait)).state == "IO wait"


@pytest.mark.asyncio_only
async def test_streams_of_asyncio_are_io_wait() -> None:
    """A reader of asyncio's streams that has nothing to read is in "IO wait"."""
    reader = asyncio.StreamReader()
    assert (await seen(reader.readline)).state == "IO wait"


async def test_what_is_foreign_is_await(backend_name: str) -> None:
    """A wait that gochan knows nothing of is "await"."""
    event = anyio.Event()
    said = await found(event.wait)
    assert said == Waiting("await")
    if backend_name == "asyncio":

        async def wait() -> None:
            await asyncio.wait_for(asyncio.Event().wait(), 60)

        assert (await seen(wait)).state == "await"


# ---- ready, not begun, running ----


async def test_committed_operation_is_runnable() -> None:
    """A goroutine whose operation was completed, and which has not gone on yet, is "runnable"."""
    jobs = gochan.Channel[int]()
    async with standing(jobs.receive) as (goroutine,):
        jobs.send_nowait(1)
        said = task_of(goroutine).waiting()
        assert (said.word, said.primitives) == ("runnable", ())
        assert said.waiter is not None
        assert said.waiter.state != PARKED


async def test_cancelled_operation_is_runnable() -> None:
    """So is one that was cancelled, until it ends."""
    async with standing(gochan.Channel[int]().receive, anyio.sleep_forever) as both:
        for goroutine in both:
            goroutine.cancel()
            assert info(goroutine).state == "runnable"


async def test_goroutine_that_has_not_begun_is_runnable() -> None:
    """Between ``go`` and its first step a goroutine is "runnable"."""
    async with gochan.Group() as group:
        goroutine = group.go(gochan.Channel[int]().receive)
        assert info(goroutine).state == "runnable"
        assert waiting(task_of(goroutine).coroutine).word == "runnable"
        group.cancel()


async def test_yielding_is_runnable() -> None:
    """A goroutine that gives way, by itself or because its budget is used up, is "runnable"."""

    async def spin() -> None:
        while True:
            await gochan.sleep(0)

    async def busy() -> None:
        jobs = gochan.Channel[int](1)
        while True:
            await jobs.send(1)
            await jobs.receive()

    async with standing(spin, busy) as both:
        assert [info(one).state for one in both] == ["runnable", "runnable"]


async def test_the_one_that_asks_is_running() -> None:
    """A goroutine that asks about itself is "running"."""

    async def ask() -> str:
        return next(one.state for one in goroutines() if one.name == "asker")

    async with gochan.Group() as group:
        asker = group.go(ask, name="asker")
    assert await asker.result() == "running"


# ---- how the end of the chain is found ----


async def test_through_generators_of_every_kind() -> None:
    """Async generators, ``anext`` with a default, ``aclose`` and objects with ``__await__`` hide nothing."""
    jobs = gochan.Channel[int]()

    class Delegating:
        def __await__(self) -> Generator[Any, Any, int]:
            return jobs.receive().__await__()

    class Written:
        def __await__(self) -> Generator[Any, Any, int]:
            return (yield from jobs.receive().__await__())

    async def each() -> AsyncIterator[int]:
        async for job in jobs:
            yield job

    async def closing() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await jobs.receive()

    async def iterate() -> None:
        async for _ in each():
            pass

    async def by_anext() -> None:
        await anext(each(), None)

    async def by_aclose() -> None:
        generator: Any = closing()
        await anext(generator)
        await generator.aclose()

    async def delegated() -> None:
        await Delegating()

    async def written() -> None:
        await Written()

    fns = [iterate, by_anext, by_aclose, delegated, written]
    async with standing(*fns) as started:
        assert [info(one).state for one in started] == ["chan receive"] * len(fns)


async def test_users_code_below_a_primitive_counts_for_itself() -> None:
    """A map function or a wrapper around a primitive does not change the word; the innermost operation has it."""
    jobs, stop = gochan.Channel[int](), gochan.Event()

    async def inner() -> None:
        await stop.wait()

    async def outer() -> None:
        async with gochan.Group():
            await inner()
        await jobs.receive()

    assert (await seen(outer)).state == "event wait"


async def test_child_of_anyio_is_seen_through() -> None:
    """A task of an anyio task group that waits on a channel is in "chan receive"."""
    jobs = gochan.Channel[int](name="jobs")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(jobs.receive, name="child")
        await turns()
        (child,) = [one for one in goroutines() if one.name == "child"]
        assert (child.state, child.waiting_on, child.created_by) == ("chan receive", ("jobs",), None)
        tasks.cancel_scope.cancel()


async def test_a_later_primitive_adds_a_line() -> None:
    """``register`` makes a new operation known, whatever it is built on."""

    class Lock:
        def __init__(self) -> None:
            self._turns = gochan.Channel[None]()
            self._state = self._turns._state

        async def acquire(self) -> None:
            await self._turns.receive()

    acquire: Any = Lock.acquire
    # As a function of gochan's own would be: a user's is where the search ends.
    in_gochan = type(acquire)(acquire.__code__, {**acquire.__globals__, "__name__": "gochan._lock"})
    register(in_gochan, on_self("sync.Mutex.Lock"))
    lock = Lock()
    said = await found(partial(in_gochan, lock))
    assert (said.word, said.primitives, said.shown) == ("sync.Mutex.Lock", (lock._state,), (lock,))


# ---- what cannot be looked into ----


class Opaque:
    """An awaitable as a compiled one: no attribute tells what it waits for."""

    def __init__(self, error: type[BaseException] | None = None) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise (self.error or AttributeError)(name)


@pytest.mark.parametrize("kind", [object, Opaque, lambda: Opaque(RuntimeError), lambda: Opaque(RecursionError)])
def test_things_that_are_no_coroutines(kind: Any) -> None:
    """Whatever is asked about, there is an answer."""
    thing = kind()
    assert waiting(thing).word in {"await", "running"}
    assert attribute(thing, "cr_await", "gi_yieldfrom") is None
    assert has_begun(thing)
    assert not is_running(thing)


def test_chain_without_an_end() -> None:
    """An awaitable that makes up what it awaits, or awaits itself, is left after a while."""

    class Endless:
        @property
        def cr_await(self) -> Endless:
            return Endless()

    class Itself:
        @property
        def cr_await(self) -> Itself:
            return self

    assert len(list(chain(Itself()))) == 1
    assert waiting(Endless()).word == "await"


async def test_coroutine_that_has_ended() -> None:
    """A coroutine that has ended is no error either."""

    async def nothing() -> None: ...

    coroutine = nothing()
    coroutine.close()
    assert waiting(coroutine).word in {"await", "runnable"}
