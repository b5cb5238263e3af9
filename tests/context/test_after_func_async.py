"""``ctx.after_func(fn)`` with async functions: goroutines of the group in which they were registered."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.context.tree import remembered

import gochan
from gochan import Event, Group, background

virtual = pytest.mark.gochan(virtual_time=True)


# ---- async functions ----


async def test_an_async_function_runs_as_a_goroutine() -> None:
    """Of the group around the registration, which waits for it; the cancellation does not."""
    ctx, order = background().with_cancel(), list[str]()

    async def slow() -> None:
        order.append("begun")
        await anyio.lowlevel.checkpoint()
        order.append("done")

    async with Group() as group:
        ctx.after_func(slow)
        ctx.cancel()
        assert order == []
        assert "goroutines=1" in repr(group)
    assert order == ["begun", "done"]


@pytest.mark.parametrize("make", [lambda fn: partial(fn, 1), lambda fn: Callable(fn)], ids=["partial", "object"])
async def test_what_counts_as_async(make: Any) -> None:
    """Partials and objects whose call is async, too."""
    ran = Event()

    async def fn(_: int = 0) -> None:
        ran.set()

    ctx = background().with_cancel()
    async with Group():
        ctx.after_func(make(fn))
        ctx.cancel()
        with anyio.fail_after(5):
            await ran.wait()


class Callable:
    def __init__(self, fn: Any) -> None:
        self.fn = fn

    async def __call__(self) -> None:
        await self.fn()


@virtual
async def test_a_deadline_starts_it() -> None:
    """In the group, with no task around; it says where it was registered."""
    ctx, seen = background().with_timeout(1), list[Any]()

    async def look() -> None:
        await anyio.lowlevel.checkpoint()
        seen.extend(one.created_by for one in gochan.goroutines() if "look" in one.name)

    async with Group():
        ctx.after_func(look)
        await anyio.sleep(2)
    assert len(seen) == 1
    assert "test_a_deadline_starts_it" in str(seen[0])


async def test_its_failure_is_a_goroutines() -> None:
    """The group fails."""
    ctx = background().with_cancel()

    async def fail() -> None:
        raise KeyError

    with anyio.fail_after(5), pytest.raises(ExceptionGroup):
        async with Group():
            ctx.after_func(fail)
            ctx.cancel()
            await Event().wait()


async def test_without_a_group_an_async_function_is_refused() -> None:
    """At the registration, with the remedy; nothing is registered."""
    ctx = background().with_cancel()

    async def fn() -> None: ...

    for one in (ctx, background()):
        with pytest.raises(RuntimeError, match=r"gochan\.run"):
            one.after_func(fn)
    assert remembered(ctx) == 0


async def test_it_does_not_run_when_its_group_has_ended() -> None:
    """Silently; in a group around that one neither."""
    ctx = background().with_cancel()

    async def fn() -> None:
        pytest.fail("it ran")

    async with Group():
        async with Group():
            stop = ctx.after_func(fn)
        ctx.cancel()
    assert not stop()


async def test_it_is_cancelled_with_its_group() -> None:
    """One that starts while the group is being cancelled ends at its first wait."""
    ctx, order = background().with_cancel(), list[str]()

    async def fn() -> None:
        order.append("begun")
        await anyio.lowlevel.checkpoint()
        order.append("went on")

    with anyio.fail_after(5):
        async with Group() as group:
            ctx.after_func(fn)
            group.cancel()
            ctx.cancel()
    assert "went on" not in order


async def test_a_limit_counts_it() -> None:
    """It waits for its place."""
    ctx, order = background().with_cancel(), list[str]()

    async def note(name: str) -> None:
        order.append(name)
        await anyio.lowlevel.checkpoint()
        order.append(name)

    with anyio.fail_after(5):
        async with Group(limit=1) as group:
            group.go(note, "first")
            ctx.after_func(partial(note, "second"))
            ctx.cancel()
    assert order == ["first", "first", "second", "second"]


async def test_from_another_thread_it_cannot_be_started() -> None:
    """So that thread is refused, rather than the function forgotten."""
    ctx = background().with_cancel()
    async with Group():
        ctx.after_func(anyio.lowlevel.checkpoint)

        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match=r"from_thread\.run_sync"):
                ctx.cancel()

        await anyio.to_thread.run_sync(elsewhere)
        assert ctx.err is None
        ctx.cancel()
