"""A group's place in the tree of contexts: it ends with the one above it, and the one below ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._context import CancelContext, Context, background, check_context
from ._context_node import Hook, Node, fresh_err
from ._core.driver import Driver
from ._errors import ContextError

if TYPE_CHECKING:
    from ._group import Group


class GroupContext(Hook):
    """Both links of one group."""

    __slots__ = ("above", "below", "driver", "error", "group")

    def __init__(self, above: Context | None, group: Group) -> None:
        if above is not None:
            check_context(above, "Group(ctx=...)")
        self.above = above
        self.below: CancelContext | None = None  # made when somebody asks for it
        self.error: ContextError | None = None  # of the one above, if that ended the group
        self.group: Group | None = group
        self.driver: Driver | None = None  # while the group runs

    def claim(self, driver: Driver) -> None:
        """Make both the loop's, before the group begins: who ended one from elsewhere would cancel tasks of it."""
        for context in (self.above, self.below):
            if context is not None:
                node = context._node
                node.own(node.enter())
        self.driver = driver

    def follow(self) -> None:
        """The group has begun."""
        node = None if self.above is None else self.above._node
        if isinstance(node, Node):
            if node.fired:
                self.fire()
            else:
                node.attach(self)

    def fire(self) -> None:
        """The context above is done: the group raises its error."""
        group, above = self.group, self.above
        if group is not None and above is not None and not group._stopped:
            assert isinstance(above._node, Node)
            self.error = fresh_err(above._node)
            group._errors[id(self.error)] = self.error
            group._stop(above.cause)

    def leave(self) -> None:
        """The group has ended."""
        self.group = self.driver = None
        node = None if self.above is None else self.above._node
        if isinstance(node, Node):
            node.detach(self)

    def context(self) -> CancelContext:
        """The one below."""
        if self.below is None:
            self.below = (self.above or background()).with_cancel()
            if self.driver is not None:
                self.below._node.own(self.driver)
        return self.below

    def own_err(self) -> ContextError | None:
        """Why the one below is done, as all below it know it."""
        node = None if self.below is None else self.below._node
        return node.outcome[0] if isinstance(node, Node) and node.outcome is not None else None

    def end(self, cause: BaseException | None) -> None:
        """The group is stopped, or has ended."""
        # Made later, below one that is done by then, it would tell of that one's end.
        if self.below is not None or self.above is not None:
            self.context().cancel(cause)
