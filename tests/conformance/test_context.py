"""Contexts, after the behaviours that Go's src/context/*_test.go and example_test.go check.

The table of errors and causes is in test_context_cause.py, functions are in test_context_afterfunc.py.
Not ported: contexts of other types (there is no interface to implement), the benchmarks, and the panics that Python's
own type errors stand for. Time is virtual where it matters.
"""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import gochan
from gochan import (
    CancelContext,
    Cancelled,
    Context,
    DeadlineExceeded,
    Group,
    background,
    merge_contexts,
    todo,
)

from .helpers import bounded, settle

virtual = pytest.mark.gochan(virtual_time=True)


def children(ctx: Context) -> int:
    """How much the context remembers: contexts below it, and functions."""
    node: Any = ctx._node
    return len(node.children or ()) + len(node.hooks or ())


def assert_live(*contexts: Context) -> None:
    for ctx in contexts:
        assert not ctx.done.is_set()
        assert ctx.err is None
        assert ctx.cause is None


def assert_cancelled(*contexts: Context) -> None:
    for ctx in contexts:
        assert ctx.done.is_set()
        assert isinstance(ctx.err, Cancelled)


# -- TestBackground, TestTODO ---------------------------------------------------------------------------------------


@bounded
async def test_the_roots_are_never_done() -> None:
    """No error, no deadline, no values; waiting for them takes for ever."""
    for root, name in ((background(), "background()"), (todo(), "todo()")):
        assert_live(root)
        assert root.deadline is None
        assert root.value("key") is None
        assert repr(root) == name
        assert gochan.try_select(root.done) is None
    assert background() is not todo()


# -- TestWithCancel ---------------------------------------------------------------------------------------------------


@bounded
async def test_a_cancellation_reaches_all_below_before_it_returns() -> None:
    """Through contexts that only hold a value, too."""
    top = background().with_cancel()
    wrapped = top.with_value("a", 1)
    below = wrapped.with_cancel()
    lowest = below.with_value("b", 2)
    assert_live(top, wrapped, below, lowest)
    top.cancel()
    assert_cancelled(top, wrapped, below, lowest)
    await settle()
    assert_cancelled(top, wrapped, below, lowest)
    with anyio.fail_after(1):
        await lowest.done.wait()


# -- XTestParentFinishesChild -----------------------------------------------------------------------------------------


@virtual
async def test_a_parent_that_ends_ends_every_kind_of_child() -> None:
    """Contexts with cancel, value, deadline and functions: all are done, and nobody remembers anybody."""
    parent = background().with_cancel()
    child = parent.with_cancel()
    valued = parent.with_value("key", "value")
    timed = valued.with_timeout(10_000)
    called = list[str]()
    stop = parent.after_func(lambda: called.append("after"))
    assert_live(parent, child, valued, timed)
    assert children(parent) == 3
    assert children(child) == children(timed) == 0
    parent.cancel()
    assert_cancelled(parent, child, valued, timed)
    assert {ctx.err for ctx in (child, valued, timed)} == {parent.err}
    assert children(parent) == 0
    assert called == ["after"]
    assert not stop()
    born_cancelled = valued.with_cancel()
    assert_cancelled(born_cancelled)
    assert born_cancelled.err is parent.err
    assert children(parent) == 0


# -- XTestChildFinishesFirst ------------------------------------------------------------------------------------------


@virtual
async def test_a_child_that_ends_leaves_its_parent_alone() -> None:
    """The parent goes on, and has forgotten the child; whether it may be cancelled itself makes no difference."""
    cancellable = background().with_cancel()
    for parent in (background(), cancellable):
        child = parent.with_cancel()
        assert_live(parent, child)
        if parent is cancellable:
            assert children(parent) == 1
        child.cancel()
        assert_cancelled(child)
        assert_live(parent)
        if parent is cancellable:
            assert children(parent) == 0


# -- XTestCancelRemoves -----------------------------------------------------------------------------------------------


@virtual
async def test_whoever_ends_is_removed_from_its_parent() -> None:
    """After a cancellation, a deadline, a stopped function, and functions that ran."""
    parent = background().with_cancel()
    for make in (lambda: parent.with_cancel(), lambda: parent.with_timeout(900)):
        child = make()
        assert children(parent) == 1
        child.cancel()
        assert children(parent) == 0
    expiring = parent.with_timeout(1)
    assert children(parent) == 1
    await anyio.sleep(2)
    assert expiring.done.is_set()
    assert children(parent) == 0
    stop = parent.after_func(lambda: None)
    assert children(parent) == 1
    assert stop()
    assert children(parent) == 0


