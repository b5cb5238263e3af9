"""``no_leaks``: nothing that a block of code started may outlive it.

Prior art: go.uber.org/goleak, its retry and its options.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar, Token
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, final
from weakref import WeakSet

import anyio

from gochan._core.driver import current_driver

from ._errors import LeakError, leak_text
from ._goroutines import GoroutineInfo, describe
from ._stack import function_of
from ._tasks import World, _asyncio_tasks, running_world

_FIRST: Final = 1e-6  # seconds; goleak's steps, doubled each time
_LONGEST: Final = 0.1

# What ``run`` found to be leaked within a plain ``with no_leaks()``; None outside of one.
found_by_run: ContextVar[list[GoroutineInfo] | None] = ContextVar("gochan_no_leaks", default=None)


@final
class no_leaks:  # noqa: N801  # a context manager, named as one is
    """Fail when goroutines, or other tasks, that were started in the block are still there at its end.

    ``async with`` looks at the running loop. A plain ``with`` is for code that runs loops itself: it looks for tasks
    that a loop was left with, and for goroutines that ``gochan.run`` found to be stuck for ever when main returned.

    Args:
        within: seconds that they are given to end; a loop of gochan's tests counts its virtual time.
        ignore_current: what ran when the block began does not count.
        ignore_names: goroutines of these names do not count.
        ignore_functions: nor do those with one of these functions on their stack; functions, or their qualified names.
        ignore_created_by: nor do those that one of these functions started.

    Raises:
        LeakError: some are left; with where each was made and what it waits for. Not when the block was left by an
            exception already.
        RuntimeError: ``with`` inside a running loop, or ``async with`` outside.

    Go: ``goleak.VerifyNone``, with ``IgnoreCurrent``, ``IgnoreAnyFunction`` and ``IgnoreCreatedBy``.

    Example:
        >>> import gochan
        >>> from gochan.diagnostics import no_leaks
        >>> async def main() -> None:
        ...     async with no_leaks():
        ...         await gochan.go(gochan.sleep, 0.001).result()
        >>> gochan.run(main)
    """

    def __init__(
        self,
        *,
        within: float = 1.0,
        ignore_current: bool = True,
        ignore_names: Collection[str] = (),
        ignore_functions: Collection[Callable[..., object] | str] = (),
        ignore_created_by: Collection[Callable[..., object] | str] = (),
    ) -> None:
        self._within = within
        self._ignore_current = ignore_current
        self._names = frozenset(ignore_names)
        self._functions = frozenset(map(_name, ignore_functions))
        self._creators = frozenset(map(_name, ignore_created_by))
        self._numbers = frozenset[int]()
        self._tasks = WeakSet[asyncio.Task[Any]]()
        self._token: Token[list[GoroutineInfo] | None] | None = None

    # Inside a loop.

    async def __aenter__(self) -> Self:
        tasks = running_world().tasks
        self._numbers = frozenset(task.id for task in tasks if self._ignore_current or task.current or task.main)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            return
        until = anyio.current_time() + self._within
        step = _FIRST
        while left := self._left_here():
            if anyio.current_time() >= until:
                raise LeakError(leak_text("outlived the block", left), left)
            await anyio.sleep(step)
            step = min(step * 2, _LONGEST)

    def _left_here(self) -> list[GoroutineInfo]:
        world = running_world()
        left = (task for task in world.tasks if task.id not in self._numbers and not task.current)
        return self._counted(describe(task, world) for task in left)

    # Around loops.

    def __enter__(self) -> Self:
        if current_driver() is not None:
            raise RuntimeError(
                "'with no_leaks()' is for code that runs loops itself; inside one: 'async with no_leaks()'"
            )
        if self._ignore_current:
            self._tasks = WeakSet(_unfinished())
        self._token = found_by_run.set([])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stuck = found_by_run.get() or []
        if self._token is not None:
            found_by_run.reset(self._token)
        if error is not None:
            return
        stuck = self._counted(stuck)
        until = time.monotonic() + self._within
        step = _FIRST
        while left := [task for task in _unfinished() if task not in self._tasks]:
            # Of loops in other threads, some may end yet.
            if time.monotonic() >= until or not any(task.get_loop().is_running() for task in left):
                stuck += self._counted(_described(left))
                break
            del left
            time.sleep(step)
            step = min(step * 2, _LONGEST)
        if stuck:
            raise LeakError(leak_text("outlived the block", stuck), stuck)

    def _counted(self, infos: Collection[GoroutineInfo] | Iterator[GoroutineInfo]) -> list[GoroutineInfo]:
        return [info for info in infos if not self._ignored(info)]

    def _ignored(self, info: GoroutineInfo) -> bool:
        return (
            info.name in self._names
            or (info.created_by is not None and _is_one_of(info.created_by.function, self._creators))
            or any(_is_one_of(frame.function, self._functions) for frame in info.stack)
        )


def _is_one_of(function: str, names: frozenset[str]) -> bool:
    return any(function == name or function.endswith(f".{name}") for name in names)


def _name(function: Callable[..., object] | str) -> str:
    """As it stands in a stack."""
    if isinstance(function, str):
        return function
    code: Any = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        raise TypeError(f"no_leaks() ignores functions of Python or their qualified names, not {function!r}")
    return function_of(code)


def _unfinished() -> list[asyncio.Task[Any]]:
    """All tasks of asyncio that have not ended, in open loops."""
    tasks: list[Any] = [one for one in gc.get_objects() if issubclass(type(one), asyncio.Task)]
    return [task for task in tasks if not task.done() and not task.get_loop().is_closed()]


def _described(tasks: list[asyncio.Task[Any]]) -> Iterator[GoroutineInfo]:
    for loop in {task.get_loop() for task in tasks}:
        world = World(list(_asyncio_tasks(loop)), getattr(loop, "_gochan_driver", None), loop.time)
        for task in world.tasks:
            if task.native in tasks:
                # No task of a loop that was left is its main one.
                yield replace(describe(task, world), name=task.name)
