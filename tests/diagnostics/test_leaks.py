"""``find_leaks``: every goroutine that can never wake is named, and no other."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.diagnostics.leaking import leaks_of, settle

from gochan import Channel, Event, Goroutine, Group, go, receive, run, select, send
from gochan.diagnostics import Deadlock, dump, find_leaks

# What leaks.


def one_that_sends(group: Group) -> None:
    group.go(Channel[int]().send, 1, name="leaked")


def one_that_receives(group: Group) -> None:
    group.go(Channel[int]().receive, name="leaked")


def one_that_iterates(group: Group) -> None:
    channel = Channel[int]()

    async def worker() -> None:
        async for _ in channel:
            pass

    group.go(worker, name="leaked")


def one_on_a_full_buffer(group: Group) -> None:
    channel = Channel[int](1)
    channel.send_nowait(1)
    group.go(channel.send, 2, name="leaked")


def one_that_selects(group: Group) -> None:
    jobs, results = Channel[int](), Channel[int]()

    async def worker() -> None:
        await select(jobs, send(results, 1), receive(jobs).map(str), Event(), None)

    group.go(worker, name="leaked")


def one_that_selects_nothing(group: Group) -> None:
    async def worker() -> None:
        await select()

    group.go(worker, name="leaked")


def one_on_a_nil_channel(group: Group) -> None:
    async def worker() -> None:
        await select(None, None)

    group.go(worker, name="leaked")


def one_on_an_event(group: Group) -> None:
    group.go(Event().wait, name="leaked")


def one_in_a_scope_without_a_deadline(group: Group) -> None:
    async def worker() -> None:
        with anyio.CancelScope():
            await Channel[int]().receive()

    group.go(worker, name="leaked")


def one_in_an_async_generator(group: Group) -> None:
    async def values() -> Any:
        yield await Channel[int]().receive()

    async def worker() -> None:
        async for _ in values():
            pass

    group.go(worker, name="leaked")


@pytest.mark.parametrize(
    "start",
    [
        one_that_sends,
        one_that_receives,
        one_that_iterates,
        one_on_a_full_buffer,
        one_that_selects,
        one_that_selects_nothing,
        one_on_a_nil_channel,
        one_on_an_event,
        one_in_a_scope_without_a_deadline,
        one_in_an_async_generator,
    ],
)
async def test_a_blocked_goroutine_that_nobody_can_reach_is_found(start: Callable[[Group], object]) -> None:
    """Whatever it is blocked in."""
    assert await leaks_of(start) == ["leaked"]


async def test_a_thousand_are_found_and_the_one_that_is_held_is_not() -> None:
    """Each by itself."""

    def start(group: Group) -> object:
        for number in range(1000):
            group.go(Channel[int]().receive, name=f"{number:03}")
        held = Channel[int]()
        group.go(held.receive, name="held")
        return held

    assert await leaks_of(start) == [f"{number:03}" for number in range(1000)]


async def test_a_cycle_is_found() -> None:
    """Two that wait for each other, each holding what the other waits for."""

    def start(group: Group) -> None:
        x, y = Channel[int](), Channel[int]()

        async def one() -> None:
            await x.receive()
            await y.send(1)

        async def other() -> None:
            await y.receive()
            await x.send(1)

        group.go(one, name="one")
        group.go(other, name="other")

    assert await leaks_of(start) == ["one", "other"]


async def test_who_waits_for_the_result_of_a_leak_is_one() -> None:
    """Though somebody holds both handles, and could cancel them."""

    def start(group: Group) -> object:
        async def outer(inner: Goroutine[int]) -> None:
            await inner.result()

        async def in_a_select(inner: Goroutine[int]) -> None:
            await select(inner, inner.done)

        inner = group.go(Channel[int]().receive, name="inner")
        return inner, inner.done, group.go(outer, inner, name="outer"), group.go(in_a_select, inner, name="select")

    assert await leaks_of(start) == ["inner", "outer", "select"]


async def test_who_waits_for_the_end_of_a_group_of_leaks_is_one() -> None:
    """And for a place in it."""

    def start(group: Group) -> object:
        async def host() -> None:
            async with Group() as inner:
                inner.go(Channel[int]().receive, name="inside")
                inner.go(Channel[int]().receive, name="inside, too")

        return group.go(host, name="host")

    assert await leaks_of(start) == ["host", "inside", "inside, too"]


async def test_one_of_a_group_that_can_end_keeps_its_host() -> None:
    """The host goes on when the last has ended, so it is not proven that it never does; the leak is."""

    def start(group: Group) -> object:
        held = Channel[int]()

        async def host() -> None:
            async with Group() as inner:
                inner.go(Channel[int]().receive, name="leaked")
                inner.go(held.receive, name="held")

        group.go(host, name="host")
        return held

    assert await leaks_of(start) == ["leaked"]


async def test_a_weak_reference_does_not_keep_a_leak() -> None:
    """Only strong ones can act."""

    def start(group: Group) -> object:
        channel = Channel[int]()
        group.go(channel.receive, name="leaked")
        waits_for_it = weakref.WeakMethod(channel.receive)
        return waits_for_it, weakref.proxy(channel)

    assert await leaks_of(start) == ["leaked"]


async def test_garbage_does_not_keep_a_leak() -> None:
    """A cycle that is garbage is collected first."""

    def start(group: Group) -> None:
        channel = Channel[int]()
        cycle: list[Any] = [channel]
        cycle.append(cycle)
        group.go(channel.receive, name="leaked")

    gc.disable()
    try:
        assert await leaks_of(start) == ["leaked"]
    finally:
        gc.enable()


async def test_a_leak_is_described() -> None:
    """With its state, where it waits and where it was made; the dump marks it."""
    async with Group() as group:
        group.go(Channel[int](name="jobs").receive, name="worker")
        await settle()
        [leak] = find_leaks()
        assert (leak.name, leak.state, leak.waiting_on) == ("worker", "chan receive", ("jobs",))
        assert leak.created_by is not None
        assert leak.created_by.file == __file__
        assert f"goroutine {leak.id} [chan receive (leaked)]" in dump(leaks=True)
        group.cancel()


async def test_looking_twice_finds_the_same() -> None:
    """Looking holds nothing and changes nothing."""
    async with Group() as group:
        one_that_receives(group)
        await settle()
        assert [info.name for info in find_leaks()] == ["leaked"]
        infos = find_leaks()
        assert [info.name for info in find_leaks()] == ["leaked"]
        assert infos == find_leaks() or len(infos) == 1
        group.cancel()


# main, and where it may be asked.


def program(main: Any, backend: Any) -> Any:
    return run(main, backend=backend, leaks="ignore")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_main_is_not_reported_but_keeps_nobody(backend: Any) -> None:
    """GL-4: main that can never wake is no root."""
    found: list[str] = []

    async def main() -> None:
        channel = Channel[int]()

        async def looks() -> None:
            await settle()
            found.extend(info.name for info in find_leaks())

        go(channel.receive_ok, name="leaked")
        go(looks)
        await select()

    with pytest.raises(Deadlock):
        run(main, backend=backend)
    assert found == ["leaked"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_main_that_can_wake_keeps_what_it_holds(backend: Any) -> None:
    """Its own time-out wakes it."""
    found: list[str] = ["nothing found"]

    async def main() -> None:
        channel = Channel[int]()

        async def looks() -> None:
            await settle()
            found[:] = [info.name for info in find_leaks()]
            done.set()

        done = Event()
        go(channel.receive_ok, name="held")
        go(looks)
        with anyio.move_on_after(3600):
            await done.wait()
        channel.close()

    run(main, backend=backend)
    assert found == []


def test_without_a_loop_it_says_so() -> None:
    """Goroutines are those of a running loop."""
    with pytest.raises(RuntimeError, match="event loop"):
        find_leaks()
