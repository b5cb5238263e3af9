"""Contexts: what they say, what is derived from them, and how a cancellation runs down their tree."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import traceback
import weakref
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.context.tree import check, node_of, remembered

import gochan
from gochan import (
    CancelContext,
    Cancelled,
    Context,
    Event,
    Group,
    background,
    select,
    todo,
)

virtual = pytest.mark.gochan(virtual_time=True)

# ---- what it says ----


def test_the_roots_are_the_same_each_time() -> None:
    """They can be compared and kept."""
    assert background() is background()
    assert todo() is todo()


async def test_done_is_the_same_signal_each_time() -> None:
    """Also that of a context which only adds a value: it is done when its parent is."""
    ctx = background().with_cancel()
    valued = ctx.with_value("k", 1).with_value("l", 2)
    assert ctx.done is ctx.done
    assert valued.done is ctx.done
    assert background().done is background().with_value("k", 1).done
    assert ctx.with_cancel().done is not ctx.done


async def test_the_error_is_the_same_each_time_and_below() -> None:
    """So is the cause."""
    ctx = background().with_cancel()
    child = ctx.with_cancel()
    ctx.cancel()
    assert ctx.err is ctx.err is child.err is ctx.cause
    why = ValueError()
    ctx = background().with_cancel()
    child = ctx.with_value("k", "v").with_cancel()
    ctx.cancel(why)
    assert child.cause is why
    assert str(child.err) == "context cancelled"


def test_raising_the_error_again_and_again_does_not_grow_it() -> None:
    """A traceback that is not being handled is dropped by who asks next."""
    ctx = background().with_cancel()
    ctx.cancel()
    lengths = list[int]()
    for _ in range(3):
        try:
            assert ctx.err is not None
            raise ctx.err
        except Cancelled as error:
            assert ctx.err is error  # asking in the handler leaves it as it is
            assert ctx.cause is error
            lengths.append(len(traceback.extract_tb(error.__traceback__)))
    assert lengths == [1, 1, 1]


def test_the_error_keeps_its_traceback_while_a_group_with_it_is_handled() -> None:
    """What is printed of the group later is whole."""
    ctx = background().with_cancel()
    ctx.cancel()
    error = ctx.err
    assert error is not None
    try:
        raise error
    except Cancelled:
        pass
    try:
        raise ExceptionGroup("many", [error])
    except ExceptionGroup:
        assert ctx.err is not None
        assert ctx.err.__traceback__ is not None


def test_keys_are_compared_as_python_compares() -> None:
    """1 is 1.0; what cannot be hashed may be a key; an unknown key gives the default."""
    ctx = background().with_value(1, "one").with_value([2], "two")
    assert ctx.value(1.0) == "one"
    assert ctx.value([2]) == "two"
    assert ctx.value("1") is None
    odd = float("nan")  # equal to nothing; the same object is the same key, as in a dictionary
    assert ctx.with_value(odd, "odd").value(odd) == "odd"
    assert ctx.value("1", default=7) == 7
    assert ctx.value(None) is None
    assert background().value(object(), "no") == "no"


def test_a_thousand_values_deep() -> None:
    """Neither looking up nor showing nor deriving overflows the stack."""
    ctx: Context = background()
    for number in range(20_000):
        ctx = ctx.with_value(number, number)
    assert ctx.value(0) == 0
    assert repr(ctx).count("with_value") == 20_000


# ---- how it is shown ----


@virtual
async def test_its_repr_tells_how_it_was_made() -> None:
    """The calls, in Python's own spelling; of a deadline also how long it is to it."""
    base = anyio.current_time()
    ctx = background().with_cancel().with_timeout(2.5).with_value("user", "ann").without_cancel()
    expected = "background().with_cancel().with_deadline({:.9g}{}).with_value('user', 'ann').without_cancel()"
    assert repr(ctx) == expected.format(base + 2.5, " [2.5 s]")
    timed = todo().with_deadline(base + 2.5)
    await anyio.sleep(1)
    assert repr(timed) == f"todo().with_deadline({base + 2.5:.9g} [1.5 s])"
    timed.cancel()
    assert repr(timed) == f"todo().with_deadline({base + 2.5:.9g})"
    merged = gochan.merge_contexts(background().with_cancel(), todo())
    assert repr(merged.with_cancel()) == "merge_contexts(background().with_cancel(), todo()).with_cancel()"
    live = background().with_timeout(1)
    assert repr(live.with_timeout(9)).endswith("[1 s]).with_cancel()")  # the earlier deadline holds


