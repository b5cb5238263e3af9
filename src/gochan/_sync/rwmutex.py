"""The reader/writer mutex: many readers, or one writer.

Shape
    Two queues, and a ticket for each who waits, so that the order between the queues is known. All cases of one select
    have one ticket. ``let_in`` looks at the state alone: whoever changed it, a release or a waiter that has left.

Invariants (``_check`` asserts them)
    R1  Readers hold it, or one writer, or nobody.
    R2  No writer holds it and somebody waits: readers hold it, and a writer is next in line.
    R3  A writer's release admits all readers that wait at that moment, whatever their tickets; who comes later stands
        behind the writers that wait (Go's one exception to first come, first served).

Why not
    One queue: R3 would have to look for readers behind writers, one after the other. Counting instead of queues, as
    Go does it: a writer that waits and is cancelled could not tell which readers it has kept out.

Prior art
    Go's sync/rwmutex.go.
"""

from __future__ import annotations

from threading import get_ident
from types import TracebackType
from typing import final

import anyio

from gochan._case import Case
from gochan._core.driver import Driver, LoopBound, here, threads, uninterruptible
from gochan._core.waiter import SelectEntry
from gochan._core.waitqueue import EMPTY, Entry, WaitQueue, WatchedQueue

from .primitive import Primitive, misused
from .settling import settle


class RWMutexState(LoopBound):
    """Everything a reader/writer mutex knows."""

    __slots__ = ("admitted", "readers", "readers_waiting", "tickets", "writers_waiting", "writing")

    def __init__(self) -> None:
        super().__init__()
        self.readers = 0
        self.writing = False
        self.readers_waiting: WaitQueue = EMPTY
        self.writers_waiting: WaitQueue = EMPTY  # watched: one who leaves may have kept readers out
        self.tickets = 0  # the last one given out
        self.admitted = 0  # readers with a ticket up to this one go before any writer (R3)

    # Committing now.

    def can_read(self) -> bool:
        return not self.writing and self.writers_waiting.head is None

    def can_write(self) -> bool:
        return not self.writing and not self.readers

    @uninterruptible
    def release_read(self) -> None:
        if not self.readers:
            raise misused("release_read() of an unlocked RWMutex", "no reader holds it", self)
        self.readers -= 1
        if not self.readers and self.writers_waiting.head is not None:
            settle(self)

    @uninterruptible
    def release_write(self) -> None:
        if not self.writing:
            raise misused("release_write() of an unlocked RWMutex", "no writer holds it", self)
        self.writing = False
        if self.readers_waiting.head is not None or self.writers_waiting.head is not None:
            self.admitted = self.tickets
            settle(self)

    @uninterruptible
    def let_in(self) -> None:
        """Grant what can be granted; the state is in order before each grant, which may come back here."""
        while not self.writing:
            reader, writer = self.readers_waiting.head, self.writers_waiting.head
            if reader is not None and (writer is None or reader.item <= max(self.admitted, writer.item)):
                self.readers += 1
                self.readers_waiting.commit_first(None)
            elif writer is not None and not self.readers:
                self.writing = True
                self.writers_waiting.commit_first(None)
            else:
                return

    # Waiting.

    @uninterruptible
    def reading(self, driver: Driver) -> WaitQueue:
        """Where a reader waits."""
        self.owner = driver
        if self.readers_waiting is EMPTY:
            self.readers_waiting = WaitQueue()
        return self.readers_waiting

    @uninterruptible
    def to_write(self, driver: Driver) -> WaitQueue:
        """Where a writer waits."""
        self.owner = driver
        if self.writers_waiting is EMPTY:
            self.writers_waiting = WatchedQueue(self._writer_left)
        return self.writers_waiting

    def ticket(self) -> int:
        """For the next in line."""
        self.tickets += 1
        return self.tickets

    def ticket_of(self, entry: SelectEntry) -> int:
        """That of its select, whose cases stand at the ends of the queues if it has any here."""
        for last in (self.readers_waiting.tail, self.writers_waiting.tail):
            if isinstance(last, SelectEntry) and last.waiter is entry.waiter:
                ticket: int = last.item
                return ticket
        return self.ticket()

    def _writer_left(self) -> None:
        if not self.writing and self.readers_waiting.head is not None:
            settle(self)

    def forget_waiters(self) -> None:
        self.readers_waiting = self.writers_waiting = EMPTY

    # Telling.

    def __repr__(self) -> str:
        held = "write-locked" if self.writing else f"readers={self.readers}" if self.readers else "unlocked"
        waiting = f"readers_waiting={len(self.readers_waiting)} writers_waiting={len(self.writers_waiting)}"
        return f"<RWMutex {held} {waiting}>"

    def _check(self) -> None:
        self.readers_waiting._check()
        self.writers_waiting._check()
        assert self.readers >= 0, "R1: fewer than no readers"
        assert not (self.writing and self.readers), "R1: a writer and readers"
        reader, writer = self.readers_waiting.head, self.writers_waiting.head
        if not self.writing and (reader is not None or writer is not None):
            assert self.readers, "R2: somebody waits though nobody holds it"
            assert writer is not None, "R2: readers wait though no writer does"
            assert reader is None or reader.item > max(writer.item, self.admitted), "R2, R3: a reader is first in line"
        for queue in (self.readers_waiting, self.writers_waiting):
            tickets = [entry.item for entry in _entries(queue)]
            assert tickets == sorted(tickets), "R2: tickets out of order"


