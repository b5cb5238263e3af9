"""The weighted semaphore: so much of something, handed out in amounts.

Shape
    A count and one queue. Who does not fit waits at its end; a release lets in from the front as long as they fit.

Invariants (``_check`` asserts them)
    S1  ``held >= 0``; it is above the size only after the semaphore was made smaller.
    S2  The first in line does not fit: ``held + n > size``. So a large request is not starved by small ones behind it.
        (Of a select that stands there with several requests, none fits.)
    S3  Whoever waits asks for no more than the size: when it is made smaller, the others are told.

Why not
    A semaphore of ones, taken one after the other: two large requests may each hold a half for ever.

Prior art
    Go's x/sync/semaphore; marusama/semaphore for the size that changes.
"""

from __future__ import annotations

from threading import get_ident
from types import TracebackType
from typing import Any, Final, final

import anyio

from gochan._case import Case
from gochan._core.driver import Driver, LoopBound, here, threads, uninterruptible
from gochan._core.waiter import SelectEntry
from gochan._core.waitqueue import EMPTY, Entry, WaitQueue, WatchedQueue

from .primitive import Primitive
from .settling import settle

TOO_LARGE: Final = object()  # what a request is given that the size has become too small for


def checked(n: object, what: str) -> int:
    """An amount; TypeError or ValueError if it is none."""
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"{what} of a semaphore is an int, not {n!r}")
    if n < 0:
        raise ValueError(f"{what} of a semaphore cannot be negative: {n!r}")
    return n


class SemaphoreState(LoopBound):
    """Everything a semaphore knows."""

    __slots__ = ("held", "size", "waiters")

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.held = 0
        self.waiters: WaitQueue = EMPTY

    # Committing now.

    def request(self, n: object) -> int:
        """An amount that can be asked for."""
        n = checked(n, "the amount to acquire")
        if n > self.size:
            raise self.too_large(n)
        return n

    def too_large(self, n: int) -> ValueError:
        return ValueError(f"{n} is more than the size of {self!r}, and could never be acquired")

    def fits(self, n: int) -> bool:
        """Whether so much can be had at once; not before those who wait."""
        return self.waiters.head is None and self.held + n <= self.size

    @uninterruptible
    def release(self, n: int) -> None:
        if n > self.held:
            raise RuntimeError(f"semaphore released more than held: release({n}) of {self!r}; nothing has changed")
        self.held -= n
        if self.waiters.head is not None:
            settle(self)

    @uninterruptible
    def resize(self, size: int) -> None:
        self.size = size
        entry = self.waiters.head
        refused = list[Entry]()
        while entry is not None:
            if entry.item > size:
                refused.append(entry)
            entry = entry.next
        for entry in refused:
            # An earlier one may be of the same select, which has taken this one out.
            if entry.queue is self.waiters:
                self.waiters.remove(entry)
                entry.commit(TOO_LARGE)
        if self.waiters.head is not None:
            settle(self)

    @uninterruptible
    def let_in(self) -> None:
        """Grant what can be granted; the state is in order before each grant, which may come back here."""
        while (entry := self.next()) is not None:
            self.held += entry.item
            self.waiters.remove(entry)
            entry.commit(None)

    def next(self) -> Entry | None:
        """The first in line, if it fits; of a select that stands there with several requests, the first that does."""
        entry = first = self.waiters.head
        while entry is not None:
            if self.held + entry.item <= self.size:
                return entry
            entry = entry.next
            if not (isinstance(entry, SelectEntry) and isinstance(first, SelectEntry) and entry.waiter is first.waiter):
                return None
        return None

    # Waiting.

    @uninterruptible
    def waiting(self, driver: Driver) -> WaitQueue:
        """Where those wait who do not fit."""
        self.owner = driver
        if self.waiters is EMPTY:
            self.waiters = WatchedQueue(self._one_left)
        return self.waiters

    def _one_left(self) -> None:
        if self.next() is not None:
            settle(self)

    def forget_waiters(self) -> None:
        self.waiters = EMPTY

    # Telling.

    def __repr__(self) -> str:
        return f"<Semaphore {self.held}/{self.size} waiters={len(self.waiters)}>"

    def _check(self) -> None:
        self.waiters._check()
        assert self.held >= 0, "S1: less than nothing is held"
        assert self.next() is None, "S2: the first in line waits though it fits"
        entry = self.waiters.head
        while entry is not None:
            assert 0 <= entry.item <= self.size, "S3: a request that can never be granted waits"
            entry = entry.next


