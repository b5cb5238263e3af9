"""``go`` starts a goroutine in the nearest group; ``sleep`` is there for those who look for it beside it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from sys import _getframe
from typing import Any, TypeVar

import anyio
from typing_extensions import TypeVarTuple, Unpack

from ._goroutine import Goroutine
from ._group import Group, current

T = TypeVar("T")
Args = TypeVarTuple("Args")


def current_group() -> Group | None:
    """The nearest group that can take a goroutine here."""
    group = current.get()
    while group is not None and not group._usable():
        group = group._parent
    return group


def go(fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T]], *args: *Args, name: str | None = None) -> Goroutine[T]:
    """Start ``fn(*args)`` as a goroutine of the nearest enclosing ``Group`` or ``run``.

    Raises:
        RuntimeError: there is none.
        TypeError: ``fn`` is not an async function.

    Go: ``go f(args)``. It cannot be lost: whoever owns the group waits for it, and gets its failure.
    """
    group = current_group()
    if group is None:
        raise RuntimeError(
            "go() outside a group: start the program with gochan.run(main), or open 'async with gochan.Group():' "
            "around the code that starts goroutines"
        )
    return group._go(fn, args, name, _getframe(1))


async def sleep(seconds: float) -> None:
    """Wait for so many seconds.

    Cancellation: ends the wait.
    Go: ``time.Sleep``.

    Example:
        >>> import gochan
        >>> gochan.run(gochan.sleep, 0.001)
    """
    await anyio.sleep(seconds)
