"""``WaitGroup.go``: what it counts, and that nobody misses a failure."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest
from tests.conformance.helpers import bounded, settle
from tests.diagnostics.looking import info
from tests.threads import Call

import gochan
from gochan import Cancelled, Event, Group, WaitGroup, select
from gochan.testing import explore

Backend = Literal["asyncio", "trio"]

backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def nothing() -> None: ...


async def boom() -> None:
    raise ValueError("boom")


async def for_ever() -> None:
    await Event().wait()


@bounded
async def test_go_counts_until_the_function_has_ended() -> None:
    """It runs in the nearest group, whose handle it gives."""
    group, finish = WaitGroup(), Event()

    async def double(number: int) -> int:
        await finish.wait()
        return number * 2

    async with Group():
        handles = [group.go(double, number, name=f"double {number}") for number in range(3)]
        assert [handle.name for handle in handles] == ["double 0", "double 1", "double 2"]
        assert group.count == 3
        await settle()
        assert group.count == 3
        finish.set()
        await group.wait()
        assert [handle.done.is_set() for handle in handles] == [True] * 3
        assert [await handle.result() for handle in handles] == [0, 2, 4]
    assert group.count == 0


@bounded
async def test_go_may_be_called_from_what_it_started() -> None:
    """While the count is above zero more may be counted up: a tree of goroutines is waited for as one."""
    group, seen_leaves = WaitGroup(), list[int]()

    async def node(depth: int) -> None:
        if not depth:
            seen_leaves.append(depth)
            return
        group.go(node, depth - 1)
        await anyio.lowlevel.checkpoint()
        group.go(node, depth - 1)

    async with Group():
        group.go(node, 5)
        await group.wait()
        assert len(seen_leaves) == 32


def test_go_needs_a_group() -> None:
    """As ``go`` does: a RuntimeError that says how to get one; nothing is counted."""
    group = WaitGroup()
    with pytest.raises(RuntimeError, match=r"gochan\.run\(main\)"):
        group.go(nothing)
    assert group.count == 0


@pytest.mark.parametrize("wrong", [print, 3, None, "nothing"], ids=repr)
@bounded
async def test_go_takes_async_functions(wrong: Any) -> None:
    """A plain one is refused with the remedy; nothing is counted."""
    group = WaitGroup()
    async with Group():
        with pytest.raises(TypeError, match=r"WaitGroup\.go\(\) takes an async function") as caught:
            group.go(wrong)
        assert wrong is not print or "anyio.to_thread.run_sync" in str(caught.value)
        with pytest.raises(TypeError, match="argument"):
            group.go(nothing, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match="leave out the call"):
            group.go(nothing())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert group.count == 0


@bounded
async def test_go_runs_in_the_context_of_the_call() -> None:
    """As ``go`` does."""
    variable, got = ContextVar("variable", default=0), list[int]()

    async def look() -> None:
        got.append(variable.get())

    async with Group():
        variable.set(1)
        group = WaitGroup()
        group.go(look)
        variable.set(2)
        await group.wait()
    assert got == [1]


@bounded
async def test_a_failure_reaches_the_group_before_wait_returns() -> None:
    """WG-5: who waits inside the group is cancelled with it, and never goes on as if all were well."""
    group, reached, now = WaitGroup(), list[str](), Event()

    async def fail() -> None:
        await now.wait()
        await boom()

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as around:

            async def waiter() -> None:
                await group.wait()
                reached.append("a goroutine")

            async def selecting() -> None:
                await select(group)
                reached.append("a select")

            group.go(fail)
            around.go(waiter)
            around.go(selecting)
            await settle()
            now.set()
            await group.wait()
            reached.append("the body")
    assert reached == []
    assert [str(error) for error in caught.value.exceptions] == ["boom"]
    assert group.count == 0
    group._state._check()


@bounded
async def test_who_waits_outside_the_group_is_told_after_it() -> None:
    """When ``wait`` returns there, the group has its failure already."""
    group = WaitGroup()
    inner = Group()
    seen_at_return = list[str]()

    async def waiter() -> None:
        await group.wait()
        seen_at_return.extend(str(error) for error in inner._errors.values())

    async with Group() as outer:
        group.add()
        waiting = outer.go(waiter)
        await settle()
        with pytest.raises(ExceptionGroup):
            async with inner:
                group.go(boom)
                group.done()
                await for_ever()
        await waiting.result()
    assert seen_at_return == ["boom"]


@bounded
async def test_who_waits_for_the_result_gets_it() -> None:
    """The error itself, though its group is cancelled by it, as with a plain ``go``."""
    group, got = WaitGroup(), list[str]()

    async def asker(handle: gochan.Goroutine[None]) -> None:
        try:
            await handle.result()
        except ValueError as error:
            got.append(str(error))

    with pytest.raises(ExceptionGroup) as caught:
        async with Group() as around:
            handle = group.go(boom)
            around.go(asker, handle)
            with pytest.raises(ValueError, match="boom"):
                await handle.result()
    assert got == ["boom"]
    assert len(caught.value.exceptions) == 1


@bounded
async def test_the_cause_of_the_group_s_context_is_the_failure() -> None:
    """Though the WaitGroup tells it."""
    group, around = WaitGroup(), Group()
    ctx = around.ctx
    with pytest.raises(ExceptionGroup):
        async with around:
            group.go(boom)
            await group.wait()
    assert isinstance(ctx.cause, ValueError)


@backends
def test_a_failure_in_run_ends_the_program(backend: Backend) -> None:
    """``main`` waits, and does not get to its next line (go#76126)."""

    async def main() -> None:
        group = WaitGroup()
        group.go(boom)
        await group.wait()
        pytest.fail("wait() returned")

    with pytest.raises(ExceptionGroup) as caught:
        gochan.run(main, backend=backend)
    assert [str(error) for error in caught.value.exceptions] == ["boom"]


@backends
def test_system_exit_comes_out_bare(backend: Backend) -> None:
    """As out of any goroutine."""

    async def leave() -> None:
        raise SystemExit(3)

    async def main() -> None:
        group = WaitGroup()
        group.go(leave)
        await group.wait()

    with pytest.raises(SystemExit) as caught:
        gochan.run(main, backend=backend)
    assert caught.value.code == 3


@bounded
async def test_a_cancelled_one_is_done() -> None:
    """While it runs, and before it has begun."""
    group, begun = WaitGroup(), list[int]()

    async def run() -> None:
        begun.append(1)
        await for_ever()

    async with Group():
        running = group.go(run)
        await settle()
        assert begun == [1]
        running.cancel()
        await group.wait()
        new = group.go(run)
        new.cancel()
        await group.wait()
        assert group.count == 0
    with pytest.raises(Cancelled):
        await new.result()


@bounded
async def test_those_that_wait_for_a_place_are_counted() -> None:
    """Until they have run; or were cancelled before; or were refused, when the group was stopped."""
    group = WaitGroup()
    async with Group(limit=1) as limited:
        first = group.go(for_ever)
        second, third = group.go(nothing), group.go(nothing)
        assert group.count == 3
        third.cancel()
        assert group.count == 2
        first.cancel()
        await group.wait()
        assert second.done.is_set()
        group.go(for_ever)
        group.go(nothing)
        limited.cancel()
        refused = group.go(nothing)
        assert refused.done.is_set()
    assert group.count == 0
    group._state._check()


@bounded
async def test_a_function_that_says_done_itself_is_found_out() -> None:
    """A mistake of those who turn ``go`` and ``done`` into one ``go``: the group gets the error, and nothing hangs."""
    group = WaitGroup()

    async def twice() -> None:
        group.done()

    with pytest.raises(ExceptionGroup) as caught:
        async with Group():
            group.go(twice)
            await for_ever()
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert "done() was called more often" in str(error)
    assert group.count == 0


@bounded
async def test_that_and_a_failure_is_the_failure() -> None:
    """The first thing that went wrong is what is told, once."""
    group = WaitGroup()

    async def wrong() -> None:
        group.done()
        await boom()

    with pytest.raises(ExceptionGroup) as caught:
        async with Group():
            group.go(wrong)
            await for_ever()
    assert [str(error) for error in caught.value.exceptions] == ["boom"]


@bounded
async def test_go_binds_it_to_the_loop() -> None:
    """The goroutine's end will wake who waits: another loop must not wait for it meanwhile."""
    group = WaitGroup()

    async def elsewhere() -> None:
        await group.wait()

    async with Group():
        handle = group.go(for_ever)
        with pytest.raises(RuntimeError, match="another thread"):
            await Call(asyncio.run, elsewhere()).result()
        handle.cancel()


@backends
@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_no_schedule_lets_a_failure_slip(backend: Backend, strategy: Literal["random", "pct"]) -> None:
    """Of one failing among several, whoever waits inside the group is cancelled, unless they came after zero."""

    async def main() -> None:
        group = WaitGroup()
        zero_seen = list[bool]()

        async def wait() -> None:
            if group.count:
                await group.wait()
                zero_seen.append(group.count == 0)

        async def fail() -> None:
            await gochan.sleep(0)
            raise ValueError("boom")

        try:
            async with Group() as around:
                group.go(gochan.sleep, 0)
                group.go(fail)
                around.go(wait)
                around.go(wait)
                await group.wait()
                pytest.fail("wait() returned as if all were well")
        except ExceptionGroup as errors:
            assert [str(error) for error in errors.exceptions] == ["boom"]
        assert zero_seen == []
        assert group.count == 0
        group._state._check()

    explore(main, backend=backend, runs=60, strategy=strategy)


@bounded
async def test_dumps_say_where_go_was_called() -> None:
    """The caller's line, not one of the library."""
    group = WaitGroup()
    async with Group():
        handle = group.go(for_ever)
        await settle()
        created = info(handle).created_by
        assert created is not None
        assert created.file == __file__
        assert "test_dumps_say_where_go_was_called" in created.function
        handle.cancel()


@bounded
async def test_waiting_for_what_can_never_end_is_a_leak() -> None:
    """Both the goroutine and who waits for it, once nobody else knows the WaitGroup."""

    async def wait() -> None:
        group = WaitGroup()
        group.go(gochan.Channel[int]().receive)
        await group.wait()

    async with Group() as around:
        around.go(wait)
        await settle()
        gc.collect()
        states = sorted(found.state for found in gochan.find_leaks())
        assert states == ["chan receive", "sync.WaitGroup.Wait"]
        around.cancel()


@bounded
async def test_it_keeps_nothing_of_what_has_ended() -> None:
    """Neither a goroutine's handle nor its value."""

    class Value: ...

    group = WaitGroup()

    async def make() -> Value:
        return Value()

    async with Group():
        for _ in range(100):
            group.go(make)
        await group.wait()
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Value)]
