"""Contexts as the diagnostics see them: state words, leaks, deadlocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from tests.diagnostics.leaking import settle

import gochan
from gochan import CancelContext, Context, Deadlock, Event, Group, background, merge_contexts, select, todo
from gochan.diagnostics import find_leaks, goroutines

BACKENDS = ["asyncio", "trio"]


async def wait_for(ctx: Context) -> None:
    await ctx.done.wait()


async def waits_in_a_scope(ctx: Context) -> None:
    async with ctx.scope():
        await Event().wait()


async def waits_in_a_select(ctx: Context) -> None:
    await select(ctx.done, None)


WAITS = pytest.mark.parametrize("wait", [wait_for, waits_in_a_scope, waits_in_a_select])


@pytest.mark.parametrize(
    "make",
    [
        lambda: background().with_cancel(),
        lambda: background().with_value("k", "v").with_cancel().with_value("k", "w"),
        lambda: background(),
        lambda: todo().with_cancel().without_cancel(),
        lambda: merge_contexts(background().with_cancel(), todo().with_cancel()),
    ],
    ids=["with_cancel", "with_value", "background", "without_cancel", "merge"],
)
@WAITS
async def test_a_context_that_nobody_can_cancel_leaks_who_waits(make: Callable[[], Context], wait: Any) -> None:
    """Go's lost cancel: the context was dropped, or never ends."""
    async with Group() as group:
        goroutine = group.go(wait, make())
        await settle()
        assert [leak.id for leak in find_leaks()] == [goroutine.id]
        group.cancel()


@WAITS
async def test_who_holds_a_context_may_cancel_it(wait: Any) -> None:
    """Its own, one above, or one merged into it; a function registered anywhere does not."""
    for hold in (
        lambda ctx: ctx,
        lambda ctx: ctx.cancel,
        lambda ctx: ctx.with_cancel(),  # whoever holds a child can reach its parent: no proof
    ):
        async with Group() as group:
            ctx = background().with_cancel()
            held = hold(ctx)
            group.go(wait, ctx.with_value("k", "v"))
            del ctx
            await settle()
            assert find_leaks() == []
            assert held is not None
            group.cancel()
    for above in (background().with_cancel(), background().with_cancel()):
        async with Group() as group:
            group.go(wait, merge_contexts(background().with_cancel(), above).with_cancel())
            await settle()
            assert find_leaks() == []
            group.cancel()


@WAITS
async def test_a_deadline_wakes_who_waits(wait: Any) -> None:
    """Its own or one above, while its alarm is set; not when it was cancelled early by nobody who could again."""
    async with Group() as group:
        group.go(wait, background().with_timeout(60))
        group.go(wait, background().with_timeout(60).with_cancel().with_value("k", "v"))
        await settle()
        assert find_leaks() == []
        group.cancel()


async def test_the_other_end_of_a_leak_may_be_a_function() -> None:
    """Whoever waits for a channel that a living context's function would close does not leak."""
    with background().with_timeout(60) as ctx:
        async with Group() as group:
            over = Event()
            ctx.after_func(over.set)
            group.go(over.wait)
            del over
            await settle()
            assert find_leaks() == []
            group.cancel()


async def test_a_dump_names_the_context() -> None:
    """It waits for an event: the ``done`` of a context."""
    ctx = background().with_cancel()
    async with Group() as group:
        group.go(wait_for, ctx, name="waiter")
        await anyio.wait_all_tasks_blocked()
        waiter = next(one for one in goroutines() if one.name == "waiter")
        assert waiter.state == "event wait"
        assert "with_cancel()" in str(waiter.waiting_on)
        ctx.cancel()


@pytest.mark.parametrize("backend", BACKENDS)
def test_waiting_for_what_never_ends_is_a_deadlock(backend: Any) -> None:
    """In the program as in a test; an armed deadline puts it off until it has passed."""

    async def main() -> None:
        await background().done.wait()

    for run in (gochan.run, gochan.testing.run):
        with pytest.raises(Deadlock, match="event wait"):
            run(main, backend=backend)

    async def later() -> str:
        ctx = background().with_timeout(0.01)
        await ctx.done.wait()
        return type(ctx.err).__name__

    assert gochan.run(later, backend=backend) == "DeadlineExceeded"

    async def lost(ctx: CancelContext) -> None:
        async with ctx.scope():
            await Event().wait()

    with pytest.raises(Deadlock):
        gochan.run(lost, background().with_cancel(), backend=backend)
