"""``testing.run``: a program in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from typing_extensions import TypeVarTuple, Unpack

from ._strategies import schedule_of
from ._world import execute

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run(
    fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T]],
    *args: *Args,
    backend: Literal["asyncio", "trio"] = "asyncio",
    seed: int | str | None = None,
) -> T:
    """Run ``fn(*args)`` in virtual time: an hour of timers passes in milliseconds, and a deadlock is an error at once.

    Args:
        backend: the event loop's library; ``"trio"`` must be installed.
        seed: what the order of ready tasks, of ready cases and of equal deadlines is drawn from; ``None`` gives every
            task its turn. The same seed gives the same run, in every process. The seed of a ``ScheduleFailure`` gives
            the run that failed.

    Returns:
        What ``fn`` returned, when every goroutine has ended.

    Raises:
        Deadlock: everything waits, and no timer is armed, or ``fn`` has returned and time stands still.
        BaseException: what ``fn`` raised, bare; its goroutines are cancelled.
        ExceptionGroup: a goroutine failed.
        RuntimeError: called inside a running event loop.
        TypeError: ``fn`` is not an async function, or the seed is neither a number nor a text.
        ValueError: the backend is unknown, or the seed is one of another backend or version.

    The clock starts at 0 and moves when every task waits: to the next timer, whatever armed it (gochan, anyio, asyncio,
    trio). What waits for a socket, a thread or a subprocess is waited for in real time, and timers then fire in real
    time, too. ``go`` works as under ``gochan.run``.

    Go: ``synctest.Test``, except that a goroutine that waits for a Mutex counts as blocked for good as well.

    Example:
        >>> import anyio, gochan.testing
        >>> async def main() -> float:
        ...     await anyio.sleep(3600)
        ...     return anyio.current_time()
        >>> gochan.testing.run(main)
        3600.0
    """
    if backend not in ("asyncio", "trio"):
        raise ValueError(f"backend is 'asyncio' or 'trio', not {backend!r}")
    return execute(fn, args, backend, schedule_of(seed, backend))
