"""How a goroutine becomes a task: a bare one in its group's scope on asyncio, a child of its nursery on trio."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ._core.scopes import adopt, cancel_until_gone
from ._goroutine import Goroutine, TaskGoroutine
from ._nearest import current

if TYPE_CHECKING:
    from ._group import Group


def start(
    group: Group, goroutine: Goroutine[Any], coroutine: Coroutine[Any, Any, Any], context: Context | None
) -> None:
    """Start it, in this context, or in a copy of the running one."""
    goroutine._state = "running"
    # What the goroutine starts itself belongs here, wherever the call stood.
    if context is not None or current.get() is not group:
        if context is None:
            context = copy_context()
        context.run(current.set, group)
    if group._nursery is None:
        _start_task(group, goroutine, coroutine, context)
    else:
        _start_child(group, goroutine, coroutine, context)


def _start_task(
    group: Group, goroutine: Goroutine[Any], coroutine: Coroutine[Any, Any, Any], context: Context | None
) -> None:
    # Not loop.create_task: with eager tasks the goroutine would run before it is a member of the scope.
    task = asyncio.Task(coroutine, loop=group._loop, name=goroutine.name, context=context)
    if not adopt(task, group._scope, group._host):
        group._unadopted.add(task)
        task.add_done_callback(group._unadopted.discard)
        if group._stopped:
            cancel_until_gone(task, group._scope)
    goroutine._task = task
    # The context is there to save the copy that asyncio would make for each.
    task.add_done_callback(cast("TaskGoroutine[Any]", goroutine), context=group._context)


def _start_child(
    group: Group, goroutine: Goroutine[Any], coroutine: Coroutine[Any, Any, Any], context: Context | None
) -> None:
    import trio

    goroutine._task = trio.CancelScope()
    start_soon = partial(group._nursery.start_soon, trio_main, group, goroutine, coroutine, name=goroutine.name)
    if context is None:
        start_soon()
    else:
        context.run(start_soon)


async def trio_main(group: Group, goroutine: Goroutine[Any], coroutine: Coroutine[Any, Any, Any]) -> None:
    """The outermost function of a goroutine's task on trio."""
    import trio

    failure: BaseException | None = None
    try:
        with goroutine._task:
            value = await coroutine
            goroutine._end("done", value)
    except trio.Cancelled:
        pass  # the task ends here, so nobody misses it; its group's scope has its own
    except BaseExceptionGroup as error:
        # A nursery inside the goroutine reports the cancellations of its tasks in a group.
        failure = error.split(trio.Cancelled)[1]
    except BaseException as error:
        failure = error
    if failure is not None:
        goroutine._end("failed", (failure, failure.__traceback__))
    elif goroutine._group is not None:
        goroutine._end("cancelled", goroutine._outcome)
    group._ended(goroutine, failure)
