"""``ctx.scope()`` among other cancellations, in every schedule, and what it keeps alive."""

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


async def for_ever() -> None:
    await Event().wait()


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

    explore(program, backend=backend, runs=80)


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
