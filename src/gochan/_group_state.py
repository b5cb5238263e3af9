"""Who waits in a group: goroutines and ``go_when_free`` for a place under the limit, the host for the end."""

from __future__ import annotations

from collections.abc import Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from ._core.driver import LoopBound
from ._core.waitqueue import Entry, WaitQueue
from ._goroutine import Goroutine
from ._group_tasks import start

if TYPE_CHECKING:
    from ._group import Group


class Pending(Entry):
    """A ``go`` above the limit: committed, it starts."""

    __slots__ = ("context", "coroutine", "goroutine", "group")

    def __init__(
        self, group: Group, goroutine: Goroutine[Any], coroutine: Coroutine[Any, Any, Any], context: Context
    ) -> None:
        self.group = group
        self.goroutine = goroutine
        self.coroutine = coroutine
        self.context = context
        self.queue = None

    def commit(self, value: Any) -> None:
        if value is None:
            start(self.group, self.goroutine, self.coroutine, self.context)
        else:
            self.group._refuse(self.goroutine, self.coroutine)


STOPPED: Final = object()


class GroupState(LoopBound):
    """Who waits for a place, and the host that waits for the end."""

    __slots__ = ("host", "places")

    def __init__(self) -> None:
        super().__init__()
        self.places = WaitQueue()
        self.host = WaitQueue()

    def forget_waiters(self) -> None:
        self.places, self.host = WaitQueue(), WaitQueue()

    def __repr__(self) -> str:
        return "<Group>"
