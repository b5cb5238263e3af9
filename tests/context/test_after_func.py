"""``ctx.after_func(fn)``: what runs when a context is done, where, and who gets its failure."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.context.tree import check, remembered

import gochan
from gochan import Cancelled, Event, Group, background
from gochan.testing import explore

virtual = pytest.mark.gochan(virtual_time=True)
variable: ContextVar[str] = ContextVar("variable", default="unset")

# ---- plain functions ----


async def test_a_plain_function_runs_inside_the_cancellation() -> None:
    """Once, and synchronously."""
    ctx, called = background().with_cancel(), list[str]()
    stop = ctx.after_func(lambda: called.append("ran"))
    ctx.cancel()
    assert called == ["ran"]
    assert not stop()
    ctx.cancel()
    assert called == ["ran"]


@pytest.mark.parametrize("call_stop", [True, False])
async def test_what_is_stopped_does_not_run(call_stop: bool) -> None:
    """And is not remembered; the others run."""
    ctx, called = background().with_cancel(), list[str]()
    stop = ctx.after_func(lambda: called.append("stopped"))
    ctx.after_func(lambda: called.append("other"))
    if call_stop:
        assert stop()
        assert not stop()
        assert remembered(ctx) == 1
    ctx.cancel()
    assert called == (["other"] if call_stop else ["stopped", "other"])


async def test_stop_comes_too_late_for_those_that_are_on_their_way() -> None:
    """Another function of the same context cannot be stopped by one that runs already: it says so, and it runs."""
    ctx, called = background().with_cancel(), list[Any]()
    ctx.after_func(lambda: called.append(stop()))
    stop = ctx.after_func(lambda: called.append("second"))
    ctx.cancel()
    assert called == [False, "second"]


async def test_it_never_runs_where_a_context_never_ends() -> None:
    """``stop`` is true once all the same."""
    for never in (background(), background().with_cancel().without_cancel()):
        stop = never.after_func(lambda: pytest.fail("it ran"))
        assert stop()
        assert not stop()


async def test_a_function_sees_the_context_variables_of_its_registration() -> None:
    """As callbacks of asyncio do; what it sets is its own."""
    ctx, seen = background().with_cancel(), list[str]()

    async def register() -> None:
        variable.set("there")
        ctx.after_func(lambda: seen.append(variable.get()))

    async with Group() as group:
        group.go(register)
    ctx.after_func(lambda: variable.set("here"))
    ctx.cancel()
    assert seen == ["there"]
    assert variable.get() == "unset"


async def test_it_may_do_anything_to_the_tree() -> None:
    """Cancel other contexts, derive from this one, register another."""
    one, two = background().with_cancel(), background().with_cancel()
    order = list[str]()

    def act() -> None:
        two.cancel(KeyError())
        order.append("acted")
        one.after_func(lambda: order.append("nested"))
        order.append(type(one.with_cancel().err).__name__)

    one.after_func(act)
    two.after_func(lambda: order.append("two"))
    one.cancel()
    assert order == ["two", "acted", "nested", "Cancelled"]
    check(one, two)


# ---- failures ----


async def test_a_failure_reaches_the_group_of_its_registration() -> None:
    """Not whoever cancelled; the other functions run all the same."""
    ctx, called, error = background().with_cancel(), list[str](), KeyError("mine")

    def fail() -> None:
        raise error

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            ctx.after_func(lambda: called.append("before"))
            ctx.after_func(fail)
            ctx.after_func(lambda: called.append("after"))
            ctx.cancel()
            called.append("the canceller goes on")
            await Event().wait()
    assert caught.value.exceptions == (error,)
    assert called == ["before", "after", "the canceller goes on"]
    assert group.ctx.cause is error


@virtual
async def test_so_does_one_that_a_deadline_calls() -> None:
    """There is no caller at all then."""
    ctx = background().with_timeout(1)
    with pytest.raises(ExceptionGroup) as caught:
        async with Group():
            ctx.after_func(partial(next, iter(())))
            await Event().wait()
    assert [type(error) for error in caught.value.exceptions] == [StopIteration]


async def test_one_that_is_done_already_fails_the_same_way() -> None:
    """The registration itself does not raise."""
    ctx = background().with_cancel()
    ctx.cancel()
    with pytest.raises(ExceptionGroup):
        async with Group():
            stop = ctx.after_func(partial(int, "no number"))
            assert not stop()


@pytest.mark.parametrize("ended", [True, False])
async def test_without_a_group_a_failure_is_reported(
    ended: bool, backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the exception handler of asyncio's loop, else to ``sys.unraisablehook``; to neither does it get lost."""
    ctx, reports = background().with_cancel(), list[BaseException]()
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))
    if backend_name == "asyncio":
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: reports.append(report["exception"]))
    try:
        if ended:
            async with Group():
                ctx.after_func(partial(int, "no number"))
        else:
            ctx.after_func(partial(int, "no number"))
        ctx.after_func(partial(reports.append, KeyError("the next one")))
        ctx.cancel()
    finally:
        if backend_name == "asyncio":
            asyncio.get_running_loop().set_exception_handler(None)
    assert [type(report) for report in reports] == [ValueError, KeyError]


