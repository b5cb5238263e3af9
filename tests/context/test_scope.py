"""``ctx.scope()``: the end of a context as the cancellation of a block."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest

import gochan
from gochan import (
    CancelContext,
    Cancelled,
    Channel,
    Context,
    DeadlineExceeded,
    Event,
    Group,
    background,
    merge_contexts,
)
from gochan.testing import CancelOutcome, cancel_sweep, explore

Backend = Literal["asyncio", "trio"]
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])
virtual = pytest.mark.gochan(virtual_time=True)


async def for_ever() -> None:
    await Event().wait()


# ---- how it ends ----


async def test_a_block_that_ends_first_leaves_normally() -> None:
    """Nothing is left behind: neither a hook in the context, nor a cancellation."""
    ctx = background().with_cancel()
    async with ctx.scope():
        await anyio.lowlevel.checkpoint()
    assert ctx._node.hooks is None  # type: ignore[union-attr]
    ctx.cancel()
    await anyio.lowlevel.checkpoint()


async def test_a_cancelled_block_raises_the_error_from_the_cause() -> None:
    """A fresh one each time, so that no traceback grows."""
    ctx, why = background().with_cancel(), ValueError("why")
    errors = list[BaseException]()
    depths = list[int]()
    for _ in range(3):
        with pytest.raises(Cancelled) as caught:
            async with ctx.scope():
                ctx.cancel(why)
                await for_ever()
        errors.append(caught.value)
        depths.append(len(caught.traceback))
    assert len(set(map(id, errors))) == 3
    assert ctx.err not in errors
    assert all(error.__cause__ is why for error in errors)
    assert len(set(depths)) == 1
    assert str(errors[0]) == "context cancelled"


async def test_without_a_cause_the_error_has_none() -> None:
    """Nor does the cancellation show as its context."""
    ctx = background().with_cancel()
    with pytest.raises(Cancelled) as caught:
        async with ctx.scope():
            ctx.cancel()
            await for_ever()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@virtual
async def test_a_deadline_ends_it_on_time() -> None:
    """With ``DeadlineExceeded``, which is a ``TimeoutError``; from the cause if there is one."""
    begin = anyio.current_time()
    with pytest.raises(TimeoutError):
        async with background().with_timeout(3).scope():
            await for_ever()
    assert anyio.current_time() == begin + 3
    why = ValueError()
    with pytest.raises(DeadlineExceeded) as caught:
        async with background().with_timeout(3, cause=why).with_cancel().scope():
            await anyio.sleep(60)
    assert caught.value.__cause__ is why
    assert anyio.current_time() == begin + 6


async def test_in_a_context_that_is_done_the_first_wait_is_cancelled() -> None:
    """A block without one leaves normally."""
    ctx = background().with_cancel()
    ctx.cancel()
    reached = False
    async with ctx.scope():
        reached = True
    assert reached
    with pytest.raises(Cancelled):
        async with ctx.scope():
            await anyio.lowlevel.checkpoint()
            raise AssertionError("went on")


async def test_a_block_that_ended_before_the_cancellation_reached_it_leaves_normally() -> None:
    """The context is done, the block does not wait any more."""
    ctx = background().with_cancel()
    async with ctx.scope():
        await anyio.lowlevel.checkpoint()
        ctx.cancel()
    await anyio.lowlevel.checkpoint()


async def test_its_own_exception_goes_first() -> None:
    """Also one that the cancellation made the clean-up raise."""
    ctx = background().with_cancel()
    with pytest.raises(KeyError):
        async with ctx.scope():
            ctx.cancel()
            raise KeyError
    with pytest.raises(KeyError):
        async with ctx.scope():
            try:
                await for_ever()
            finally:
                raise KeyError


async def test_background_never_ends_a_block() -> None:
    """Neither does what ``without_cancel`` made."""
    ctx = background().with_cancel()
    ctx.cancel()
    for never in (background(), gochan.todo(), ctx.without_cancel()):
        async with never.scope():
            await anyio.lowlevel.checkpoint()


async def test_the_outer_of_two_blocks_ends_both() -> None:
    """The error is that of the scope whose context is done."""
    outer, inner = background().with_cancel(), background().with_cancel()
    with pytest.raises(Cancelled) as caught:
        async with outer.scope():
            async with inner.scope():
                outer.cancel(KeyError("outer"))
                await for_ever()
    assert repr(caught.value.__cause__) == "KeyError('outer')"
    outer = background().with_cancel()
    async with outer.scope():
        with pytest.raises(Cancelled):
            async with inner.scope():
                inner.cancel()
                await for_ever()
        await anyio.lowlevel.checkpoint()


async def test_one_context_may_have_many_blocks_in_many_tasks() -> None:
    """All are cancelled together; the tasks go on."""
    ctx, ended = background().with_cancel(), list[int]()

    async def worker(number: int) -> None:
        try:
            async with ctx.scope():
                async with ctx.scope():
                    await for_ever()
        except Cancelled:
            await anyio.lowlevel.checkpoint()
            ended.append(number)

    with anyio.fail_after(5):
        async with Group() as group:
            for number in range(5):
                group.go(worker, number)
            await anyio.wait_all_tasks_blocked()
            ctx.cancel()
    assert sorted(ended) == [0, 1, 2, 3, 4]


async def test_a_shield_inside_holds() -> None:
    """As in any scope."""
    ctx = background().with_cancel()
    done = False
    with pytest.raises(Cancelled):
        async with ctx.scope():
            with anyio.CancelScope(shield=True):
                ctx.cancel()
                await anyio.lowlevel.checkpoint()
                done = True
            await anyio.lowlevel.checkpoint()
    assert done


# ---- groups inside ----


async def test_a_group_inside_is_cancelled_and_the_error_comes_out_bare() -> None:
    """Its goroutines end; no exception group is made of cancellations."""
    ctx = background().with_cancel()
    with anyio.fail_after(5), pytest.raises(Cancelled):
        async with ctx.scope():
            async with Group() as group:
                group.go(for_ever)
                group.go(for_ever)
                ctx.cancel()


@pytest.mark.parametrize("make", [Group, anyio.create_task_group])
async def test_what_fails_inside_while_it_is_cancelled_goes_first(make: Any) -> None:
    """The error is not lost in the cancellation."""
    ctx = background().with_cancel()

    async def fails_at_the_end() -> None:
        try:
            await for_ever()
        finally:
            raise KeyError

    def start(group: Any, fn: Any) -> None:
        (group.go if isinstance(group, Group) else group.start_soon)(fn)

    with anyio.fail_after(5), pytest.raises(ExceptionGroup) as caught:
        async with ctx.scope():
            async with make() as group:
                start(group, fails_at_the_end)
                await anyio.wait_all_tasks_blocked()
                ctx.cancel()
                await for_ever()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]


async def test_a_group_of_a_cancellation_and_an_error_leaves_the_error() -> None:
    """Whoever made it: on asyncio anyio takes such a group for cancelled."""
    ctx = background().with_cancel()
    with pytest.raises(ExceptionGroup) as caught:
        async with ctx.scope():
            ctx.cancel()
            try:
                await for_ever()
            except BaseException as cancellation:
                raise BaseExceptionGroup("both", [cancellation, KeyError()])
    assert [type(error) for error in caught.value.exceptions] == [KeyError]


# ---- misuse ----


async def test_each_call_makes_a_block_of_its_own() -> None:
    """One is entered once, and left only if it was entered."""
    ctx = background().with_cancel()
    scope = ctx.scope()
    with pytest.raises(RuntimeError, match="never entered"):
        await scope.__aexit__(None, None, None)
    async with scope:
        with pytest.raises(RuntimeError, match="entered before"):
            await scope.__aenter__()
    with pytest.raises(RuntimeError, match="entered before"):
        await scope.__aenter__()


async def test_it_belongs_to_the_loop_of_its_block() -> None:
    """Cancelled from another thread it refuses, with the remedy, and nothing has happened."""
    top = background().with_cancel()
    ctx = top.with_cancel()
    async with ctx.scope():
        for which in (ctx, top):
            with pytest.raises(RuntimeError, match=r"from_thread\.run_sync"):
                await anyio.to_thread.run_sync(which.cancel)
        await anyio.lowlevel.checkpoint()
        assert ctx.err is None
        assert top.err is None
    with pytest.raises(Cancelled):
        async with ctx.scope():
            await anyio.to_thread.run_sync(lambda: anyio.from_thread.run_sync(top.cancel))
            await anyio.lowlevel.checkpoint()


# ---- other cancellations ----


@pytest.mark.asyncio_only
@pytest.mark.parametrize("native_first", [True, False])
async def test_a_native_cancellation_at_the_same_time_is_not_swallowed(native_first: bool) -> None:
    """The task ends cancelled, as ``asyncio.timeout`` would have it."""
    ctx = background().with_cancel()
    reached = list[str]()

    async def body() -> None:
        try:
            async with ctx.scope():
                await for_ever()
        except Cancelled:
            reached.append("context")
            await anyio.lowlevel.checkpoint()
        reached.append("went on")

    task = asyncio.create_task(body())
    await anyio.wait_all_tasks_blocked()
    if native_first:
        task.cancel()
        ctx.cancel()
    else:
        ctx.cancel()
        task.cancel()
    with anyio.fail_after(5), pytest.raises(asyncio.CancelledError):
        await task
    assert "went on" not in reached


@pytest.mark.asyncio_only
async def test_asyncio_timeout_around_and_inside() -> None:
    """Each ends its own block, and ``task.cancelling()`` is what it was."""
    ctx = background().with_cancel()
    task: Any = asyncio.current_task()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            async with ctx.scope():
                await for_ever()
    assert task.cancelling() == 0
    async with ctx.scope():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await for_ever()
    with pytest.raises(Cancelled):
        async with asyncio.timeout(60), ctx.scope():
            ctx.cancel()
            await for_ever()
    assert task.cancelling() == 0
    await anyio.lowlevel.checkpoint()


async def test_an_enclosing_scope_that_is_cancelled_goes_first() -> None:
    """The error of the context is not seen: the whole block is gone."""
    ctx = background().with_cancel()
    with anyio.CancelScope() as scope:
        async with ctx.scope():
            scope.cancel()
            await for_ever()
    assert scope.cancelled_caught
    assert ctx.err is None


async def test_an_operation_that_has_happened_returns() -> None:
    """The value was handed over before the context ended: it is received, and the next wait is cancelled."""
    ctx, channel, received = background().with_cancel(), Channel[int](), list[int]()

    async def receiver() -> None:
        async with ctx.scope():
            received.append(await channel.receive())
            await for_ever()

    with anyio.fail_after(5):
        async with Group() as group:
            end = group.go(_swallow, receiver)
            await anyio.wait_all_tasks_blocked()
            channel.send_nowait(1)
            ctx.cancel()
    assert await end.result() == "Cancelled"
    assert received == [1]


async def _swallow(fn: Any) -> str:
    try:
        await fn()
    except gochan.ContextError as error:
        return type(error).__name__
    return "nothing"


# ---- every schedule ----


@backends
def test_cancelled_at_every_point_it_leaves_nothing(backend: Backend) -> None:
    """A block that receives and sends: all or nothing, no hook left, no stray cancellation."""

    class Desk:
        def __init__(self) -> None:
            self.ctx = background().with_cancel()
            self.ins, self.outs = Channel[int](), Channel[int]()
            self.got = list[int]()

    async def setup() -> Desk:
        desk = Desk()

        async def feed() -> None:
            await anyio.sleep(1)
            await desk.ins.send(1)

        async def take() -> None:
            await anyio.sleep(2)
            await desk.outs.receive()

        gochan.go(feed)
        gochan.go(take)
        return desk

    async def operation(desk: Desk) -> None:
        async with desk.ctx.scope():
            desk.got.append(await desk.ins.receive())
            await desk.outs.send(2)

    def check(desk: Desk, outcome: CancelOutcome) -> None:
        assert len(desk.got) == desk.ins.statistics().received
        node: Any = desk.ctx._node
        assert node.hooks is None
        node._check()

    assert cancel_sweep(setup, operation, check, backend=backend).points > 8


@backends
def test_cancelled_while_its_context_ends(backend: Backend) -> None:
    """A scope and a task's own cancellation at every point of a block that its context ends meanwhile."""

    async def setup() -> CancelContext:
        return background().with_timeout(1)

    async def operation(ctx: CancelContext) -> str:
        try:
            async with ctx.scope():
                await anyio.sleep(5)
        except DeadlineExceeded:
            return "late"
        return "in time"

    def check(ctx: CancelContext, outcome: CancelOutcome) -> None:
        node: Any = ctx._node
        node._check()
        assert node.hooks is None
        if outcome.kind is None:
            assert outcome.result == "late"

    cancel_sweep(setup, operation, check, backend=backend)


