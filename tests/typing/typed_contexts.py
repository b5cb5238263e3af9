"""Checked, never run: contexts, and what they give."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, assert_never, assert_type

from gochan import (
    CancelContext,
    Channel,
    Context,
    ContextError,
    Group,
    Signal,
    background,
    merge_contexts,
    notify_context,
    select,
    todo,
)


async def looking(ctx: Context) -> None:
    assert_type(background(), Context)
    assert_type(todo(), Context)
    assert_type(ctx.done, Signal)
    assert_type(ctx.err, ContextError | None)
    assert_type(ctx.cause, BaseException | None)
    assert_type(ctx.deadline, float | None)
    if ctx.err is not None:
        raise ctx.err
    ctx.err = None  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]  # read-only


async def deriving(ctx: Context) -> None:
    assert_type(ctx.with_value("key", 1), Context)
    assert_type(ctx.without_cancel(), Context)
    assert_type(ctx.with_cancel(), CancelContext)
    assert_type(ctx.with_timeout(1), CancelContext)
    assert_type(ctx.with_deadline(1.5, cause=KeyError()), CancelContext)
    assert_type(merge_contexts(ctx, background()), CancelContext)
    with ctx.with_cancel() as child:
        assert_type(child, CancelContext)
        child.cancel()
        child.cancel(KeyError())
        child.cancel("why")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]  # no exception
    ctx.cancel()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # no cancel


class Mine(CancelContext):  # type: ignore[misc] # pyright: ignore[reportGeneralTypeIssues]  # it is final
    pass


async def slow() -> int:
    return 1


async def ending(ctx: Context) -> None:
    assert_type(ctx.after_func(slow), Callable[[], bool])
    assert_type(ctx.after_func(lambda: None), Callable[[], bool])
    scope: AbstractAsyncContextManager[None] = ctx.scope()
    async with scope as nothing:
        assert_type(nothing, None)
    async with notify_context(signal.SIGINT, 15, parent=ctx) as notified:
        assert_type(notified, CancelContext)
    async with Group(ctx=ctx) as group:
        assert_type(group.ctx, Context)


async def selecting(ctx: Context, ch: Channel[int]) -> None:
    match await select(ch, ctx.done):
        case (0, job):
            assert_type(job, int)
        case (1, nothing):
            assert_type(nothing, None)
        case _ as never:
            assert_never(never)
    assert_type(await select(ctx.done), tuple[Literal[0], None])
