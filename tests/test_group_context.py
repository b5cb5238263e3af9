"""A group and its contexts: the one it was given, and the one it gives."""

from __future__ import annotations

import asyncio
import gc
import weakref
from sys import _getframe
from typing import Literal

import anyio
import pytest
from tests.conformance.helpers import settle

from gochan import (
    Cancelled,
    Channel,
    Context,
    DeadlineExceeded,
    Event,
    Group,
    background,
    find_leaks,
    sleep,
    testing,
)
from gochan.testing import CancelOutcome, cancel_sweep, explore


async def forever() -> None:
    await Event().wait()


async def fail(error: BaseException) -> None:
    await anyio.lowlevel.checkpoint()
    raise error


# ---- the one above ----


@pytest.mark.gochan(virtual_time=True)
async def test_a_deadline_ends_the_group() -> None:
    """The goroutines are cancelled at that time, and the group raises a fresh DeadlineExceeded, a TimeoutError."""
    start = anyio.current_time()
    with background().with_timeout(60) as ctx:
        with pytest.raises(TimeoutError) as caught:
            async with Group(ctx=ctx) as group:
                sleeper = group.go(sleep, 3600)
                await sleep(3600)
        assert anyio.current_time() == start + 60
        assert type(caught.value) is DeadlineExceeded
        assert caught.value is not ctx.err
        with pytest.raises(Cancelled):
            await sleeper.result()


async def test_a_context_that_is_done_already() -> None:
    """As with a scope that is cancelled already: the body runs to its first suspension."""
    ctx = background().with_cancel()
    ctx.cancel(KeyError("before"))
    reached = False
    with anyio.fail_after(5), pytest.raises(Cancelled) as caught:
        async with Group(ctx=ctx) as group:
            reached = True
            group.go(forever)
            await forever()
            raise AssertionError
    assert reached
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_context_that_ends_too_late_changes_nothing() -> None:
    """A group that was left is no longer in the tree."""
    ctx = background().with_cancel()
    async with Group(ctx=ctx) as group:
        group.go(anyio.lowlevel.checkpoint)
    ctx.cancel()
    assert isinstance(group.ctx.cause, Cancelled)


async def test_errors_of_the_clean_up_come_with_the_error_of_the_context() -> None:
    """Nothing is lost: both are in the ExceptionGroup; with `errors="first"` the context's alone is raised."""

    async def cleans_up_badly() -> None:
        try:
            await forever()
        finally:
            raise KeyError("clean-up")

    async def run(group: Group) -> None:
        with anyio.fail_after(5):
            async with group:
                group.go(cleans_up_badly)
                await settle(3)
                ctx.cancel()

    ctx = background().with_cancel()
    with pytest.raises(ExceptionGroup) as caught:
        await run(Group(ctx=ctx))
    assert [type(error) for error in caught.value.exceptions] == [Cancelled, KeyError]
    ctx = background().with_cancel()
    with pytest.raises(Cancelled):
        await run(Group(ctx=ctx, errors="first"))


async def test_a_failure_before_is_what_counts() -> None:
    """A context that ends while the group ends for another reason adds nothing."""
    ctx = background().with_cancel()

    async def cancels_while_it_ends() -> None:
        try:
            await forever()
        finally:
            ctx.cancel()

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with Group(ctx=ctx) as group:
            group.go(cancels_while_it_ends)
            await settle(3)
            group.go(fail, ValueError("first"))
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


async def test_work_that_waits_for_a_place_does_not_start() -> None:
    """The end of the context is the end of the queue, too."""
    ctx = background().with_cancel()
    started: list[int] = []

    async def work(number: int) -> None:
        started.append(number)
        await forever()

    with anyio.fail_after(5), pytest.raises(Cancelled):
        async with Group(ctx=ctx, limit=1) as group:
            handles = [group.go(work, number) for number in range(3)]
            await settle(3)
            ctx.cancel()
    assert started == [0]
    assert all(handle.done.is_set() for handle in handles)