def _entries(queue: WaitQueue) -> list[Entry]:
    entries, entry = list[Entry](), queue.head
    while entry is not None:
        entries.append(entry)
        entry = entry.next
    return entries


@final
class RWMutex(Primitive):
    """A lock that many readers hold together, or one writer alone.

    A writer that waits keeps later readers out, so nobody starves; a goroutine that holds it for reading and asks
    again may therefore wait for itself. There is no upgrade from reading to writing. Any goroutine may release it.

    Go: ``sync.RWMutex``. Waiting can be cancelled and selected over; a writer that gives up lets the readers in that
    it kept out.

    Example:
        >>> import gochan
        >>> async def main() -> None:
        ...     prices, mutex = {"tea": 3}, gochan.RWMutex()
        ...     async with mutex.read(), mutex.read():
        ...         print(prices["tea"])
        ...     async with mutex.write():
        ...         prices["tea"] = 4
        >>> gochan.run(main)
        3
    """

    __slots__ = ()

    _state: RWMutexState

    def __init__(self) -> None:
        self._state = RWMutexState()

    def read(self) -> Reading:
        """Hold it for reading in an ``async with`` block; a committed acquire is given back at the end of it.

        Go: ``mu.RLock()`` with ``defer mu.RUnlock()``.
        """
        return Reading(self)

    def write(self) -> Writing:
        """Hold it for writing in an ``async with`` block.

        Go: ``mu.Lock()`` with ``defer mu.Unlock()``.
        """
        return Writing(self)

    @uninterruptible
    async def acquire_read(self) -> None:
        """Wait until no writer holds or wants it, and hold it for reading.

        Cancellation: all or nothing. A cancelled acquire does not hold it; one that got it returns normally.
        Fairness: first come, first served among readers and writers; but when a writer releases, all readers that
            wait at that moment go before the next writer.
        Go: ``mu.RLock()``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     mutex = gochan.RWMutex()
            ...     await mutex.acquire_read()
            ...     print(mutex)
            ...     mutex.release_read()
            >>> gochan.run(main)
            <RWMutex readers=1 readers_waiting=0 writers_waiting=0>
        """
        state = self._state
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        if not state.writing and state.writers_waiting.head is None:
            state.readers += 1
        else:
            await driver.park(state.reading(driver), state.ticket())

    @uninterruptible
    async def acquire_write(self) -> None:
        """Wait until nobody holds it, and hold it for writing.

        Cancellation: all or nothing. A cancelled acquire does not hold it, and lets the readers in that it kept out;
            one that got it returns normally.
        Fairness: first come, first served; see ``acquire_read``.
        Go: ``mu.Lock()``.

        Example:
            >>> import gochan
            >>> async def main() -> None:
            ...     mutex = gochan.RWMutex()
            ...     await mutex.acquire_write()
            ...     print(mutex)
            ...     mutex.release_write()
            >>> gochan.run(main)
            <RWMutex write-locked readers_waiting=0 writers_waiting=0>
        """
        state = self._state
        driver = state.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = state.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        if not state.writing and not state.readers:
            state.writing = True
        else:
            await driver.park(state.to_write(driver), state.ticket())

    @uninterruptible
    def acquire_read_nowait(self) -> None:
        """Hold it for reading if no writer holds or wants it.

        Raises:
            anyio.WouldBlock: a writer does.

        Go: ``mu.TryRLock()``.
        """
        state = self._state
        state.check()
        if not state.can_read():
            raise anyio.WouldBlock
        state.readers += 1

    @uninterruptible
    def acquire_write_nowait(self) -> None:
        """Hold it for writing if nobody holds it.

        Raises:
            anyio.WouldBlock: somebody does.

        Go: ``mu.TryLock()``.
        """
        state = self._state
        state.check()
        if not state.can_write():
            raise anyio.WouldBlock
        state.writing = True

    def release_read(self) -> None:
        """Hold it no longer for reading; the last reader to do so lets the next writer in.

        Raises:
            RuntimeError: no reader holds it; nothing has changed.

        Go: ``mu.RUnlock()``.
        """
        self._state.check()
        self._state.release_read()

    def release_write(self) -> None:
        """Hold it no longer for writing: all readers that wait now are let in, or else the next writer.

        Raises:
            RuntimeError: no writer holds it; nothing has changed.

        Go: ``mu.Unlock()``.
        """
        self._state.check()
        self._state.release_write()

    def acquiring_read(self) -> Case[None]:
        """The case of a select that acquires it for reading; when it is chosen, it is held."""
        return _ReadCase(self._state)

    def acquiring_write(self) -> Case[None]:
        """The case of a select that acquires it for writing; when it is chosen, it is held."""
        return _WriteCase(self._state)