@backends
def test_in_no_schedule_is_a_value_lost(backend: Backend) -> None:
    """Sender, receiver in a scope, and one who ends the context: what was sent was received, or not sent."""

    async def program() -> None:
        ctx, channel = background().with_cancel(), Channel[int]()
        sent, received = list[int](), list[int]()

        async def sender() -> None:
            async with ctx.scope():
                for value in range(3):
                    await channel.send(value)
                    sent.append(value)

        async def receiver() -> None:
            async with ctx.scope():
                for _ in range(3):
                    received.append(await channel.receive())

        async def end() -> None:
            await anyio.lowlevel.checkpoint()
            ctx.cancel()

        async with Group() as group:
            results = [group.go(_swallow, fn) for fn in (sender, receiver)]
            group.go(end)
        assert {await result.result() for result in results} <= {"Cancelled", "nothing"}
        assert sent == received
        node: Any = ctx._node
        node._check()
        assert node.hooks is None

    explore(program, backend=backend, runs=200)


# ---- memory ----


async def test_it_keeps_nothing_alive() -> None:
    """When the block was cancelled, what it held is gone with it, without the collector's help."""

    class Big:
        pass

    async def block(ctx: Context) -> weakref.ref[Big]:
        big = Big()
        where = weakref.ref(big)
        try:
            async with ctx.scope():
                await for_ever()
        except Cancelled:
            pass
        return where

    ctx = background().with_cancel()
    both = merge_contexts(ctx, background())
    ctx.cancel()
    gc.collect()
    gc.disable()
    try:
        where = await block(both)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert where() is None
    finally:
        gc.enable()
