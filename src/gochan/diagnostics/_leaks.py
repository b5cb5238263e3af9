"""``find_leaks``: the goroutines that can never wake."""

from __future__ import annotations

import gc

from gochan._core.waiter import PARKED

from ._goroutines import GoroutineInfo, describe
from ._reach import Parked, wakeable
from ._tasks import running_world


def find_leaks() -> list[GoroutineInfo]:
    """The goroutines that provably can never wake, while everything else runs on.

    Each is blocked in an operation of gochan, and nobody alive can reach anything that it waits for. Timers, threads,
    sockets, signal handlers, callbacks of the loop, and whatever holds a reference that cannot be seen count as
    alive; weak references do not. That somebody could cancel a goroutine is no way to wake: its handle and its group
    may be held. main is never reported.

    It takes milliseconds, more if the goroutines reach much, and may run the garbage collector.

    Raises:
        RuntimeError: no event loop runs in this thread.

    Go: the ``goroutineleak`` profile.

    Example:
        >>> import gochan, gochan.diagnostics
        >>> async def main() -> None:
        ...     gochan.go(gochan.Channel[int]().receive, name="worker")
        ...     await gochan.sleep(0.01)
        ...     for leak in gochan.diagnostics.find_leaks():
        ...         print(leak.name, leak.state)
        >>> gochan.run(main, leaks="ignore")
        worker chan receive
    """
    stuck, doubtful = _stuck()
    if doubtful:
        # What is garbage already may still hold their channels.
        gc.collect()
        stuck, _ = _stuck()
    return described(stuck)


def stuck_now() -> list[GoroutineInfo]:
    """The same without running the garbage collector: what only garbage still refers to is not found."""
    stuck, _ = _stuck()
    return described(stuck)


def described(stuck: set[int]) -> list[GoroutineInfo]:
    if not stuck:
        return []
    world = running_world()
    return [describe(task, world) for task in world.tasks if id(task.native) in stuck]


def _stuck() -> tuple[set[int], bool]:
    """The tasks that cannot be woken, by id, and whether there are others that are parked."""
    parked = _parked()
    if all(one.main for one in parked):
        return set(), False
    wakeable(parked)
    return {id(one.task) for one in parked if not one.awake and not one.main}, any(one.awake for one in parked)


def _parked() -> list[Parked]:
    found: list[Parked] = []
    for task in running_world().tasks:
        waiter = task.waiting().waiter
        if waiter is not None and waiter.state == PARKED:
            found.append(Parked(task.native, waiter, task.goroutine, task.main))
    return found
