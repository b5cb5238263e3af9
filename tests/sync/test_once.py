"""Once and once_value: one run however many ask, and what becomes of it when the one that runs is cancelled."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import traceback
import weakref
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
from gochan.testing import CancelOutcome, cancel_sweep, explore

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


@bounded
async def test_calling_it_inside_its_own_function_is_an_error() -> None:
    """A deadlock in Go; here it can be told, and is a failure of that function."""
    once = Once()

    async def again() -> None:
        await once.do(again)

    with pytest.raises(RuntimeError, match="this very task"):
        await once.do(again)
    await once.do(pytest.fail)


@backends
def test_through_another_goroutine_it_is_a_deadlock(backend: Backend) -> None:
    """That cannot be told at the call; the report says what waits for what."""

    async def main() -> None:
        once = Once()

        async def again() -> None:
            await gochan.go(once.do, again).result()

        await once.do(again)

    with pytest.raises(Deadlock) as caught:
        gochan.run(main, backend=backend)
    assert "[sync.Once.Do" in str(caught.value)
    assert "[goroutine wait" in str(caught.value)


def test_it_stays_where_it_is() -> None:
    """A copy would run the function again."""
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(Once())


# ---- cancellation ----


@bounded
async def test_a_cancelled_runner_hands_the_turn_on() -> None:
    """D-7: to who has waited longest, who runs the function it brought; the others go on waiting."""
    once, finish, ran, returned = Once(), Event(), list[int](), list[int]()

    async def run(number: int) -> None:
        ran.append(number)
        await finish.wait()

    async def call(number: int) -> None:
        await once.do(run, number)
        returned.append(number)

    async with Group() as group:
        handles = list[Any]()
        for number in range(4):
            handles.append(group.go(call, number))
            await settle(3)
        handles[2].cancel()
        await settle()
        handles[0].cancel()
        late = group.go(call, 4)
        await settle()
        assert ran == [0, 1]
        once._state._check()
        handles[1].cancel()
        await settle()
        assert ran == [0, 1, 3]
        finish.set()
        await late.done.wait()
    assert sorted(returned) == [3, 4]


@bounded
async def test_a_cancelled_runner_that_nobody_follows_leaves_it_new() -> None:
    """The next call runs its function."""
    once, ran = Once(), list[int]()
    with anyio.move_on_after(0.001):
        await once.do(for_ever)
    assert repr(once) == "<Once new waiters=0>"
    await once.do(ran.append, 1)
    assert ran == [1]


@bounded
async def test_a_cancelled_runner_whose_clean_up_fails_has_run() -> None:
    """An exception counts, whatever made it come."""
    once = Once()

    async def fail() -> None:
        try:
            await for_ever()
        finally:
            raise ValueError("clean-up")

    with pytest.raises(ValueError, match="clean-up"), anyio.move_on_after(0.001):
        await once.do(fail)
    await once.do(pytest.fail)


@bounded
async def test_a_time_out_inside_the_function_is_its_own() -> None:
    """It returned, so it has run."""
    once = Once()

    async def patient() -> None:
        with anyio.move_on_after(0.001):
            await for_ever()

    await once.do(patient)
    await once.do(pytest.fail)


@bounded
async def test_tasks_of_the_function_are_cancelled_with_it() -> None:
    """A group that reports nothing but cancellations is an interruption, too."""
    once = Once()

    async def parallel() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(for_ever)
            tasks.start_soon(for_ever)

    with anyio.move_on_after(0.001):
        await once.do(parallel)
    assert repr(once) == "<Once new waiters=0>"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit], ids=["KeyboardInterrupt", "SystemExit"])
@bounded
async def test_the_end_of_the_program_does_not_count(error: type[BaseException]) -> None:
    """A program that goes on all the same can run it again."""
    once = Once()

    def leave() -> None:
        raise error

    calls = list[int]()

    @once_value
    def value() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return 7

    with pytest.raises(error):
        await once.do(leave)
    assert repr(once) == "<Once new waiters=0>"
    with pytest.raises(error):
        await value()
    assert await value() == 7


@backends
def test_a_waiter_cancelled_anywhere_leaves_nothing(backend: Backend) -> None:
    """At every suspension."""

    async def setup() -> Once:
        once = Once()
        gochan.go(once.do, anyio.sleep, 1)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert once._state.phase == "running"
        return once

    async def operation(once: Once) -> None:
        await once.do(pytest.fail)

    def check(once: Once, outcome: CancelOutcome) -> None:
        once._state._check()
        assert not once._state.waiters

    assert cancel_sweep(setup, operation, check, backend=backend).returned > 0


@backends
def test_a_runner_cancelled_anywhere_hands_on(backend: Backend) -> None:
    """Of two who wait, one runs then, and both return."""

    class Scene:
        def __init__(self) -> None:
            self.once = Once()
            self.begun = list[str]()
            self.ended = list[str]()
            self.returned = 0

        async def run(self, who: str) -> None:
            self.begun.append(who)
            await anyio.sleep(2)
            self.ended.append(who)

        async def follow(self, who: str) -> None:
            await anyio.sleep(1)
            await self.once.do(self.run, who)
            self.returned += 1

    async def setup() -> Scene:
        scene = Scene()
        gochan.go(scene.follow, "second")
        gochan.go(scene.follow, "third")
        return scene

    async def operation(scene: Scene) -> None:
        await scene.once.do(scene.run, "first")

    async def check(scene: Scene, outcome: CancelOutcome) -> None:
        await anyio.sleep(10)
        scene.once._state._check()
        assert len(scene.ended) == 1
        assert scene.returned == 2
        assert scene.ended == scene.begun[-1:]
        assert not outcome.returned or scene.begun == ["first"]

    cancel_sweep(setup, operation, check, backend=backend)


@backends
@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_no_schedule_runs_two_or_strands_a_caller(backend: Backend, strategy: Literal["random", "pct"]) -> None:
    """With cancelled runners and waiters, and calls that come late."""

    async def main() -> None:
        once = Once()
        running = ended = 0

        async def run() -> None:
            nonlocal running, ended
            assert not running
            assert not ended
            running += 1
            try:
                await gochan.sleep(0)
                ended += 1
            finally:
                running -= 1

        async def call() -> None:
            await once.do(run)
            assert ended == 1

        async with Group() as group:
            handles = [group.go(call) for _ in range(4)]
            await gochan.sleep(0)
            handles[0].cancel()
            await gochan.sleep(0)
            handles[2].cancel()
        assert ended == 1
        once._state._check()

    explore(main, backend=backend, runs=100, strategy=strategy)


# ---- where it may be used ----


@bounded
async def test_another_thread_is_refused() -> None:
    """While somebody waits in this loop."""
    once, finish = Once(), Event()

    async def elsewhere() -> None:
        await once.do(pytest.fail)

    async with Group() as group:
        group.go(once.do, finish.wait)
        await settle()
        group.go(once.do, pytest.fail)
        await settle()
        with pytest.raises(RuntimeError, match="another thread"):
            await Call(asyncio.run, elsewhere()).result()
        finish.set()


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


# ---- once_value ----


@bounded
async def test_a_value_is_computed_once() -> None:
    """Whoever asks while it is computed waits for it; whoever asks later has it at once."""
    calls, finish = list[int](), Event()

    @once_value
    async def value() -> list[int]:
        calls.append(1)
        await finish.wait()
        return [42]

    async with Group() as group:
        handles = [group.go(value) for _ in range(4)]
        await settle()
        finish.set()
        values = [await handle.result() for handle in handles]
    assert calls == [1]
    assert all(one is values[0] for one in values)
    assert await value() is values[0]


@bounded
async def test_plain_functions_too() -> None:
    """A value may be anything: None, an awaitable that is no coroutine, a class's instance."""
    counts = list[int]()
    assert await once_value(lambda: counts.append(1))() is None  # type: ignore[func-returns-value]
    event = Event()
    assert await once_value(lambda: event)() is event
    assert await once_value(dict)() == {}
    value = once_value(lambda: counts)
    assert await value() is await value()