async def test_a_native_cancellation_goes_with_it() -> None:
    """Whoever cancels the task and the context at a time gets both: the error, then the cancellation."""
    ctx = background().with_cancel()
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        with pytest.raises(Cancelled):
            async with Group(ctx=ctx) as group:
                group.go(forever)
                await settle(3)
                ctx.cancel()
                scope.cancel()
                await forever()
        await anyio.lowlevel.checkpoint()
        raise AssertionError("the outer cancellation was swallowed")
    assert scope.cancelled_caught


def test_bad_input() -> None:
    """A context is asked for by name."""
    with pytest.raises(TypeError, match="context"):
        Group(ctx="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("ending", ["cancel", "context"])
def test_ended_between_two_runs_of_the_loop(ending: str) -> None:
    """asyncio's loop stands still then; the group ends when it goes on."""
    loop = asyncio.new_event_loop()
    ctx = background().with_cancel()
    group = Group(ctx=ctx)

    async def body() -> None:
        async with group:
            await forever()

    task = loop.create_task(body())
    loop.run_until_complete(asyncio.sleep(0))
    if ending == "cancel":
        group.cancel()
        loop.run_until_complete(asyncio.wait_for(task, 5))
    else:
        ctx.cancel()
        with pytest.raises(Cancelled):
            loop.run_until_complete(asyncio.wait_for(task, 5))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


# ---- the one below ----


async def test_cancel_gives_its_cause() -> None:
    """A quiet end: no error, but whoever follows the context knows why."""
    why = KeyError("enough")
    async with Group() as group:
        ctx = group.ctx
        assert group.ctx is ctx
        group.go(forever)
        group.cancel(why)
        assert ctx.cause is why
        group.cancel(ValueError("too late"))
    assert group.ctx.cause is why
    assert isinstance(group.ctx.err, Cancelled)


@pytest.mark.parametrize("asked", [True, False])
async def test_the_first_error_is_its_cause(asked: bool) -> None:
    """Whether it was asked for before or after; the body's error counts like a goroutine's."""
    error = ValueError("boom")
    with anyio.fail_after(5), pytest.raises(ExceptionGroup):
        async with Group() as group:
            if asked:
                assert group.ctx.err is None
            group.go(fail, error)
            group.go(forever)
    assert group.ctx.cause is error
    with pytest.raises(ExceptionGroup):
        async with Group() as group:
            if asked:
                assert group.ctx.err is None
            raise error
    assert group.ctx.cause is error


async def test_it_hangs_below_the_one_that_was_given() -> None:
    """Values and deadline come down; a cancellation does with its cause, and does not go up."""
    key = object()
    with background().with_value(key, 7).with_timeout(3600) as above:
        async with Group(ctx=above) as group:
            assert group.ctx.value(key) == 7
            assert group.ctx.deadline == above.deadline
        assert group.ctx.done.is_set()
        assert not above.done.is_set()
    why = KeyError("from above")
    ctx = background().with_cancel()
    with pytest.raises(Cancelled):
        async with Group(ctx=ctx) as group:
            below = group.ctx
            ctx.cancel(why)
            assert below.cause is why
            await forever()


async def test_nothing_stays_in_the_tree() -> None:
    """A thousand groups under one context leave nothing there, and no group is kept by its context."""
    with background().with_cancel() as ctx:
        kept: list[Context] = []
        for _ in range(1000):
            async with Group(ctx=ctx) as group:
                kept.append(group.ctx)
        ended = weakref.ref(group) if hasattr(group, "__weakref__") else None
        del group
        gc.collect()
        assert ended is None or ended() is None
        node = ctx._node
        assert not getattr(node, "children", None)
        assert not getattr(node, "hooks", None)


# ---- under schedules and cancellation ----


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_failure_and_context_race(backend: Literal["asyncio", "trio"]) -> None:
    """Whichever comes first decides what is raised; nobody is left, in no schedule."""

    async def race() -> None:
        ctx = background().with_cancel()
        error = ValueError("boom")
        jobs = Channel[int](2)

        async def fails() -> None:
            await jobs.receive()
            raise error

        async def cancels() -> None:
            await jobs.receive()
            ctx.cancel(KeyError("over"))

        group = Group(ctx=ctx)
        async with Group() as outer:
            outer.go(cancels)
            outer.go(jobs.send, 1)
            outer.go(jobs.send, 2)
            try:
                async with group:
                    group.go(fails)
                    group.go(forever)
            except Cancelled as caught:
                assert isinstance(caught.__cause__, KeyError)
                assert isinstance(group.ctx.cause, KeyError)
            except ExceptionGroup as caught:
                *before, last = caught.exceptions
                assert last is error
                if before:  # it failed though it was cancelled: its receive had happened by then
                    assert [type(one) for one in before] == [Cancelled]
                    assert isinstance(group.ctx.cause, KeyError)
                else:
                    assert group.ctx.cause is error
            else:
                raise AssertionError("neither was raised")

    explore(race, backend=backend, runs=200)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_from_outside_at_every_suspension(backend: Literal["asyncio", "trio"]) -> None:
    """A group with a context ends with its goroutines, wherever and however the cancellation strikes."""

    async def setup() -> list[int]:
        return []

    async def program(ended: list[int]) -> None:
        async def work(number: int) -> None:
            try:
                await sleep(1)
            finally:
                ended.append(number)

        with background().with_timeout(5) as ctx:
            try:
                async with Group(ctx=ctx) as group:
                    for number in range(3):
                        group.go(work, number)
                    await sleep(0.5)
            finally:
                assert group.ctx.done.is_set()
                assert getattr(ctx._node, "hooks", None) is None

    def check(ended: list[int], outcome: CancelOutcome) -> None:
        assert sorted(ended) == [0, 1, 2]

    cancel_sweep(setup, program, check, backend=backend)


# ---- failures tell where they come from ----


async def test_a_failure_carries_the_goroutine_and_where_it_was_started() -> None:
    """As a note of the exception, once."""
    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            goroutine = group.go(fail, ValueError("boom"), name="worker")
    (note,) = caught.value.exceptions[0].__notes__
    assert f"goroutine {goroutine.id} 'worker'" in note
    assert "test_a_failure_carries_the_goroutine_and_where_it_was_started" in note
    assert f"{__file__}:" in note


async def test_an_exception_that_refuses_notes() -> None:
    """It comes out as it is."""

    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with Group() as group:
            group.go(fail, Frozen(7))
    assert [type(error) for error in caught.value.exceptions] == [Frozen]


# ---- beside the limit ----


async def test_what_runs_beside_the_limit_takes_no_place() -> None:
    """It starts though all places are taken, gives none away when it ends, and is waited for."""
    release = Event()
    running: list[str] = []

    async def work(name: str) -> None:
        running.append(name)
        await release.wait()

    async def short(name: str) -> None:
        running.append(name)

    with anyio.fail_after(5):
        async with Group(limit=1) as group:
            group.go(work, "first")
            waits = group.go(work, "second")
            beside = group._go_beside(short, ("beside",), None, _getframe())
            await beside.result()
            await settle(3)
            assert sorted(running) == ["beside", "first"]  # trio draws the order
            assert not waits.done.is_set()
            assert group.try_go(work, "third") is None
            release.set()
    assert running[2:] == ["second"]


def test_a_group_under_a_context_and_the_leak_detector() -> None:
    """A goroutine stuck in it is a leak, though its context could be cancelled: that is no way to wake."""

    async def main() -> None:
        with background().with_cancel() as ctx:
            async with Group(ctx=ctx) as group:
                group.go(forever, name="stuck")
                await sleep(1)
                assert [info.name for info in find_leaks()] == ["stuck"]
                group.cancel()

    testing.run(main)
    testing.run(main, backend="trio")
