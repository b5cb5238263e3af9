"""``go`` starts a goroutine in the nearest group; ``sleep`` is there for those who look for it beside it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from sys import _getframe
from typing import Any, TypeVar

from typing_extensions import TypeVarTuple, Unpack

from ._core.driver import current_driver
from ._goroutine import Goroutine
from ._nearest import current_group
from ._seconds import duration

T = TypeVar("T")
Args = TypeVarTuple("Args")


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
    """Wait for so many seconds; for 0 or fewer, let everybody else have a turn.

    Args:
        seconds: ``math.inf`` is for ever.

    Raises:
        RuntimeError: no event loop runs here.
        TypeError, ValueError: no number of seconds.

    Cancellation: ends the wait.
    Go: ``time.Sleep``.

    Example:
        >>> import gochan
        >>> gochan.run(gochan.sleep, 0.001)
    """
    seconds = duration(seconds, "the time of a sleep")
    driver = current_driver()
    if driver is None:
        raise RuntimeError("sleep() was awaited outside an event loop: await it in a task of asyncio or trio")
    if seconds > 0:
        await driver.sleep_until(driver.clock() + seconds)
    else:
        await driver.yield_once()
