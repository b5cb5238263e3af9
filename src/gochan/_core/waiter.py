"""One parked operation, and what becomes of it.

Shape
    ``PARKED`` turns once, into ``COMMITTED`` (a peer completed the operation: the value is here) or ``CANCELLED``
    (the operation withdrew and had no effect). A plain operation publishes its waiter in one queue. A select
    publishes one entry per case, all of which share one waiter: the first peer to commit an entry takes all of them
    out, so that exactly one case can ever be committed.

Invariants
    W1  A waiter leaves PARKED exactly once.
    W2  A waiter that is not PARKED is in no queue, and neither is any entry of its select.
    W3  A COMMITTED operation returns its value normally, whatever cancellation arrives afterwards; the driver
        delivers that one at the task's next suspension.

Why not
    A future per operation says "done" when the task is scheduled, so a cancellation that arrives between hand-over
    and wake-up loses the value (anyio's memory streams do), or the sender is told "cancelled" though the receiver
    has it. Here the cancellation asks the *operation*, which knows whether it has happened.

Prior art
    Concurrent ML's events; Go's ``sudog`` and ``selectDone``; ``shared`` claim flags of crossbeam-channel.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, cast

from .waitqueue import Entry, WaitQueue, WatchedQueue

PARKED: Final = 0
COMMITTED: Final = 1
CANCELLED: Final = 2


class Waiter(Entry):
    """A parked operation; each driver makes its own, and says how it suspends and resumes its task."""

    __slots__ = ("entries", "since", "state")

    state: int
    since: float  # when it was parked, by the driver's clock
    entries: list[SelectEntry] | None  # of a select, while it is parked

    def withdraw(self) -> None:
        """Leave every queue, with nothing done (W2)."""
        entries = self.entries
        if entries is None:
            queue = self.queue
            if queue is not None:
                queue.remove(self)
                if queue.watched:
                    cast("WatchedQueue", queue).left()
            return
        self.entries = None
        watched: list[WatchedQueue] | None = None
        for entry in entries:
            queue = entry.queue
            if queue is not None:
                queue.remove(entry)
                if queue.watched:
                    watched = watched or []
                    watched.append(cast("WatchedQueue", queue))
        # Only now: whoever is let go by it must find no entry of this select.
        for queue in watched or ():
            queue.left()

    def vanish(self) -> None:
        """Leave every queue of a loop that is gone. Nobody is told: who could be let go by it cannot be resumed."""
        entries = (self,) if self.entries is None else self.entries
        self.entries = None
        for entry in entries:
            if entry.queue is not None:
                entry.queue.remove(entry)

    def expire(self) -> None:
        """Commit an operation that only waits for a time, unless it was cancelled."""
        if self.state == PARKED:
            self.commit(None)

    def __await__(self) -> Generator[Any, Any, Any]:
        """Suspend the task until this operation is committed (returns the value) or cancelled (raises)."""
        raise NotImplementedError


class SelectEntry(Entry):
    """One case of a parked select."""

    __slots__ = ("number", "waiter")

    waiter: Waiter
    number: int

    def commit(self, value: Any) -> None:
        # The sisters go before the task is woken: a peer in the same tick must not find them (W2).
        self.waiter.withdraw()
        self.waiter.commit((self.number, value))


__all__ = ["CANCELLED", "COMMITTED", "PARKED", "Entry", "SelectEntry", "WaitQueue", "Waiter", "WatchedQueue"]
