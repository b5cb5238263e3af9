"""Contexts belong to a loop, tree by tree: take-over, other threads, second loops."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.context.tree import check, node_of, remembered

from gochan import (
    CancelContext,
    Event,
    Group,
    background,
    merge_contexts,
    notify_context,
    select,
)

BACKENDS = ["asyncio", "trio"]


# ---- loops and threads ----


def test_made_and_cancelled_without_a_loop() -> None:
    """Cancellation is a plain function."""
    ctx = background().with_cancel()
    child, called = ctx.with_cancel(), list[int]()
    child.after_func(lambda: called.append(1))
    ctx.cancel()
    assert child.err is not None
    assert called == [1]


@pytest.mark.parametrize("first", BACKENDS)
@pytest.mark.parametrize("second", BACKENDS)
def test_the_next_loop_takes_it_over(first: Any, second: Any) -> None:
    """The tree outlives the loop in which somebody waited for it."""
    top = background().with_cancel()
    low = top.with_cancel()

    async def give_up() -> None:
        for ctx in (top, low):
            with anyio.move_on_after(0.001):
                await ctx.done.wait()

    async def end() -> None:
        async with Group() as group:
            group.go(low.done.wait)
            await anyio.wait_all_tasks_blocked()
            top.cancel()

    anyio.run(give_up, backend=first)
    anyio.run(end, backend=second)
    check(top, low)
    assert low.err is top.err


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_dead_loop_left_can_be_cancelled(backend: Any) -> None:
    """Waiters and deadlines of it are dropped."""
    top, left = background().with_cancel(), list[CancelContext]()

    async def main() -> None:
        left.append(top.with_timeout(60))
        left.append(left[0].with_cancel())

        async def abandoned() -> None:
            await left[1].done.wait()

        with anyio.move_on_after(0.001):
            await abandoned()

    anyio.run(main, backend=backend)
    check(top, *left)
    top.cancel()
    check(top, *left)
    assert {ctx.err for ctx in left} == {top.err}


async def test_another_thread_is_refused_with_the_remedy() -> None:
    """Once somebody in this loop waits on anything below; nothing has happened then."""
    top = background().with_cancel()
    low = top.with_value("k", "v").with_cancel()
    async with Group() as group:
        group.go(low.done.wait)
        await anyio.wait_all_tasks_blocked()

        def elsewhere() -> None:
            for attempt in (low.cancel, top.cancel, top.with_cancel, lambda: top.after_func(print)):
                with pytest.raises(RuntimeError, match=r"from_thread\.run_sync"):
                    attempt()
            assert (top.err, low.done.is_set(), low.value("k")) == (None, False, "v")  # looking is free

        await anyio.to_thread.run_sync(elsewhere)
        assert top.err is None
        assert remembered(top) == 1
        top.cancel()
    check(top, low)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_only_looked_does_not_own_it(backend: Any) -> None:
    """A select that did not wait leaves the tree to the loop that first waits, from then on for that one only."""
    top, ready = background().with_cancel(), Event()
    low = top.with_cancel()
    ready.set()
    waiting, over = threading.Event(), threading.Event()

    async def first() -> None:
        async with Group() as group:
            group.go(low.done.wait)
            await anyio.wait_all_tasks_blocked()
            waiting.set()
            await anyio.to_thread.run_sync(over.wait)
            group.cancel()

    async def second() -> None:
        assert await select(ready, top.done, low.done, priority=True) == (0, None)
        thread = threading.Thread(target=anyio.run, args=(first,))
        thread.start()
        try:
            assert waiting.wait(5)
            for ctx in (low, top):
                with pytest.raises(RuntimeError, match="belongs to the asyncio event loop"):
                    ctx.cancel()
                with pytest.raises(RuntimeError, match="belongs to the asyncio event loop"):
                    await select(ready, ctx.done)
        finally:
            over.set()
            await anyio.to_thread.run_sync(thread.join, 5)

    anyio.run(second, backend=backend)
    check(top, low)


def test_waiters_of_a_loop_that_was_just_closed() -> None:
    """Nobody cancelled them; whoever cancels the context later does not stumble over them."""
    top = background().with_cancel()
    low = top.with_cancel()
    loop = asyncio.new_event_loop()
    task: Any = loop.create_task(low.done.wait())
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    assert len(node_of(low).waiters) == 1
    loop.close()
    top.cancel()
    check(top, low)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_loop_is_refused_while_the_first_lives(backend: Any) -> None:
    """Two loops in two threads: who waits first has the whole way up to the root, others keep their own trees."""
    top = background().with_cancel()
    low, other = top.with_cancel(), top.with_cancel()
    waiting, over = threading.Event(), threading.Event()

    async def first() -> None:
        async with Group() as group:
            group.go(low.done.wait)
            await anyio.wait_all_tasks_blocked()
            waiting.set()
            await anyio.to_thread.run_sync(over.wait)
            group.cancel()

    thread = threading.Thread(target=anyio.run, args=(first,))
    thread.start()
    try:
        assert waiting.wait(5)

        async def second() -> None:
            with pytest.raises(RuntimeError, match="belongs to the asyncio event loop"):
                await other.done.wait()
            with pytest.raises(RuntimeError, match="belongs to the asyncio event loop"):
                await select(Event(), other.done)
            event = Event()
            with pytest.raises(RuntimeError, match="belongs to the asyncio event loop"):
                await select(event, other.done)
            assert not event._state.waiters  # the select has left the queues that it was in
            with pytest.raises(RuntimeError, match="belongs to the asyncio event loop"):
                async with other.scope():
                    raise AssertionError("entered")
            mine = background().with_timeout(60)
            for attempt in (
                top.cancel,
                top.with_cancel,
                lambda: other.with_timeout(1),
                lambda: merge_contexts(mine, other),
                lambda: merge_contexts(top, mine),
            ):
                with pytest.raises(RuntimeError, match="belongs to the asyncio event loop"):
                    attempt()
            with pytest.raises(RuntimeError, match="belongs to the asyncio event loop"):
                async with notify_context(parent=other):
                    raise AssertionError("entered")
            assert remembered(other) == remembered(mine) == 0
            assert other.err is None
            other.cancel()  # nobody waits on it
            assert other.err is not None

        anyio.run(second, backend=backend)
    finally:
        over.set()
        thread.join(5)
    check(top, low, other)
