"""``ctx.scope()``: the end of a context as the cancellation of a block."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import gochan
from gochan import (
    Cancelled,
    DeadlineExceeded,
    Event,
    Group,
    background,
)

virtual = pytest.mark.gochan(virtual_time=True)


async def for_ever() -> None:
    await Event().wait()


# ---- how it ends ----


async def test_a_block_that_ends_first_leaves_normally() -> None:
    """Nothing is left behind: neither a hook in the context, nor a cancellation."""
    ctx = background().with_cancel()
    async with ctx.scope():
        await anyio.lowlevel.checkpoint()
    assert ctx._node.hooks is None
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


def test_between_two_runs_of_its_loop() -> None:
    """As asyncio's own: what is cancelled then ends in the next run."""
    ctx = background().with_cancel()
    loop = asyncio.new_event_loop()

    async def body() -> None:
        async with ctx.scope():
            await for_ever()

    tasks = [loop.create_task(body()) for _ in range(2)]
    loop.run_until_complete(asyncio.sleep(0.001))
    ctx.cancel()
    results = loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5))
    loop.close()
    assert [type(result) for result in results] == [Cancelled, Cancelled]