@bounded
async def test_an_exception_is_kept() -> None:
    """ON-4: every call raises the same one, with the traceback of the run, which does not grow."""
    calls = list[int]()

    @once_value
    async def fail() -> int:
        calls.append(1)
        await anyio.lowlevel.checkpoint()
        raise ValueError("boom")

    async def ask() -> tuple[BaseException, list[str]]:
        with pytest.raises(ValueError, match="boom") as caught:
            await fail()
        error = caught.value
        return error, [frame.name for frame in traceback.extract_tb(error.__traceback__)]

    async with Group() as group:
        handles = [group.go(ask) for _ in range(3)]
    errors = [await handle.result() for handle in handles]
    errors += [await ask() for _ in range(3)]
    assert calls == [1]
    assert len({id(error) for error, _ in errors}) == 1
    assert all(names[-1] == "fail" for _, names in errors)
    assert [names for _, names in errors] == [["ask", "get", "fail"]] * 6


@bounded
async def test_a_cancelled_computation_is_begun_again() -> None:
    """By the next one that waits."""
    calls, finish = list[int](), Event()

    @once_value
    async def value() -> int:
        calls.append(1)
        await finish.wait()
        return len(calls)

    async with Group() as group:
        first = group.go(value)
        await settle()
        second, third = group.go(value), group.go(value)
        await settle()
        first.cancel()
        await settle()
        finish.set()
        assert (await second.result(), await third.result()) == (2, 2)


