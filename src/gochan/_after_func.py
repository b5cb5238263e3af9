"""What ``Context.after_func`` registers: a function of a user's, and where it runs.

Invariants
    F1  It runs once, or never if ``stop`` said True.
    F2  What it raises reaches the group in which it was registered, as a goroutine's failure would: neither whoever
        cancelled, nor the other functions.
"""

from __future__ import annotations

import inspect
from contextvars import Context, copy_context
from types import CodeType, FrameType
from typing import Any, cast

from ._callables import _is_async
from ._context_node import Hook, Never, Node
from ._core.asyncio_driver import AsyncioDriver
from ._core.driver import current_driver
from ._nearest import Nearest, current_group


class _Place:
    """Where a goroutine was made, without the frame: that would keep its locals alive."""

    __slots__ = ("f_code", "f_lasti")

    def __init__(self, caller: FrameType) -> None:
        self.f_code: CodeType = caller.f_code
        self.f_lasti: int = caller.f_lasti


class AfterFunc(Hook):
    """One function that waits for the end of a context."""

    __slots__ = ("_context", "_fn", "_group", "_node", "_place")

    runs_users_code = True

    _fn: Any
    _node: Node | Never | None  # until it runs or is stopped

    def __init__(self, node: Node | Never, fn: Any, caller: FrameType) -> None:
        if not callable(fn):
            if inspect.iscoroutine(fn):
                fn.close()
                raise TypeError("after_func() takes a function, not a coroutine: leave out the call")
            raise TypeError(f"after_func() takes a function without arguments, not {fn!r}")
        self._fn = fn
        self._group: Nearest | None = current_group()
        self._place: _Place | None = None
        if _is_async(fn):
            if self._group is None:
                raise RuntimeError(
                    "after_func() with an async function outside a group: it needs a group to run in. Start the "
                    "program with gochan.run(main), open 'async with gochan.Group():' around the call, or give a "
                    "plain function"
                )
            node.own(node.enter())  # who cancels from elsewhere could not start it
            self._place = _Place(caller)
        # As with call_soon and add_done_callback: the context variables are those of the registration.
        self._context: Context = copy_context()
        self._node = node
        if isinstance(node, Node):
            if node.fired:
                self.fire()
            else:
                node.may_change()
                node.attach(self)

    def stop(self) -> bool:
        """Keep the function from running.

        Returns:
            Whether this call did so; not if the function has run or is about to, or was stopped before.
        """
        node = self._node
        if node is None:
            return False
        if isinstance(node, Node):
            if node.fired:  # marked, and on its way to this one
                return False
            node.may_change()
            node.detach(self)
        self._node = None
        return True

    def fire(self) -> None:
        self._node = None
        group = self._group
        if self._place is None:
            try:
                self._context.run(self._call)
            except BaseException as error:
                self._failed(error)
        elif group is not None and group._usable():
            self._context.run(group._go, self._fn, (), None, cast(FrameType, self._place))

    def _call(self) -> None:
        result = self._fn()
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(
                f"{self._fn!r}, given to after_func(), is no async function but returned a coroutine: give the async "
                "function itself, or functools.partial of it and its arguments"
            )

    def _failed(self, error: BaseException) -> None:
        """F2."""
        group = self._group
        if group is not None and group._usable():
            group._fail(error)
        elif not isinstance(error, Exception):
            raise error
        else:
            driver = current_driver()
            if isinstance(driver, AsyncioDriver):
                message = f"{self._fn!r}, given to after_func(), failed"
                driver.loop.call_exception_handler({"message": message, "exception": error})
            else:
                _FailedAfterFunc(error)


class _FailedAfterFunc:
    """What raises in a finalizer goes to ``sys.unraisablehook``; there is no other way to call that."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __del__(self) -> None:
        raise self.error