@final
class Semaphore(Primitive):
    """A number of places or of anything else that can be counted, held in amounts.

    Args:
        size: how much there is in all; 0 or more.

    Raises:
        TypeError: the size is not an int.
        ValueError: it is negative.

    Who asks for much waits until so much is free, and those behind wait too, so that large requests are not starved.
    What is acquired may be released by any goroutine, and in other amounts. An amount of 0 holds nothing, and waits
    in line like any other.

    Go: ``semaphore.NewWeighted(size)`` of x/sync. An amount above the size is an error instead of a wait without end,
    the size can be changed, and an acquire that was granted returns normally though a cancellation has come (in Go the
    cancelled context wins).

    Example:
        >>> import gochan
        >>> async def main() -> int:
        ...     places, most, now = gochan.Semaphore(3), 0, 0
        ...     async def work() -> None:
        ...         nonlocal most, now
        ...         async with places.hold():
        ...             now += 1
        ...             most = max(most, now)
        ...             await gochan.sleep(0)
        ...             now -= 1
        ...     async with gochan.Group() as group:
        ...         for _ in range(10):
        ...             group.go(work)
        ...     return most
        >>> gochan.run(main)
        3
    """

    __slots__ = ()

    _state: SemaphoreState

    def __init__(self, size: int) -> None:
        self._state = SemaphoreState(checked(size, "the size"))

    @uninterruptible
    async def acquire(self, n: int = 1) -> None:
        """Wait until ``n`` is free for this goroutine, and hold it.

        Args:
            n: how much.

        Raises:
            TypeError: the amount is not an int.
            ValueError: it is negative, or above the size, or ``resize`` made it so while this waited. Nothing is held.

        Cancellation: all or nothing. A cancelled acquire holds nothing, and lets those in that it kept out; one that
            was granted returns normally.
        Fairness: first come, first served, together with select cases; who does not fit holds up those behind.
        Go: ``sem.Acquire(ctx, n)``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     memory = gochan.Semaphore(100)
            ...     await memory.acquire(70)
            ...     print(memory)
            ...     memory.release(70)
            >>> gochan.run(main)
            <Semaphore 70/100 waiters=0>
        """
        state = self._state
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if n.__class__ is not int or not 0 <= n <= state.size:
            n = state.request(n)
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
            n = state.request(n)
        if state.waiters.head is None and state.held + n <= state.size:
            state.held += n
        elif await driver.park(state.waiting(driver), n) is TOO_LARGE:
            raise state.too_large(n)

    @uninterruptible
    def acquire_nowait(self, n: int = 1) -> None:
        """Hold ``n`` if so much is free and nobody waits.

        Raises:
            anyio.WouldBlock: it would have to wait.
            TypeError: the amount is not an int.
            ValueError: it is negative or above the size.

        Go: ``sem.TryAcquire(n)``, which is false for amounts above the size.
        """
        state = self._state
        state.check()
        n = state.request(n)
        if not state.fits(n):
            raise anyio.WouldBlock
        state.held += n

    def release(self, n: int = 1) -> None:
        """Give ``n`` back, and let in whoever fits now.

        Raises:
            RuntimeError: more than is held; nothing has changed.
            TypeError: the amount is not an int.
            ValueError: it is negative.

        Go: ``sem.Release(n)``.
        """
        self._state.check()
        self._state.release(checked(n, "the amount to release"))

    def acquiring(self, n: int = 1) -> Case[None]:
        """The case of a select that acquires ``n``; when it is chosen, so much is held.

        Raises:
            TypeError: the amount is not an int.
            ValueError: it is negative or above the size; the select raises it if ``resize`` makes it so later.
        """
        return _AcquireCase(self._state, self._state.request(n))

    def hold(self, n: int = 1) -> Holding:
        """Hold ``n`` in an ``async with`` block.

        Raises:
            TypeError: the amount is not an int.
            ValueError: it is negative or above the size; entering raises it if ``resize`` makes it so later.
        """
        return Holding(self, self._state.request(n))

    def resize(self, size: int) -> None:
        """Change the size: a larger one lets in whoever fits now, a smaller one takes nothing from those who hold it.

        Those who wait for more than the new size get a ValueError.

        Raises:
            TypeError: the size is not an int.
            ValueError: it is negative.

        Go: nothing alike; often asked for.
        """
        self._state.check()
        self._state.resize(checked(size, "the size"))

    @property
    def size(self) -> int:
        """How much there is in all."""
        return self._state.size

    @property
    def held(self) -> int:
        """How much of it is held now; more than the size after it was made smaller."""
        return self._state.held

    @uninterruptible
    async def __aenter__(self) -> None:
        await self.acquire()

    @uninterruptible
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


@final
class Holding:
    """What ``Semaphore.hold`` gives: an ``async with`` block that holds an amount."""

    __slots__ = ("_n", "_semaphore")

    def __init__(self, semaphore: Semaphore, n: int) -> None:
        self._semaphore = semaphore
        self._n = n

    @uninterruptible
    async def __aenter__(self) -> None:
        await self._semaphore.acquire(self._n)

    @uninterruptible
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._semaphore.release(self._n)


class _AcquireCase(Case[None]):
    __slots__ = ("_n",)

    _state: SemaphoreState

    def __init__(self, state: SemaphoreState, n: int) -> None:
        self._state = state
        self._n = n

    def _ready(self) -> bool:
        return self._n > self._state.size or self._state.fits(self._n)

    def _take(self) -> Any:
        if self._n > self._state.size:
            return TOO_LARGE
        self._state.held += self._n
        return None

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        entry.item = self._n
        self._state.waiting(driver).append(entry)

    def _result(self, value: Any) -> None:
        if value is TOO_LARGE:
            raise self._state.too_large(self._n)
