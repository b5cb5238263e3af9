"""``Context.scope()``: a context's end becomes the cancellation of one task's block.

Invariants
    S1  The scope is among the hooks of the node exactly while its block runs and the context is not done.
    S2  The error is raised only where the block was ended by this scope, and by nothing else: other exceptions, also
        those in a group beside the cancellation, go first.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import cast

import anyio

from ._context_node import Hook, Never, Node, fresh_err
from ._core.driver import Driver, uninterruptible
from ._core.scopes import cancel_scope


class _Link(Hook):
    __slots__ = ("driver", "scope")

    def __init__(self, scope: anyio.CancelScope, driver: Driver) -> None:
        self.scope = scope
        self.driver = driver

    def fire(self) -> None:
        cancel_scope(self.scope, self.driver)


class Scope(AbstractAsyncContextManager[None]):
    """One block of one task."""

    __slots__ = ("_link", "_node", "_scope")

    def __init__(self, node: Node | Never) -> None:
        self._node = node
        self._scope: anyio.CancelScope | None = None
        self._link: _Link | None = None

    @uninterruptible
    async def __aenter__(self) -> None:
        if self._scope is not None:
            raise RuntimeError("this scope has been entered before: call ctx.scope() for each block")
        node = self._node
        driver = node.enter()
        node.own(driver)  # who ends it from elsewhere would cancel a task of this loop
        self._scope = scope = anyio.CancelScope()
        scope.__enter__()
        if node.fired:
            scope.cancel()
        elif isinstance(node, Node):
            self._link = _Link(scope, driver)
            node.attach(self._link)

    @uninterruptible
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope, node = self._scope, self._node
        if scope is None:
            raise RuntimeError("this scope was never entered")
        if self._link is not None and isinstance(node, Node):
            node.detach(self._link)
            self._link = None
        try:
            # trio's scopes say True of a block that ended without an exception, too.
            if not scope.__exit__(kind, error, traceback) or error is None:
                return False
            assert isinstance(node, Node)
            # Older versions of anyio take a whole group for cancelled if one of its errors is.
            if isinstance(error, BaseExceptionGroup):
                group = cast("BaseExceptionGroup[BaseException]", error)
                rest = group.split(anyio.get_cancelled_exc_class())[1]
                if rest is not None:
                    raise rest
            raise fresh_err(node)
        finally:
            del error, kind, traceback
