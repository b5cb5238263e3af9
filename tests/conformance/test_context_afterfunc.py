"""Functions called after a context is done, after Go's src/context/afterfunc_test.go and example_test.go.

Not ported: contexts of other types. Time is virtual.
"""

from __future__ import annotations

import gc
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gochan import (
    Channel,
    Context,
    DeadlineExceeded,
    Event,
    Group,
    background,
    merge_contexts,
    select,
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


# -- TestAfterFunc* ---------------------------------------------------------------------------------------------------


@virtual
async def test_functions_are_called_after_a_cancellation() -> None:
    """Each once; what is registered twice is called twice."""
    ctx, called = background().with_cancel(), list[int]()
    ctx.after_func(lambda: called.append(1))
    ctx.after_func(lambda: called.append(1))
    await settle()
    assert called == []
    ctx.cancel()
    assert called == [1, 1]
    ctx.cancel()
    assert called == [1, 1]


@virtual
async def test_functions_are_called_after_a_deadline() -> None:
    """In the loop, when it passes."""
    ctx, called = background().with_timeout(1), Event()
    ctx.after_func(called.set)
    await called.wait()
    assert ctx.done.is_set()


@virtual
async def test_functions_are_called_at_once_when_it_is_done() -> None:
    """Before the call returns."""
    ctx, called = background().with_cancel(), Event()
    ctx.cancel()
    stop = ctx.after_func(called.set)
    assert called.is_set()
    assert not stop()


@virtual
async def test_functions_that_are_stopped_are_not_called() -> None:
    """``stop`` is true once."""
    ctx, called = background().with_cancel(), Event()
    stop = ctx.after_func(called.set)
    assert stop()
    assert not stop()
    ctx.cancel()
    await settle()
    assert not called.is_set()


@virtual
async def test_a_cancellation_does_not_wait_for_async_functions() -> None:
    """They run as goroutines."""
    ctx, proceed, ran = background().with_cancel(), Event(), Event()

    async def slow() -> None:
        await proceed.wait()
        ran.set()

    async with Group():
        ctx.after_func(slow)
        ctx.cancel()
        await settle()
        assert not ran.is_set()
        proceed.set()
    assert ran.is_set()


# -- ExampleAfterFunc_merge, _cond, _connection -----------------------------------------------------------------------


@bounded
async def test_two_contexts_merged_by_hand() -> None:
    """As with ``merge_contexts``: the one that is done first ends it, with its cause."""
    one, two = background().with_cancel(), background().with_cancel()
    merged = one.with_cancel()
    stop = two.after_func(lambda: merged.cancel(two.cause))
    finished = ValueError("finished")
    two.cancel(finished)
    assert merged.cause is finished
    assert not stop()
    assert_live(one)
    both = merge_contexts(one, two)
    assert both.cause is finished


@virtual
async def test_waiting_for_a_condition_or_the_end_of_a_context() -> None:
    """One of many waiters gives up, the others do not notice."""
    changed, results = Channel[None](), list[str]()

    async def wait(ctx: Context) -> None:
        match await select(changed, ctx.done):
            case (0, _):
                results.append("changed")
            case _:
                results.append("gave up")

    async with Group() as group:
        group.go(wait, background().with_timeout(1))
        group.go(wait, background().with_timeout(60))
        await anyio.sleep(2)
        await changed.send(None)
    assert results == ["gave up", "changed"]


@virtual
async def test_the_end_of_a_context_interrupts_a_read() -> None:
    """What Go does by a deadline of the connection, ``scope`` does here."""
    ctx = background().with_timeout(1)
    sender, receiver = anyio.create_memory_object_stream[bytes](0)
    async with sender, receiver:
        with pytest.raises(DeadlineExceeded):
            async with ctx.scope():
                await receiver.receive()


# -- XTestAllocs, and what the benchmarks count -----------------------------------------------------------------------


def test_a_wide_tree_is_forgotten_as_it_ends() -> None:
    """BenchmarkCommonParentCancel: children that come and go leave nothing behind."""
    parent = background().with_cancel()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(2000):
        parent.with_cancel().cancel()
    gc.collect()
    assert len(gc.get_objects()) - before < 50
    assert children(parent) == 0