def test_large_values_are_shortened() -> None:
    """And one whose repr fails shows nevertheless."""

    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    assert len(repr(background().with_value("key", list(range(1000))))) < 100
    assert "Rude" in repr(background().with_value(Rude(), Rude()))


def test_merges_of_merges_are_not_shown_for_ever() -> None:
    """Each could be seen along many ways; none overflows the stack."""
    ctx: Context = background().with_cancel()
    for _ in range(3000):
        ctx = gochan.merge_contexts(ctx, ctx.with_value("k", "v"))
    assert len(repr(ctx)) < 3000
    assert ctx.value("nothing") is None
    assert ctx.value("k") == "v"


async def test_its_signal_says_whose_it_is() -> None:
    """What dumps and errors show of those who wait."""
    ctx = background().with_cancel()
    assert repr(ctx.done) == "<done of a context, with_cancel(): not set, waiters=0>"
    ctx.cancel()
    assert repr(ctx.done) == "<done of a context, with_cancel(): set, Cancelled('context cancelled')>"
    assert repr(background().done) == "<done of background(): never set>"


# ---- the tree ----


async def test_everything_below_is_done_before_anybody_acts() -> None:
    """Functions registered anywhere in the tree see all of it done; parents' before children's, in their order."""
    top = background().with_cancel()
    left, right = top.with_cancel(), top.with_cancel()
    low = left.with_value("k", "v").with_cancel()
    everybody, order = (top, left, right, low), list[str]()

    def look(name: str) -> None:
        assert all(ctx.done.is_set() and ctx.err for ctx in everybody)
        order.append(name)

    for name, ctx in (("low", low), ("right", right), ("left", left), ("top", top), ("top again", top)):
        ctx.after_func(lambda name=name: look(name))
    top.cancel()
    assert order == ["top", "top again", "left", "low", "right"]


@pytest.mark.parametrize("wide", [True, False])
async def test_ten_thousand_contexts_below(wide: bool) -> None:
    """A star and a chain: all are done, nothing recurses, and the cost of each is flat."""
    top = background().with_cancel()
    tree, ctx = [top], top
    for _ in range(10_000):
        child = (top if wide else ctx).with_cancel()
        tree.append(child)
        ctx = child
    woken = list[int]()

    async def waiter(number: int) -> None:
        await tree[number].done.wait()
        woken.append(number)

    with anyio.fail_after(20):
        async with Group() as group:
            for number in (0, 1, 5000, 10_000):
                group.go(waiter, number)
            await anyio.wait_all_tasks_blocked()
            check(*tree)
            top.cancel()
            assert all(ctx.done.is_set() for ctx in tree)
    assert sorted(woken) == [0, 1, 5000, 10_000]
    check(*tree)
    assert not any(map(remembered, tree))


async def test_the_waiters_are_woken_parents_first() -> None:
    """The parent's before the child's, and each context's in the order in which they came."""
    top = background().with_cancel()
    low = top.with_cancel()
    queue = node_of(top).waiting, node_of(low).waiting
    assert queue
    woken = list[str]()

    async def waiter(ctx: Context, name: str) -> None:
        await ctx.done.wait()
        woken.append(name)

    async with Group() as group:
        for ctx, name in ((low, "low 1"), (top, "top 1"), (low, "low 2"), (top, "top 2")):
            group.go(waiter, ctx, name)
            await anyio.wait_all_tasks_blocked()
        top.cancel()
    assert sorted(woken) == ["low 1", "low 2", "top 1", "top 2"]
    if "trio" not in sys.modules or not _in_trio():  # trio resumes a batch in an order of its own
        assert woken == ["top 1", "top 2", "low 1", "low 2"]


def _in_trio() -> bool:
    import trio

    return trio.lowlevel.in_trio_task()


