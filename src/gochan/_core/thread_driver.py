"""How an operation waits in a plain thread, outside the loop.

Shape
    The thread makes a waiter, posts "try, or publish this waiter" to the loop and sleeps on a lock that the commit
    releases. Everything that touches a queue happens in the loop's thread, so the state machines need no locks.
    Posts are batched: one ``call_soon_threadsafe`` carries all that were posted before the loop gets to it.

Invariants
    T1  A thread that posted is woken exactly once: by a commit, by its own withdrawal, or by the end of the run.
    T2  A time-out does not decide anything: the thread asks the loop to withdraw, and the loop's answer holds.
        Posts are run in order, so the withdrawal never overtakes the operation.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from threading import Lock, get_ident
from time import monotonic
from typing import Any, Final

from .driver import Driver, current_driver
from .waiter import CANCELLED, COMMITTED, PARKED, Waiter

# Seconds. A commit wakes the thread at once. A loop that is closed by hand, without the end that every runner gives it,
# tells nobody, so a thread that waits looks now and then whether it is still there.
LOOK: Final = 1.0


class ThreadWaiter(Waiter):
    """An operation that a plain thread waits for."""

    __slots__ = ("error", "woken")

    def __init__(self, item: Any = None) -> None:
        self.item = item
        self.queue = None
        self.entries = None
        self.state = PARKED
        self.since = 0.0
        self.error: BaseException | None = None
        self.woken = Lock()
        self.woken.acquire()

    def commit(self, value: Any) -> None:
        # The lock comes last: the thread reads what was written before it.
        self.state = COMMITTED
        self.item = value
        self.woken.release()

    def give_up(self, error: BaseException | None = None) -> None:
        """Withdraw unless it is committed (T2); in the loop's thread."""
        if self.state == PARKED:
            self.withdraw()
            self.state = CANCELLED
            self.error = error
            self.woken.release()


class Bridge:
    """The way from plain threads into one event loop."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.lock = Lock()
        self.posts: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.waiting: set[ThreadWaiter] = set()
        self.scheduled = False
        self.ended = False
        self.watched = False
        if current_driver() is driver:
            self._watch()

    def _watch(self) -> None:
        if not self.watched:
            self.watched = True
            self.driver.at_end(self.end)

    def wait(self, start: Callable[[ThreadWaiter], object], item: Any, timeout: float | None) -> Any:
        """Run ``start`` in the loop and wait for what becomes of its waiter; TimeoutError with nothing done."""
        seconds = -1.0 if timeout is None else _seconds(timeout)
        if current_driver() is self.driver:
            raise RuntimeError(
                "a blocking operation in the event loop's own thread would stop the loop: await the channel instead"
            )
        if self.driver.ident == get_ident() and not self.driver.running():
            raise RuntimeError(
                "a blocking operation in the thread of an event loop that does not run would wait for ever: use it "
                "from another thread"
            )
        waiter = ThreadWaiter(item)
        with self.lock:
            if self.ended or not self.driver.alive():
                raise RuntimeError("the event loop of this channel has ended")
            self.waiting.add(waiter)
        try:
            self.post(self._start, start, waiter)
            if not self._sleep(waiter, seconds):
                self.post(waiter.give_up, TimeoutError(f"timed out after {seconds:g} s"))
                self._sleep(waiter, -1)
        except BaseException:
            self._abandon(waiter)
            raise
        finally:
            with self.lock:
                self.waiting.discard(waiter)
        if waiter.error is not None:
            raise waiter.error
        return waiter.item

    def _sleep(self, waiter: ThreadWaiter, seconds: float) -> bool:
        """Until the waiter is woken, or the time has passed."""
        until = None if seconds < 0 else monotonic() + seconds
        while True:
            left = LOOK if until is None else min(until - monotonic(), LOOK)
            if waiter.woken.acquire(timeout=max(left, 0)):
                return True
            if until is not None and monotonic() >= until:
                return False
            if not self.driver.alive():
                self.end()

    def _start(self, start: Callable[[ThreadWaiter], object], waiter: ThreadWaiter) -> None:
        # What the operation raises in the loop is the thread's, not the loop's.
        try:
            start(waiter)
        except BaseException as error:
            waiter.give_up(error)

    def _abandon(self, waiter: ThreadWaiter) -> None:
        try:
            self.post(waiter.give_up)
        except RuntimeError:
            pass  # the loop has ended, and its queues with it

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Run ``fn`` in the loop's thread, after all that was posted before."""
        with self.lock:
            self.posts.append((fn, args))
            if self.scheduled or self.ended:
                return
            self.scheduled = True
        try:
            self.driver.call_soon_threadsafe(self.drain)
        except RuntimeError:
            self.end()

    def drain(self) -> None:
        self._watch()
        with self.lock:
            self.scheduled = False
            count = len(self.posts)
        for _ in range(count):
            fn, args = self.posts.popleft()
            fn(*args)

    def end(self) -> None:
        """The run is over: nobody will commit anything any more (T1)."""
        with self.lock:
            self.ended = True
            self.posts.clear()
            left = list(self.waiting)
        for waiter in left:
            waiter.give_up(RuntimeError("the event loop of this channel has ended"))


def _seconds(timeout: float) -> float:
    """A time-out that a lock takes, checked before anything is done."""
    if not isinstance(timeout, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]  # users without a checker
        raise TypeError(f"timeout is a number of seconds or None, not {timeout!r}")
    if math.isnan(timeout):
        raise ValueError("timeout is a number of seconds, not NaN")
    return -1.0 if timeout == math.inf else max(float(timeout), 0.0)


def bridge_of(driver: Driver) -> Bridge:
    """The driver's bridge; one serves every view of every channel."""
    bridge: Bridge | None = driver.bridge
    if bridge is None:
        bridge = driver.bridge = Bridge(driver)
    return bridge


__all__ = ["Bridge", "ThreadWaiter", "bridge_of"]