@bounded
async def test_asking_for_it_inside_itself_is_an_error() -> None:
    """Which is kept, like any other."""

    @once_value
    async def value() -> int:
        return await value()

    for _ in range(2):
        with pytest.raises(RuntimeError, match="this very task"):
            await value()


@bounded
async def test_the_function_is_let_go() -> None:
    """go's TestOnceXGC: when it has run nothing holds it, whether it was plain or async."""

    class Held: ...

    async def run(plain: bool) -> weakref.ref[Held]:
        held = Held()

        async def slow(held: Held = held) -> str:
            return type(held).__name__

        def fast(held: Held = held) -> str:
            return type(held).__name__

        value = once_value(fast) if plain else once_value(slow)
        kept.append(value)
        reference = weakref.ref(held)
        del held, slow, fast
        gc.collect()
        assert reference() is not None
        assert await value() == "Held"
        return reference

    kept = list[Any]()
    for plain in (True, False):
        reference = await run(plain)
        gc.collect()
        assert reference() is None


def test_it_looks_like_the_function() -> None:
    """Its name and its docstring; it is async, whatever that one is."""

    @once_value
    def settings() -> int:
        """The settings."""
        return 1

    assert settings.__name__ == "settings"
    assert settings.__doc__ == "The settings."
    assert inspect.iscoroutinefunction(settings)
    assert not hasattr(settings, "__wrapped__")


@backends
def test_the_next_loop_has_the_value(backend: Backend) -> None:
    """A module's value outlives a run."""
    calls = list[int]()

    @once_value
    async def value() -> int:
        calls.append(1)
        await anyio.lowlevel.checkpoint()
        return len(calls)

    async def both() -> None:
        async with Group() as group:
            group.go(value)
            group.go(value)

    anyio.run(both, backend=backend)
    assert anyio.run(value, backend="trio" if backend == "asyncio" else "asyncio") == 1


@bounded
async def test_a_group_can_run_it() -> None:
    """It is an async function for everybody who asks for one."""

    @once_value
    def value() -> int:
        return 1

    async with Group() as group:
        assert await group.go(value).result() == 1
        group_value = gochan.WaitGroup()
        assert await group_value.go(value).result() == 1