async def test_a_child_made_while_the_tree_ends() -> None:
    """By a function that its parent calls: it is born done."""
    top, born = background().with_cancel(), list[CancelContext]()
    top.after_func(lambda: born.append(top.with_cancel()))
    top.cancel()
    assert born[0].err is top.err
    check(top, *born)


async def test_a_with_statement_cancels_at_its_end() -> None:
    """Also when an exception leaves it; that one is not the cause."""
    with background().with_cancel() as ctx:
        assert ctx.err is None
    assert type(ctx.err) is Cancelled
    with pytest.raises(KeyError), background().with_cancel() as ctx:
        raise KeyError
    assert ctx.cause is ctx.err


async def test_a_select_over_many_contexts() -> None:
    """Any number of cases over one; the one that is done wins."""
    one, two = background().with_cancel(), background().with_cancel()
    with anyio.fail_after(5):
        async with Group() as group:
            chosen = group.go(select, one.done, two.done, background().done, two.with_value("k", 1).done)
            await anyio.wait_all_tasks_blocked()
            two.cancel()
        assert (await chosen.result())[0] in (1, 3)
    check(one, two)


@pytest.mark.parametrize("never", [background(), background().with_cancel().without_cancel()])
async def test_waiting_for_what_never_ends_leaves_nothing(never: Context) -> None:
    """No queue outlives the wait, and no loop is remembered."""
    with anyio.move_on_after(0.001):
        await never.done.wait()
    with anyio.move_on_after(0.001):
        await select(never.done, Event())
    node = node_of(never)
    assert not node.waiters
    assert node.owner is None
    assert node.driver.backend == "none"


# ---- memory ----


async def test_children_that_end_cost_their_parent_nothing() -> None:
    """Cancelled, expired, or with functions: after each, nothing is left, without the collector's help."""
    parent = background().with_cancel()
    gone = list[weakref.ref[Context]]()
    gc.disable()
    try:
        for _ in range(100):
            child = parent.with_cancel()
            child.after_func(lambda: None)
            child.with_value("k", 1).with_timeout(60)
            assert remembered(parent) == 1
            child.cancel()
            gone.append(weakref.ref(child))
            del child
            expired = parent.with_timeout(0)
            gone.append(weakref.ref(expired))
            del expired
            parent.after_func(lambda: None)()
            parent.with_value("k", "v")
        assert node_of(parent).children is None
        assert node_of(parent).hooks is None
        assert not [ref for ref in gone if ref() is not None]
    finally:
        gc.enable()


async def test_what_never_ends_remembers_nobody() -> None:
    """A child of background() that nobody holds is gone at once, waited for or not."""
    gc.disable()
    try:
        child = background().with_cancel()
        assert not child.done.is_set()
        background().after_func(lambda: None)
        where = weakref.ref(child)
        del child
        assert where() is None
    finally:
        gc.enable()


# ---- bad input ----

Wrong = pytest.mark.parametrize(
    "wrong", ["because", 1, ValueError, object()], ids=["text", "number", "class", "object"]
)


@Wrong
async def test_a_cause_that_is_no_exception_is_refused(wrong: Any) -> None:
    """And nothing has happened."""
    ctx = background().with_cancel()
    with pytest.raises(TypeError, match="cause"):
        ctx.cancel(wrong)
    assert ctx.err is None
    with pytest.raises(TypeError, match="cause"):
        background().with_timeout(1, cause=wrong)


def test_a_context_is_not_made_by_its_class() -> None:
    """Nor subclassed, nor copied, nor pickled; each error says what to do instead."""
    for kind in (Context, CancelContext):
        with pytest.raises(TypeError, match="background"):
            kind()
    with pytest.raises(TypeError, match="attribute"):
        type("Mine", (Context,), {})
    ctx = background().with_cancel()
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"with_cancel\(\) cannot be copied"):
            attempt(ctx)


def test_nothing_can_be_set_on_it() -> None:
    """What it says is read-only, and it has no dictionary."""
    ctx: Any = background().with_cancel()
    for name in ("done", "err", "cause", "deadline", "other"):
        with pytest.raises(AttributeError):
            setattr(ctx, name, None)
