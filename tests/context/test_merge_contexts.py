"""``merge_contexts``: done when the first of several is."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.context.tree import check, node_of, remembered

from gochan import CancelContext, Cancelled, Context, DeadlineExceeded, Group, background, merge_contexts, todo
from gochan.testing import explore

virtual = pytest.mark.gochan(virtual_time=True)


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_the_first_that_is_done_ends_it(first: int) -> None:
    """Before the cancellation returns, with its error and cause; the others live on and have forgotten it."""
    contexts = [background().with_cancel() for _ in range(3)]
    merged, why = merge_contexts(*contexts), KeyError(first)
    below = merged.with_value("k", "v").with_cancel()
    assert [remembered(ctx) for ctx in contexts] == [1, 1, 1]
    contexts[first].cancel(why)
    assert merged.err is below.err is contexts[first].err
    assert merged.cause is why
    assert [remembered(ctx) for ctx in contexts] == [0, 0, 0]
    assert sum(ctx.err is None for ctx in contexts) == 2
    contexts[(first + 1) % 3].cancel(ValueError())
    assert merged.cause is why
    check(*contexts, merged, below)


async def test_cancelled_itself_it_leaves_them_alone() -> None:
    """And is forgotten by all."""
    contexts = [background().with_cancel() for _ in range(3)]
    with merge_contexts(*contexts) as merged:
        assert merged.err is None
    assert isinstance(merged.err, Cancelled)
    assert [remembered(ctx) for ctx in contexts] == [0, 0, 0]
    assert not any(ctx.err for ctx in contexts)


async def test_one_that_is_done_makes_it_done_at_once() -> None:
    """Of several the first in the order given; nobody remembers it."""
    live, one, two = (background().with_cancel() for _ in range(3))
    one.cancel(KeyError(1))
    two.cancel(KeyError(2))
    merged = merge_contexts(live, two, one)
    assert merged.cause is two.cause
    assert remembered(live) == 0


@virtual
async def test_its_deadline_is_the_earliest() -> None:
    """It ends there, with the cause of that one."""
    early = background().with_timeout(3, cause=KeyError())
    late = background().with_timeout(5)
    merged = merge_contexts(late, background(), early)
    assert merged.deadline == early.deadline
    assert merged.with_timeout(9).deadline == early.deadline
    await merged.done.wait()
    assert isinstance(merged.err, DeadlineExceeded)
    assert merged.cause is early.cause
    assert late.err is None
    assert merge_contexts(late, background().with_cancel()).deadline == late.deadline


async def test_values_are_looked_up_in_order() -> None:
    """The first context that has the key, wherever in its chain."""
    one = background().with_value("a", 1).with_value("b", 1)
    two = background().with_value("b", 2).with_value("c", 2).with_cancel()
    merged = merge_contexts(one, two)
    assert [merged.value(key) for key in "abcd"] == [1, 1, 2, None]
    assert merge_contexts(two, one).value("b") == 2
    assert merged.with_value("a", 3).value("a") == 3


async def test_of_what_never_ends_it_can_be_cancelled() -> None:
    """One context, twice the same, and roots."""
    for contexts in ((background(),), (background(), todo()), (background().with_cancel(),) * 2):
        merged = merge_contexts(*contexts)
        assert merged.err is None
        merged.cancel()
        assert isinstance(merged.err, Cancelled)
        check(merged)
    twice = background().with_cancel()
    with merge_contexts(twice, twice):
        sibling = twice.with_cancel()
    check(twice, sibling)
    merged = merge_contexts(twice, twice)
    twice.cancel()
    assert merged.err is twice.err


async def test_merges_may_be_merged() -> None:
    """Diamonds of any depth end once, without recursion, and leave nothing."""
    top = background().with_cancel()
    tree = [top]
    for _ in range(2000):
        left, right = tree[-1].with_cancel(), tree[-1].with_cancel()
        tree += (left, right, merge_contexts(left, right))
    called = list[int]()
    tree[-1].after_func(lambda: called.append(1))
    with anyio.fail_after(5):
        async with Group() as group:
            group.go(tree[-1].done.wait)
            await anyio.wait_all_tasks_blocked()
            top.cancel()
    assert called == [1]
    check(*tree)
    assert {ctx.err for ctx in tree} == {top.err}


@pytest.mark.parametrize("wrong", [(), (None,), (background(), 1), ([background()],)], ids=str)
def test_it_takes_at_least_one_context(wrong: Any) -> None:
    """And nothing else."""
    with pytest.raises(TypeError, match="context"):
        merge_contexts(*wrong)


async def test_a_wrong_one_among_them_leaves_the_others_alone() -> None:
    """Nothing is linked before all are looked at."""
    ctx: Any = background().with_cancel()
    with pytest.raises(TypeError):
        merge_contexts(ctx, 7)
    assert remembered(ctx) == 0


async def test_merges_that_end_are_forgotten() -> None:
    """A server's context merged with each request's: nothing is left of those that are over."""
    server, gone = background().with_cancel(), list[weakref.ref[Context]]()
    gc.disable()
    try:
        for _ in range(100):
            request = background().with_cancel()
            both = merge_contexts(request, server)
            assert remembered(server) == 1
            request.cancel()
            gone += (weakref.ref(request), weakref.ref(both))
            del request, both
        assert node_of(server).children is None
        assert not [ref for ref in gone if ref() is not None]
    finally:
        gc.enable()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_both_at_once_in_any_order(backend: Any) -> None:
    """One of them wins, wholly."""
    winners = set[str]()

    async def program() -> None:
        one, two = background().with_cancel(), background().with_cancel()
        merged = merge_contexts(one, two)

        async def end(ctx: CancelContext, name: str) -> None:
            await anyio.lowlevel.checkpoint()
            ctx.cancel(KeyError(name))

        async with Group() as group:
            group.go(end, one, "one")
            group.go(end, two, "two")
            group.go(merged.done.wait)
        assert (merged.err, merged.cause) in ((one.err, one.cause), (two.err, two.cause))
        check(one, two, merged)
        winners.add(str(merged.cause))

    explore(program, backend=backend, runs=50)
    assert len(winners) == 2