def test_without_a_loop_a_failure_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """To ``sys.unraisablehook``, since nobody called it who could be told."""
    reports = list[BaseException]()
    monkeypatch.setattr(sys, "unraisablehook", lambda report: reports.append(report.exc_value))
    ctx = background().with_cancel()
    ctx.after_func(partial(int, "no number"))
    ctx.cancel()
    assert [type(report) for report in reports] == [ValueError]


@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_the_program_does_so(ending: BaseException) -> None:
    """Without a group it leaves ``cancel``, when the others have run; in ``run`` it ends that."""
    called = list[int]()

    def end() -> None:
        raise ending

    ctx = background().with_cancel()
    ctx.after_func(end)
    ctx.after_func(lambda: called.append(1))
    with pytest.raises(type(ending)):
        ctx.cancel()
    assert called == [1]

    async def main() -> None:
        ctx = background().with_cancel()
        ctx.after_func(end)
        ctx.cancel()
        await Event().wait()

    with pytest.raises(type(ending)):
        gochan.run(main)


# ---- bad input ----


async def test_what_is_no_function_is_refused() -> None:
    """A coroutine is closed, so that no warning comes of it."""
    ctx: Any = background().with_cancel()
    for wrong in (None, 7, "name"):
        with pytest.raises(TypeError, match="function without arguments"):
            ctx.after_func(wrong)
    with pytest.raises(TypeError, match="leave out the call"):
        ctx.after_func(anyio.lowlevel.checkpoint())
    assert remembered(ctx) == 0


async def test_a_plain_function_that_returns_a_coroutine_is_a_mistake() -> None:
    """It fails the group, and says what to do."""
    ctx = background().with_cancel()
    with pytest.raises(ExceptionGroup) as caught:
        async with Group():
            ctx.after_func(lambda: anyio.lowlevel.checkpoint())
            ctx.cancel()
    assert "partial" in str(caught.value.exceptions[0])


# ---- every schedule ----


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("is_async", [True, False])
def test_it_runs_exactly_if_stop_said_false(backend: Any, is_async: bool) -> None:
    """A cancellation, a deadline at that time, and two who stop it, in any order."""

    async def program() -> None:
        parent, ran, stopped = background().with_timeout(1), list[int](), list[bool]()
        ctx = parent.with_cancel()

        async def slow() -> None:
            ran.append(1)

        async def end() -> None:
            await anyio.sleep(1)
            ctx.cancel()

        async def stopper() -> None:
            await anyio.sleep(1)
            stopped.append(stop())

        async with Group() as group:
            stop = ctx.after_func(slow if is_async else lambda: ran.append(1))
            for fn in (end, stopper, stopper):
                group.go(fn)
        assert sum(stopped) + len(ran) == 1
        check(parent, ctx)

    explore(program, backend=backend, runs=60)


# ---- memory ----


async def test_it_keeps_nothing_alive_when_it_has_run() -> None:
    """Neither the function, nor the frame in which it was registered."""

    class Big:
        def method(self) -> None: ...

    gc.collect()
    gc.disable()
    try:
        ctx, ran = background().with_cancel(), weakref.WeakSet[Any]()
        async with Group():

            def register() -> Any:
                big = Big()
                ran.add(big)
                ctx.after_func(big.method)

                async def slow() -> None:
                    assert big

                return ctx.after_func(slow)

            stop = register()
            assert len(ran) == 1
            ctx.cancel()
        del stop
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert len(ran) == 0
    finally:
        gc.enable()


async def test_cancelled_is_what_it_says() -> None:
    """A function that looks sees the whole end: error, cause, and signal."""
    ctx, why = background().with_cancel(), ValueError()
    seen = list[Any]()
    ctx.after_func(lambda: seen.extend((type(ctx.err), ctx.cause, ctx.done.is_set())))
    ctx.cancel(why)
    assert seen == [Cancelled, why, True]
