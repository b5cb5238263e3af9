"""Tasks of asyncio as members of an anyio cancel scope, without an anyio task group around each.

anyio's task group gives every task a scope, an event and a handle of its own: 50 µs and 3.9 KB. What makes a task
feel a scope is only that the scope's list names it and that anyio's table says so; ``adopt`` writes these two, as
anyio's own ``_spawn`` does. Then shields, deadlines and level cancellation hold in goroutines exactly as they do in
anyio's tasks. One that is cancelled alone gets a scope of its own, then (``cancel_member``).

These are private names of anyio, used nowhere else, and only if they are all there (``tests/test_scopes.py`` is the
canary). Without them tasks are cancelled natively, once a turn until they are gone, and a shield inside a
goroutine does not hold.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from types import CoroutineType
from typing import Any, Final

from .driver import Driver, current_driver

_backend: Any
try:
    _backend = importlib.import_module("anyio._backends._asyncio")
except ImportError:
    _backend = None
_task_states: Any = getattr(_backend, "_task_states", None)
_TaskState: Any = getattr(_backend, "TaskState", None)
_scope_slots: frozenset[str] = frozenset(getattr(getattr(_backend, "CancelScope", None), "__slots__", ()))

AVAILABLE: Final[bool] = (
    _task_states is not None
    and _TaskState is not None
    and {"_tasks", "_shield", "_parent_scope", "_child_scopes"} <= _scope_slots
    and hasattr(getattr(_backend, "CancelScope", None), "_deliver_cancellation")
    and hasattr(getattr(_backend, "CancelScope", None), "_effectively_cancelled")
)
_Scope: Any = _backend.CancelScope if AVAILABLE else object


class _Own(_Scope):  # type: ignore[misc]  # anyio's class, if it is there
    """The scope of one task, between that of its group and those that it has opened; made to cancel it."""

    __slots__ = ()


def adopt(task: asyncio.Task[Any], scope: Any, host: int) -> bool:
    """Make ``task``, which has not started, a member of ``scope``; False if that cannot be done."""
    if not AVAILABLE:
        return False
    coroutine = task.get_coro()
    # anyio cannot cancel what does not say whether it has started, as some compiled coroutines do not.
    if type(coroutine) is not CoroutineType and not hasattr(coroutine, "cr_running"):
        return False
    _task_states[task] = _TaskState(host, scope)
    scope._tasks.add(task)
    return True


def release(task: asyncio.Task[Any]) -> None:
    """Undo ``adopt`` when the task has ended."""
    if AVAILABLE:
        state = _task_states.pop(task, None)
        if state is not None and state.cancel_scope is not None:
            scope = state.cancel_scope
            scope._tasks.discard(task)
            if isinstance(scope, _Own):
                scope._parent_scope._child_scopes.discard(scope)


def cancel_scope(scope: Any, driver: Driver) -> None:
    """Cancel a scope of a task of this loop, which may stand still between two runs."""
    if current_driver() is driver:
        scope.cancel()
    elif driver.alive():
        driver.call_soon_threadsafe(scope.cancel)


def of_a_scope(message: object) -> bool:
    """Whether a cancellation with this message was asked for by a scope; anyio marks its own like this."""
    return isinstance(message, str) and message.startswith("Cancelled via cancel scope ")


def native(error: BaseException) -> bool:
    """Whether a cancellation was asked for by ``task.cancel()``, and not by a scope."""
    return not (error.args and of_a_scope(error.args[0]))


def sheltered(task: asyncio.Task[Any]) -> bool:
    """Whether no scope may cancel the task now: those that would are outside a shield, or have ended."""
    state: Any = _task_states.get(task) if AVAILABLE else None
    return state is not None and (state.cancel_scope is None or not state.cancel_scope._effectively_cancelled)


def asked_natively(scope: Any) -> bool:
    """Whether the task that opened this scope was cancelled by ``task.cancel()`` since, as far as can be told.

    When a scope asks in the same turn, asyncio makes one error of both, and it looks like the scope's. But the
    requests are counted: all that are more than at the entrance and are none of the scope's own are native.
    """
    before: int | None = getattr(scope, "_cancelling_at_enter", None)
    own: int | None = getattr(scope, "_pending_uncancellations", None)
    if before is None or own is None:
        return False
    above = scope._parent_scope
    while above is not None:
        if above.cancel_called:  # they may be that one's, and it asks again by itself
            return False
        above = above._parent_scope
    cancelling: int = scope._host_task.cancelling()
    return cancelling > before + own


def shielded(task: asyncio.Task[Any], group_scope: Any) -> bool:
    """Whether the task is inside a shielded scope of its own, within the scope of its group."""
    if AVAILABLE:
        state = _task_states.get(task)
        scope = None if state is None else state.cancel_scope
        while scope is not None and scope is not group_scope:
            if scope._shield:
                return True
            scope = scope._parent_scope
    return False


def cancel_member(task: asyncio.Task[Any], group_scope: Any) -> None:
    """Cancel one task of a group by a scope of its own: anyio waits for the end of a shield without a busy loop."""
    state: Any = _task_states.get(task) if AVAILABLE else None
    inner, outer = None, None if state is None else state.cancel_scope
    while outer is not None and outer is not group_scope:
        if isinstance(outer, _Own) and outer._parent_scope is group_scope:
            return  # cancelled before
        inner, outer = outer, outer._parent_scope
    if state is None or outer is None or task.done():
        cancel_until_gone(task, group_scope)
        return
    own = _Own()
    own._parent_scope = group_scope
    group_scope._child_scopes.add(own)
    if inner is None:
        group_scope._tasks.discard(task)
        own._tasks.add(task)
        state.cancel_scope = own
    else:
        group_scope._child_scopes.discard(inner)
        own._child_scopes.add(inner)
        inner._parent_scope = own
    own.cancel()
    own._deliver_cancellation(own)  # no task entered it, so it does not do that itself


def cancel_until_gone(task: asyncio.Task[Any], group_scope: Any) -> None:
    """Cancel one task as a scope would: again in every turn of the loop, except while it is shielded."""
    if task.done():
        return
    coroutine = task.get_coro()
    # A task that has not started runs up to its first suspension, as on trio.
    started = not inspect.iscoroutine(coroutine) or inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED
    if started and task is not asyncio.current_task() and not shielded(task, group_scope):
        task.cancel()
    task.get_loop().call_soon(cancel_until_gone, task, group_scope)
