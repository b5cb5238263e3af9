"""``wait_idle`` and ``sleep``: until everything else has done what it can."""

from __future__ import annotations

import anyio

from ._world import world_here


async def wait_idle() -> None:
    """Wait until every other goroutine, and every other task, waits for something that only they can bring about.

    The clock does not move meanwhile. What waits for a socket or a thread is waited for.

    Raises:
        RuntimeError: outside ``testing.run``, or another goroutine is in ``wait_idle`` already.

    Cancellation: ends the wait.
    Go: ``synctest.Wait``.

    Example:
        >>> import gochan, gochan.testing
        >>> async def main() -> list[str]:
        ...     done = list[str]()
        ...     async def work() -> None:
        ...         done.append("all of it")
        ...     gochan.go(work)
        ...     await gochan.testing.wait_idle()
        ...     return done
        >>> gochan.testing.run(main)
        ['all of it']
    """
    world, driver = world_here("wait_idle()")
    if world.idlers.head is not None:
        raise RuntimeError("another goroutine is in wait_idle() already: each would wait for the other")
    await driver.park(world.idlers)


async def sleep(seconds: float) -> None:
    """Sleep, then wait until everything that happens at that time has happened.

    Raises:
        RuntimeError: as ``wait_idle``.

    Cancellation: ends the wait.
    Go: ``synctest.Sleep``: of two timers of one time, either may fire first.
    """
    world_here("testing.sleep()")
    await anyio.sleep(seconds)
    await wait_idle()
