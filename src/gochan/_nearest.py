"""The nearest group: where ``go``, and whoever starts a goroutine for a user, puts it.

It stands below ``Group``, so that what groups are made of (a Context) can start goroutines, too.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from types import FrameType
from typing import Any, Protocol

from ._goroutine import Goroutine


class Nearest(Protocol):
    """What is asked of a group by those who only know that there is one."""

    @property
    def _parent(self) -> Nearest | None:
        """The group around it."""
        ...

    def _usable(self) -> bool:
        """Whether a goroutine can be started in it, here and now."""
        ...

    def _go(
        self, fn: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], name: str | None, caller: FrameType
    ) -> Goroutine[Any]:
        """Start a goroutine that was made where ``caller`` is."""
        ...

    def _go_beside(
        self, fn: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], name: str | None, caller: FrameType
    ) -> Goroutine[Any]:
        """Start one that takes no place of a limit: those who hold the places wait for what it does."""
        ...

    def _fail(self, error: BaseException) -> None:
        """Let it end as if a goroutine of it had failed."""
        ...


current: ContextVar[Nearest | None] = ContextVar("gochan_group", default=None)


def current_group() -> Nearest | None:
    """The nearest group that can take a goroutine here."""
    group = current.get()
    while group is not None and not group._usable():
        group = group._parent
    return group