@final
class Reading:
    """What ``RWMutex.read`` gives: an ``async with`` block that reads."""

    __slots__ = ("_mutex",)

    def __init__(self, mutex: RWMutex) -> None:
        self._mutex = mutex

    @uninterruptible
    async def __aenter__(self) -> None:
        await self._mutex.acquire_read()

    @uninterruptible
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._mutex.release_read()


@final
class Writing:
    """What ``RWMutex.write`` gives: an ``async with`` block that writes."""

    __slots__ = ("_mutex",)

    def __init__(self, mutex: RWMutex) -> None:
        self._mutex = mutex

    @uninterruptible
    async def __aenter__(self) -> None:
        await self._mutex.acquire_write()

    @uninterruptible
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._mutex.release_write()


class _ReadCase(Case[None]):
    __slots__ = ()

    _state: RWMutexState

    def __init__(self, state: RWMutexState) -> None:
        self._state = state

    def _ready(self) -> bool:
        return self._state.can_read()

    def _take(self) -> None:
        self._state.readers += 1

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        queue = self._state.reading(driver)
        entry.item = self._state.ticket_of(entry)
        queue.append(entry)


class _WriteCase(Case[None]):
    __slots__ = ()

    _state: RWMutexState

    def __init__(self, state: RWMutexState) -> None:
        self._state = state

    def _ready(self) -> bool:
        return self._state.can_write()

    def _take(self) -> None:
        self._state.writing = True

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        queue = self._state.to_write(driver)
        entry.item = self._state.ticket_of(entry)
        queue.append(entry)