# -- TestDeadline, TestTimeout ----------------------------------------------------------------------------------------


def on(parent: Context, how: str, seconds: float) -> CancelContext:
    return parent.with_timeout(seconds) if how == "timeout" else parent.with_deadline(anyio.current_time() + seconds)


HOW = pytest.mark.parametrize("how", ["timeout", "deadline"])


@HOW
@virtual
async def test_a_deadline_passes(how: str) -> None:
    """On time, with the error that is a TimeoutError, too."""
    begin = anyio.current_time()
    ctx = on(background(), how, 0.05)
    assert ctx.deadline == begin + 0.05
    assert_live(ctx)
    await ctx.done.wait()
    assert anyio.current_time() == begin + 0.05
    assert type(ctx.err) is DeadlineExceeded
    assert isinstance(ctx.err, TimeoutError)


@HOW
@virtual
async def test_a_deadline_is_seen_through_what_is_derived(how: str) -> None:
    """Values and cancellable contexts around it have it, too."""
    ctx = on(background(), how, 0.05)
    outer = ctx.with_value("k", "v").with_cancel().with_value("l", "w")
    assert outer.deadline == ctx.deadline
    await outer.done.wait()
    assert type(outer.err) is DeadlineExceeded
    assert outer.err is ctx.err


@HOW
@virtual
async def test_the_earlier_of_two_nested_deadlines_holds(how: str) -> None:
    """A later one below an earlier one changes nothing."""
    begin = anyio.current_time()
    early = on(background(), how, 0.05)
    late = on(early, how, 3600)
    assert late.deadline == early.deadline
    await late.done.wait()
    assert anyio.current_time() == begin + 0.05
    assert type(late.err) is DeadlineExceeded


@pytest.mark.parametrize("seconds", [0, -1, -1e9])
@HOW
@virtual
async def test_a_deadline_that_has_passed_is_done_at_once(how: str, seconds: float) -> None:
    """Before it is returned; a later cancellation changes nothing."""
    ctx = on(background(), how, seconds)
    assert ctx.done.is_set()
    assert type(ctx.err) is DeadlineExceeded
    ctx.cancel(KeyError())
    assert type(ctx.err) is DeadlineExceeded
    assert ctx.cause is ctx.err


# -- TestCanceledTimeout ----------------------------------------------------------------------------------------------


@virtual
async def test_a_cancellation_before_the_deadline_is_the_one_that_counts() -> None:
    """Also when the deadline passes later."""
    ctx = background().with_timeout(200).with_timeout(100)
    ctx.cancel()
    assert type(ctx.err) is Cancelled
    await anyio.sleep(300)
    assert type(ctx.err) is Cancelled


# -- TestValues -------------------------------------------------------------------------------------------------------


class Key:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


K1, K2 = Key("k1"), Key("k2")


def test_values_are_found_from_the_nearest_up() -> None:
    """Shadowing, also by None; keys of other types are others; the chain is readable."""
    one = background().with_value(K1, "c1k1")
    two = one.with_value(K2, "c2k2")
    three = two.with_value(Key("k3"), "c3k3")
    four = three.with_value(K1, None)
    assert [ctx.value(K1) for ctx in (one, two, three, four)] == ["c1k1", "c1k1", "c1k1", None]
    assert four.value(K1, "default") is None
    assert one.value(K2, "default") == "default"
    assert four.value(K2) == "c2k2"
    assert four.value(Key("k1")) is None  # equal only to itself
    assert repr(two) == "background().with_value(k1, 'c1k1').with_value(k2, 'c2k2')"
    assert four.with_value("k", 1).with_value("k", 2).value("k") == 2


# -- TestSimultaneousCancels ------------------------------------------------------------------------------------------


@bounded
async def test_a_hundred_contexts_cancelled_at_once() -> None:
    """Each by a goroutine of its own, in any order, in a tree; every waiter wakes."""
    root = background().with_cancel()
    tree: list[CancelContext] = [root]
    queue = [root]
    while len(tree) < 100:
        parent = queue.pop(0)
        for _ in range(3):
            child = parent.with_cancel()
            tree.append(child)
            queue.append(child)

    async def cancel(ctx: CancelContext) -> None:
        ctx.cancel()

    async with Group() as group:
        for ctx in tree:
            group.go(ctx.done.wait)
        await settle(2)
        for ctx in Random(7).sample(tree, len(tree)):
            group.go(cancel, ctx)
    assert_cancelled(*tree)
    assert not any(map(children, tree))


# -- TestInterlockedCancels -------------------------------------------------------------------------------------------


