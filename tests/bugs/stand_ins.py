"""Stand-ins for Go's locks, made of channels and events, until the library has its own.

A goroutine that waits for one of them therefore shows as waiting for a channel or an event. They are as strict as Go's:
FIFO, not re-entrant, and a writer that waits holds new readers back (which is what a read lock taken twice falls
over). They are not safe under cancellation, and need not be: whatever is cancelled here is at its end.
"""

from __future__ import annotations

from collections import deque

from gochan import Channel, Event


class Mutex:
    """One token: who has put it into the channel holds the lock."""

    def __init__(self) -> None:
        self._token: Channel[None] = Channel(1)

    async def lock(self) -> None:
        await self._token.send(None)

    def unlock(self) -> None:
        self._token.receive_nowait()


class RWMutex:
    """Readers together, writers alone; a writer that waits goes before readers that come after it."""

    def __init__(self) -> None:
        self._gate: Channel[None] = Channel(1)
        self._readers = 0
        self._writing = False
        self._waiting_writers: deque[Event] = deque()
        self._waiting_readers: list[Event] = []

    async def lock(self) -> None:
        await self._pass()
        if self._writing or self._readers:
            grant = Event()
            self._waiting_writers.append(grant)
            await grant.wait()
        else:
            self._writing = True

    def unlock(self) -> None:
        assert self._writing
        self._writing = False
        if self._waiting_readers:
            self._readers += len(self._waiting_readers)
            for grant in self._waiting_readers:
                grant.set()
            self._waiting_readers.clear()
        else:
            self._admit_writer()

    async def rlock(self) -> None:
        await self._pass()
        if self._writing or self._waiting_writers:
            grant = Event()
            self._waiting_readers.append(grant)
            await grant.wait()
        else:
            self._readers += 1

    def runlock(self) -> None:
        assert self._readers > 0
        self._readers -= 1
        if not self._readers:
            self._admit_writer()

    def _admit_writer(self) -> None:
        if self._waiting_writers:
            self._writing = True
            self._waiting_writers.popleft().set()

    async def _pass(self) -> None:
        # An operation of the library, so that a schedule may switch here, as it may at every operation of a lock.
        await self._gate.send(None)
        self._gate.receive_nowait()


class WaitGroup:
    """A counter, and an event for zero."""

    def __init__(self) -> None:
        self._count = 0
        self._zero = Event()

    def add(self, number: int = 1) -> None:
        if not self._count:
            self._zero = Event()
        self._count += number

    def done(self) -> None:
        assert self._count > 0
        self._count -= 1
        if not self._count:
            self._zero.set()

    async def wait(self) -> None:
        if self._count:
            await self._zero.wait()


class Cond:
    """Who waits gives the mutex back, and has it again afterwards."""

    def __init__(self, mutex: Mutex) -> None:
        self.mutex = mutex
        self._waiting: deque[Event] = deque()

    async def wait(self) -> None:
        woken = Event()
        self._waiting.append(woken)
        self.mutex.unlock()
        await woken.wait()
        await self.mutex.lock()

    def signal(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()

    def broadcast(self) -> None:
        while self._waiting:
            self.signal()
