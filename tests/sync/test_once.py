"""Once: one run however many ask, where it may be used, and what dumps say of it."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from functools import partial
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle
from tests.diagnostics.looking import info, seen, standing
from tests.threads import Call

import gochan
from gochan import Deadlock, Event, Group, Once, once_value

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def for_ever() -> None:
    await Event().wait()


# ---- one run ----


@bounded
async def test_the_first_function_is_the_only_one() -> None:
    """Plain and async ones, with their arguments; later ones are not called."""
    ran = list[str]()

    async def slow(word: str) -> None:
        await anyio.lowlevel.checkpoint()
        ran.append(word)

    for first in (slow, ran.append, partial(slow), lambda word: slow(word)):
        once = Once()
        await once.do(first, "first")
        await once.do(first, "second")
        await once.do(ran.append, "third")
        assert ran == ["first"]
        ran.clear()


@bounded
async def test_nobody_returns_before_it_has_run() -> None:
    """All callers wait for the first one's function, and go on together."""
    once, finish, returned = Once(), Event(), list[int]()

    async def call(number: int) -> None:
        await once.do(finish.wait if not number else pytest.fail)
        returned.append(number)

    async with Group() as group:
        for number in range(5):
            group.go(call, number)
            await settle(3)
        assert returned == []
        assert repr(once) == "<Once running waiters=4>"
        once._state._check()
        finish.set()
    assert sorted(returned) == [0, 1, 2, 3, 4]
    assert repr(once) == "<Once done waiters=0>"


@bounded
async def test_an_exception_is_the_runner_s_and_counts() -> None:
    """ON-2: that caller gets it; those who waited, and all later ones, return."""
    once, now, got = Once(), Event(), list[object]()

    async def fail() -> None:
        await now.wait()
        raise ValueError("boom")

    async def call() -> None:
        try:
            got.append(await once.do(fail))  # type: ignore[func-returns-value]
        except ValueError as error:
            got.append(str(error))

    async with Group() as group:
        for _ in range(3):
            group.go(call)
        await settle()
        now.set()
    assert sorted(map(str, got)) == ["None", "None", "boom"]
    await once.do(fail)
    once._state._check()


@bounded
async def test_a_plain_function_may_fail_as_well() -> None:
    """At once, in the caller; wrong arguments are a failure of the call like any other."""
    once = Once()
    with pytest.raises(ZeroDivisionError):
        await once.do(lambda: 1 / 0)
    await once.do(pytest.fail)
    other = Once()
    with pytest.raises(TypeError, match="argument"):
        await other.do(for_ever, 1)  # type: ignore[arg-type]
    await other.do(pytest.fail)


@pytest.mark.parametrize("wrong", [None, 3, "print"], ids=repr)
@bounded
async def test_it_takes_functions(wrong: Any) -> None:
    """A TypeError otherwise, also when it is done already; nothing has run."""
    once = Once()
    for _ in range(2):
        with pytest.raises(TypeError, match=r"Once\.do\(\) takes a function"):
            await once.do(wrong)
        with pytest.raises(TypeError, match="leave out the call"):
            await once.do(for_ever())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"once_value\(\) takes a function"):
            once_value(wrong)
        await once.do(list)


@backends
@pytest.mark.parametrize("elsewhere", [False, True])
def test_calling_it_inside_its_own_function_is_a_deadlock(backend: Backend, elsewhere: bool) -> None:
    """As in Go, also through another goroutine; the report says what waits for what."""

    async def main() -> None:
        once = Once()

        async def again() -> None:
            if elsewhere:
                await gochan.go(once.do, again).result()
            else:
                await once.do(again)

        await once.do(again)

    with pytest.raises(Deadlock) as caught:
        gochan.run(main, backend=backend)
    assert "[sync.Once.Do" in str(caught.value)
    assert ("[goroutine wait" in str(caught.value)) == elsewhere


def test_it_stays_where_it_is() -> None:
    """A copy would run the function again."""
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(Once())


# ---- where it may be used ----


@bounded
async def test_another_thread_is_refused() -> None:
    """While somebody runs it, or waits, in this loop."""
    once, finish = Once(), Event()

    async def elsewhere() -> None:
        await once.do(pytest.fail)

    async with Group() as group:
        group.go(once.do, finish.wait)
        await settle()
        with pytest.raises(RuntimeError, match="another thread"):  # its end would wake those who wait there
            await Call(asyncio.run, elsewhere()).result()
        group.go(once.do, pytest.fail)
        await settle()
        with pytest.raises(RuntimeError, match="another thread"):
            await Call(asyncio.run, elsewhere()).result()
        finish.set()


@bounded
async def test_what_nobody_waited_for_is_for_every_loop() -> None:
    """A value that a module keeps may be read in every thread, once it is there."""

    @once_value
    async def value() -> int:
        await anyio.lowlevel.checkpoint()
        return 1

    once = Once()
    await once.do(value)

    async def elsewhere() -> int:
        await once.do(pytest.fail)
        return await value()

    assert await Call(asyncio.run, elsewhere()).result() == 1


def test_outside_a_loop_it_cannot_be_awaited() -> None:
    """A RuntimeError that says so."""
    call = Once().do(list)
    with pytest.raises(RuntimeError, match="outside an event loop"):
        call.send(None)


@backends
def test_the_next_loop_takes_it_over(backend: Backend) -> None:
    """Done stays done; what ran in a loop that is closed will not end any more."""
    done, interrupted, ran = Once(), Once(), list[int]()

    async def first() -> None:
        await done.do(ran.append, 1)
        with anyio.move_on_after(0.001):
            async with Group() as group:
                group.go(interrupted.do, for_ever)
                group.go(interrupted.do, for_ever)

    async def second() -> None:
        with anyio.fail_after(5):
            await done.do(ran.append, 2)
            await interrupted.do(ran.append, 3)

    anyio.run(first, backend=backend)
    anyio.run(second, backend=backend)
    assert ran == [1, 3]


# ---- what dumps say ----


@bounded
async def test_dumps_say_what_is_waited_for() -> None:
    """Who waits shows as such; who runs the function, as what that does, be it a function of the library."""
    once = Once()
    async with standing(partial(once.do, gochan.Channel[int]().receive)) as (runner,):
        assert info(runner).state == "chan receive"
        found = await seen(partial(once.do, for_ever))
        assert found.state == "sync.Once.Do"
        assert found.waiting_on == ("<Once running waiters=1>",)


@bounded
async def test_waiting_for_what_can_never_return_is_a_leak() -> None:
    """The one that runs it as well as those who wait, once nobody else knows the Once."""

    async def call(once: Once) -> None:
        await once.do(gochan.Channel[int]().receive)

    async with Group() as group:
        once = Once()
        group.go(call, once)
        group.go(call, once)
        del once
        await settle()
        gc.collect()
        assert sorted(found.state for found in gochan.find_leaks()) == ["chan receive", "sync.Once.Do"]
        group.cancel()
