"""The mutex: one goroutine at a time, in the order in which they came.

Shape
    A flag and one queue. A release hands the lock to the one that has waited longest, without unlocking in between.

Invariants (``_check`` asserts them)
    M1  Somebody waits: the mutex is held.
    M2  A mutex without an owner may be locked in any loop, so there is nothing to check, and of ``CREDIT + 1`` locks of
        it only one asks for the task's budget, and takes ``CHARGE`` of it. With the check and the budget each time, an
        uncontended lock takes half as long again as ``asyncio.Lock``, which never yields.

Why not
    Unlock, wake one, and let it compete with newcomers (Go's normal mode, ``asyncio.Lock`` before 3.11): saves a
    switch where threads run in parallel, which they do not here, and needs a second mode against starvation.

Prior art
    Go's starvation mode, which is this; trio's ``Lock``.
"""

from __future__ import annotations

from threading import get_ident
from types import TracebackType
from typing import Final, final

import anyio

from gochan._case import Case
from gochan._core.driver import QUANTUM, Driver, LoopBound, here, threads, uninterruptible
from gochan._core.waiter import SelectEntry
from gochan._core.waitqueue import EMPTY, Entry, WaitQueue

from .primitive import Primitive, misused

CREDIT: Final = 31
CHARGE: Final = QUANTUM // 2  # so 256 locks in a row, and then a yield


class MutexState(LoopBound):
    """Everything a mutex knows."""

    __slots__ = ("credit", "held", "waiters")

    def __init__(self) -> None:
        super().__init__()
        self.credit = 0
        self.held = False
        self.waiters: WaitQueue = EMPTY

    @uninterruptible
    def hand_over(self) -> None:
        """Give the lock to whoever is next; it must be held."""
        if self.waiters.head is not None:
            self.waiters.commit_first(None)
        else:
            self.held = False

    @uninterruptible
    def take_for(self, entry: Entry, driver: Driver) -> None:
        """Lock for ``entry``, now or in its turn."""
        if self.held:
            self.waiting(driver).append(entry)
        else:
            self.held = True
            entry.commit(None)

    @uninterruptible
    def waiting(self, driver: Driver) -> WaitQueue:
        """Where those wait who want the lock."""
        self.own(driver)
        if self.waiters is EMPTY:
            self.waiters = WaitQueue()
        return self.waiters

    def own(self, driver: Driver) -> None:
        self.owner = driver
        self.credit = 0

    def forget_waiters(self) -> None:
        self.waiters = EMPTY

    def __repr__(self) -> str:
        return f"<Mutex {'locked' if self.held else 'unlocked'} waiters={len(self.waiters)}>"

    def _check(self) -> None:
        self.waiters._check()
        assert self.held or not self.waiters, "M1: somebody waits for a mutex that is free"
        assert self.owner is None or not self.credit, "M2: an owner, and nobody checks it"


@final
class Mutex(Primitive):
    """A lock that one goroutine at a time holds; use it with ``async with``.

    It is not owned, so any goroutine may release it, and not re-entrant: who acquires it twice waits for itself, which
    shows as ``sync.Mutex.Lock`` in dumps, leaks and deadlocks.

    Go: ``sync.Mutex``. The wrong release is an exception instead of the end of the program, waiting can be cancelled
    and selected over, and nobody ever goes before those who wait.

    Example:
        >>> import gochan
        >>> async def main() -> int:
        ...     mutex, total = gochan.Mutex(), 0
        ...     async def add(n: int) -> None:
        ...         nonlocal total
        ...         async with mutex:
        ...             before = total
        ...             await gochan.sleep(0)
        ...             total = before + n
        ...     async with gochan.Group() as group:
        ...         for n in range(5):
        ...             group.go(add, n)
        ...     return total
        >>> gochan.run(main)
        10
    """

    __slots__ = ()

    _state: MutexState

    def __init__(self) -> None:
        self._state = MutexState()

    @uninterruptible
    async def acquire(self) -> None:
        """Wait until the mutex is free for this goroutine, and hold it.

        Cancellation: all or nothing. A cancelled acquire does not hold the mutex; one that got it returns normally.
        Fairness: first come, first served, together with select cases; nobody goes before those who wait.
        Go: ``mu.Lock()``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     mutex = gochan.Mutex()
            ...     await mutex.acquire()
            ...     try:
            ...         print(mutex.locked())
            ...     finally:
            ...         mutex.release()
            >>> gochan.run(main)
            True
        """
        state = self._state
        if state.credit and not state.held:  # M2
            state.credit -= 1
            state.held = True
            return
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        if state.owner is None and driver.budget:  # none is left where every operation shall ask (``explore``)
            state.credit = CREDIT
            driver.budget = max(driver.budget - CHARGE, 0)
        if state.held:
            await driver.park(state.waiting(driver))
        else:
            state.held = True

    __aenter__ = acquire

    @uninterruptible
    def acquire_nowait(self) -> None:
        """Hold the mutex if it is free.

        Raises:
            anyio.WouldBlock: it is held.

        Go: ``mu.TryLock()``.
        """
        state = self._state
        if state.owner is not None:
            state.check()
        if state.held:
            raise anyio.WouldBlock
        state.held = True

    @uninterruptible
    def release(self) -> None:
        """Hand the mutex to whoever has waited longest, or let it be free. Any goroutine may do it.

        Raises:
            RuntimeError: the mutex is unlocked; nothing has changed.

        Go: ``mu.Unlock()``.
        """
        state = self._state
        if state.owner is not None:
            driver = state.driver
            if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
                state.check()
            if state.waiters.head is not None:
                state.waiters.commit_first(None)
                return
        if not state.held:
            raise misused("release of an unlocked mutex", "nobody holds it", state)
        state.held = False

    @uninterruptible
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def locked(self) -> bool:
        """Whether somebody holds the mutex; works anywhere."""
        return self._state.held

    def acquiring(self) -> Case[None]:
        """The case of a select that acquires the mutex; when it is chosen, the mutex is held.

        Go: nothing alike; people take a channel of capacity 1 for a mutex.
        """
        return _AcquireCase(self._state)


class _AcquireCase(Case[None]):
    __slots__ = ()

    _state: MutexState

    def __init__(self, state: MutexState) -> None:
        self._state = state

    def _ready(self) -> bool:
        return not self._state.held

    def _take(self) -> None:
        self._state.held = True

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        self._state.waiting(driver).append(entry)