@bounded
async def test_a_child_cancelled_by_one_whom_its_parent_woke() -> None:
    """No deadlock; nor when that is a function of the parent's."""
    parent = background().with_cancel()
    child = parent.with_cancel()

    async def follow() -> None:
        await parent.done.wait()
        child.cancel()

    async with Group() as group:
        group.go(follow)
        await settle()
        parent.cancel()
        await child.done.wait()
    top = background().with_cancel()
    low = top.with_cancel()
    top.after_func(low.cancel)
    low.after_func(top.cancel)
    top.cancel()
    assert_cancelled(top, low)


# -- TestLayersCancel, TestLayersTimeout ------------------------------------------------------------------------------


@pytest.mark.parametrize("by_timeout", [False, True])
@virtual
async def test_many_random_layers(by_timeout: bool) -> None:
    """Values stay readable, before and after; every cancellable layer is done, with the same error."""
    random = Random(20 + by_timeout)
    for _ in range(5):
        minimum = 30
        values = dict[Key, int]()
        cancels = list[CancelContext]()
        timers = 0
        ctx = background()
        while len(values) < minimum or len(cancels) < minimum or timers < minimum:
            match random.randrange(3):
                case 0:
                    key = Key(f"v{len(values)}")
                    ctx = ctx.with_value(key, len(values))
                    values[key] = len(values)
                case 1:
                    ctx = ctx.with_cancel()
                    cancels.append(ctx)
                case _:
                    ctx = ctx.with_timeout(0.2 if by_timeout else 3600)
                    cancels.append(ctx)
                    timers += 1
        assert_live(ctx)
        assert {key: ctx.value(key) for key in values} == values
        if by_timeout:
            await ctx.done.wait()
            assert type(ctx.err) is DeadlineExceeded
        else:
            random.choice(cancels).cancel()
            cancels[-1].cancel()
            assert type(ctx.err) is Cancelled
        assert {key: ctx.value(key) for key in values} == values


# -- TestWithCancelCanceledParent, TestWithCancelSimultaneouslyCanceledParent -----------------------------------------


@bounded
async def test_a_child_of_one_that_is_cancelled_is_born_so() -> None:
    """With the parent's error and cause, whatever the order of who cancels and who derives."""
    why = ValueError("because")
    parent = background().with_cancel()
    parent.cancel(why)
    child = parent.with_cancel()
    assert child.err is parent.err
    assert child.cause is why
    for _ in range(20):
        parent, made = background().with_cancel(), list[CancelContext]()

        async def derive(parent: CancelContext = parent, made: list[CancelContext] = made) -> None:
            made.append(parent.with_cancel())

        async def end(parent: CancelContext = parent) -> None:
            parent.cancel(why)

        async with Group() as group:
            for fn in Random(3).sample([derive, end, derive], 3):
                group.go(fn)
        assert [child.cause for child in made] == [why, why]


# -- TestWithValueChecksKey, TestInvalidDerivedFail -------------------------------------------------------------------


def test_a_key_that_is_none_is_refused() -> None:
    """And what is no context cannot be derived from."""
    with pytest.raises(TypeError, match="None"):
        background().with_value(None, 1)
    wrong: Any = None
    with pytest.raises(TypeError, match="takes a context"):
        merge_contexts(wrong)


# -- TestCauseRace, TestContextErrDoneRace ----------------------------------------------------------------------------


@bounded
async def test_an_error_means_done_and_has_a_cause() -> None:
    """At every moment at which somebody can look."""
    ctx = background().with_cancel()
    ends = list[bool]()

    async def watch() -> None:
        while True:
            err, is_set = ctx.err, ctx.done.is_set()
            assert (err is not None) == is_set == (ctx.cause is not None)
            if err is not None:
                break
            await anyio.lowlevel.checkpoint()
        ends.append(True)

    async with Group() as group:
        for _ in range(5):
            group.go(watch)
        await settle()
        ctx.cancel()
    assert ends == [True] * 5


# -- TestWithoutCancel ------------------------------------------------------------------------------------------------


@virtual
async def test_without_cancel_keeps_the_values_only() -> None:
    """No error, no deadline, not even when the parent is done; what is below is independent."""
    parent = background().with_value("key", "value").with_timeout(1)
    kept = parent.without_cancel()
    assert kept.deadline is None
    parent.cancel()
    assert_live(kept)
    assert kept.value("key") == "value"
    assert repr(kept).endswith(".without_cancel()")
    child = kept.with_cancel()
    assert_live(child)
    child.cancel()
    assert_cancelled(child)
    assert_live(kept)
    ctx = parent.without_cancel()
    assert_live(ctx)
