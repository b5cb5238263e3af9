"""Contexts with a deadline: whose clock, which of several, and what is in the loop for them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from math import inf, nan
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.context.tree import check, node_of, remembered

from gochan import Cancelled, Context, DeadlineExceeded, Event, Group, background, merge_contexts, select
from gochan.testing import explore, run

virtual = pytest.mark.gochan(virtual_time=True)
backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def alarms(ctx: Context) -> int:
    """How many alarms the loop has."""
    return len(node_of(ctx).owner.alarms)


@virtual
async def test_the_earliest_deadline_holds() -> None:
    """Of its own and all above it; the cause is that of the one that passed."""
    start = anyio.current_time()
    mine, parents = ValueError("mine"), ValueError("parents")
    late = background().with_timeout(10, cause=parents)
    early = late.with_timeout(5, cause=mine)
    lowest = early.with_value("k", "v").with_timeout(7, cause=KeyError())
    assert [ctx.deadline for ctx in (late, early, lowest)] == [start + 10, start + 5, start + 5]
    await lowest.done.wait()
    assert anyio.current_time() == start + 5
    assert lowest.cause is early.cause is mine
    assert late.err is None
    await late.done.wait()
    assert late.cause is parents


async def test_below_a_deadline_that_has_passed_unnoticed() -> None:
    """The loop had no turn since: what is derived is done at once, with the cause of that deadline."""
    why = KeyError("why")
    parent = background().with_deadline(anyio.current_time() + 0.0005, cause=why)
    assert parent.deadline is not None
    while anyio.current_time() <= parent.deadline:
        pass
    child = parent.with_cancel().with_timeout(60, cause=KeyError("another"))
    assert isinstance(child.err, DeadlineExceeded)
    assert child.cause is why
    await parent.done.wait()
    assert parent.cause is why
    check(parent, child)


@virtual
async def test_an_early_end_takes_the_alarm_out_of_the_loop() -> None:
    """Cancelled, by itself or from above; virtual time does not jump to a moment at which nothing happens."""
    start = anyio.current_time()
    parent = background().with_cancel()
    children = [parent.with_timeout(seconds) for seconds in (10, 20, 30)]
    assert alarms(children[0]) == 3
    children[1].cancel()
    assert alarms(children[0]) == 2
    parent.cancel()
    assert alarms(children[0]) == 0
    await anyio.sleep(1)
    assert anyio.current_time() == start + 1
    assert remembered(parent) == 0
    check(parent, *children)


@virtual
async def test_a_later_deadline_has_no_alarm() -> None:
    """The earlier one above does for both."""
    above = background().with_timeout(5)
    below = above.with_timeout(6, cause=KeyError())
    assert alarms(above) == 1
    assert node_of(below).alarm is None
    await below.done.wait()
    assert below.cause is above.err


@virtual
async def test_equal_deadlines_pass_together() -> None:
    """Whichever alarm is first, both are done when anybody looks."""
    above = background().with_timeout(5)
    assert above.deadline is not None
    below = above.with_deadline(above.deadline)
    await above.done.wait()
    assert below.done.is_set()
    assert isinstance(below.err, DeadlineExceeded)
    check(above, below)


@pytest.mark.parametrize("seconds", [0, -3, -inf, -0.0])
@virtual
async def test_what_has_passed_is_done_at_once(seconds: float) -> None:
    """Without an alarm and without a place in the parent; with its own cause."""
    parent, why = background().with_cancel(), KeyError()
    for ctx in (
        parent.with_timeout(seconds, cause=why),
        parent.with_deadline(anyio.current_time() + seconds, cause=why),
    ):
        assert isinstance(ctx.err, DeadlineExceeded)
        assert ctx.cause is why
        assert ctx.deadline == anyio.current_time() + seconds
        assert remembered(parent) == 0
        assert node_of(ctx).alarm is None


async def test_a_deadline_above_that_has_passed_unseen() -> None:
    """The loop was busy and has not fired its alarm: what is derived below is done all the same."""
    now = anyio.current_time()
    above = background().with_deadline(now + 0.0005, cause=KeyError())
    while anyio.current_time() <= now + 0.001:
        pass
    below = above.with_timeout(60, cause=ValueError())
    assert isinstance(below.err, DeadlineExceeded)
    assert below.cause is below.err or isinstance(below.cause, KeyError)


@virtual
async def test_infinity_is_no_deadline() -> None:
    """It can be cancelled, and keeps the deadline above."""
    ctx = background().with_timeout(inf)
    assert ctx.deadline is None
    assert ctx.with_deadline(inf).deadline is None
    above = background().with_timeout(3)
    assert above.with_timeout(inf).deadline == above.deadline
    ctx.cancel()
    assert isinstance(ctx.err, Cancelled)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(nan, ValueError), ("1", TypeError), (None, TypeError), (timedelta(1), TypeError), (Decimal(1), TypeError)],
    ids=["nan", "text", "none", "timedelta", "decimal"],
)
async def test_what_is_no_time_is_refused(wrong: Any, error: type[Exception]) -> None:
    """And the parent remembers nothing of it."""
    ctx = background().with_cancel()
    for derive in (ctx.with_timeout, ctx.with_deadline):
        with pytest.raises(error, match="number of seconds"):
            derive(wrong)
    assert remembered(ctx) == 0


def test_without_a_loop_there_is_no_clock() -> None:
    """A RuntimeError that says what to do."""
    for derive in (background().with_timeout, background().with_deadline):
        with pytest.raises(RuntimeError, match="in a task of asyncio or trio"):
            derive(1)


@backends
def test_the_next_loop_does_not_take_it_over(backend: Any) -> None:
    """Its clock is another one; what is done, and what ``without_cancel`` makes, may be used on."""
    kept = list[Context]()

    async def first() -> None:
        ctx = background().with_value("k", "v").with_timeout(60)
        kept.extend((ctx, ctx.with_cancel(), background().with_timeout(0)))

    async def second() -> None:
        timed, below, passed = kept
        for ctx in (timed, below):
            with pytest.raises(RuntimeError, match="make a new context"):
                await ctx.done.wait()
            with pytest.raises(RuntimeError, match="make a new context"):
                await select(Event(), ctx.done)
            with pytest.raises(RuntimeError, match="make a new context"):
                ctx.with_cancel()
            with pytest.raises(RuntimeError, match="make a new context"):
                ctx.with_timeout(1)
            with pytest.raises(RuntimeError, match="make a new context"):
                merge_contexts(background().with_cancel(), ctx)
            assert ctx.value("k") == "v"
            assert ctx.without_cancel().with_timeout(1).err is None
        await passed.done.wait()
        assert passed.with_timeout(1).err is passed.err

    anyio.run(first, backend=backend)
    anyio.run(second, backend=backend)
    check(*kept)


async def test_another_thread_cannot_derive_from_it() -> None:
    """The clock is that of its loop, though nobody waits yet."""
    ctx = background().with_timeout(60)

    def elsewhere() -> None:
        for attempt in (ctx.with_cancel, ctx.cancel, ctx.with_cancel):
            with pytest.raises(RuntimeError, match=r"from_thread\.run_sync"):
                attempt()

    await anyio.to_thread.run_sync(elsewhere)
    ctx.cancel()


@backends
def test_a_deadline_and_a_cancellation_at_the_same_time(backend: Any) -> None:
    """One of them is first, and decides error and cause for the whole tree; all waiters wake."""
    seen = set[str]()

    async def program() -> None:
        why = KeyError("cancelled")
        top = background().with_timeout(1, cause=ValueError("late"))
        low = top.with_value("k", "v").with_timeout(1, cause=TypeError("low"))

        async def end() -> None:
            await anyio.sleep(1)
            top.cancel(why)

        async def waiter(ctx: Context) -> None:
            await ctx.done.wait()
            check(top, low)
            assert low.err is not None

        async with Group() as group:
            group.go(end)
            group.go(waiter, top)
            group.go(waiter, low)
        assert {top.err, low.err} == {top.err} or isinstance(low.cause, TypeError)
        seen.add(f"{type(top.err).__name__} {type(low.err).__name__} {type(low.cause).__name__}")

    explore(program, backend=backend, runs=60)
    assert len(seen) > 1, seen


@backends
def test_a_thousand_deadlines_in_any_order(backend: Any) -> None:
    """They pass in the order of their times."""

    async def program() -> list[int]:
        order = list[int]()
        parent = background().with_cancel()
        for number in range(1000):
            ctx = parent.with_timeout(1 + (number * 7919) % 1000)
            ctx.after_func(lambda n=(number * 7919) % 1000: order.append(n))
        await anyio.sleep(2000)
        assert remembered(parent) == 0
        return order

    assert run(program, backend=backend) == list(range(1000))
