"""A group's place in the tree of contexts: it ends with the one above it, and the one below ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._context import CancelContext, Context, background, check_context
from ._context_node import Hook, Node, fresh_err
from ._errors import ContextError

if TYPE_CHECKING:
    from ._group import Group


class GroupContext(Hook):
    """Both links of one group."""

    __slots__ = ("above", "below", "error", "group")

    def __init__(self, above: Context | None, group: Group) -> None:
        if above is not None:
            check_context(above, "Group(ctx=...)")
        self.above = above
        self.below: CancelContext | None = None  # made when somebody asks for it
        self.error: ContextError | None = None  # of the one above, if that ended the group
        self.group: Group | None = group

    def follow(self) -> None:
        """The group has begun."""
        node = None if self.above is None else self.above._node
        if isinstance(node, Node):
            node.own(node.enter())  # who ends it from elsewhere would cancel tasks of this loop
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
            group._errors.append(self.error)
            group._stop(above.cause)

    def leave(self) -> None:
        """The group has ended."""
        self.group = None
        node = None if self.above is None else self.above._node
        if isinstance(node, Node):
            node.detach(self)

    def context(self) -> CancelContext:
        """The one below."""
        if self.below is None:
            self.below = (self.above or background()).with_cancel()
        return self.below

    def end(self, cause: BaseException | None) -> None:
        """The group is stopped, or has ended."""
        # Made later, below one that is done by then, it would tell of that one's end.
        if self.below is not None or self.above is not None:
            self.context().cancel(cause)
