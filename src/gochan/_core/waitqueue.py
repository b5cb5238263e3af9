"""The FIFO of parked operations.

Shape
    A doubly linked list whose links live in the entries themselves. An entry is one place in one queue: a plain
    operation is its own entry, a select has one entry per case.

Invariants
    Q1  An entry is in a queue exactly while its operation can still be committed by a peer: whoever commits takes
        the entry (and, for a select, all its sister entries) out first. So the head of a queue is always alive.
    Q2  ``entry.queue`` is the queue it is in, ``None`` otherwise.
    Q3  Entries leave in the order in which they came, unless they withdraw.

Why not
    ``deque.remove`` is O(n), and ten thousand waiters do time out together. Tombstones in a deque make leaving O(1)
    but break Q1: every peer would have to skip the dead, and the statistics would count them. ``OrderedDict`` has
    the right complexity and takes eight times the memory of an idle queue.

Prior art
    Go's ``waitq`` (runtime/chan.go), trio's ``_parking_lot.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, cast


class Entry:
    """One place in one wait queue."""

    __slots__ = ("item", "next", "previous", "queue")

    queue: WaitQueue | None
    previous: Entry | None
    next: Entry | None
    item: Any  # what a waiting sender brings; then what the operation gave, or the message of its cancellation

    def commit(self, value: Any) -> None:
        """Complete the operation with ``value``; the committer has taken this entry out of its queue."""
        raise NotImplementedError


class WaitQueue:
    """Parked operations, first come first served."""

    __slots__ = ("head", "tail")

    watched: ClassVar[bool] = False

    def __init__(self) -> None:
        self.head: Entry | None = None
        self.tail: Entry | None = None

    def __len__(self) -> int:
        count, entry = 0, self.head
        while entry is not None:
            count, entry = count + 1, entry.next
        return count

    def __bool__(self) -> bool:
        return self.head is not None

    def append(self, entry: Entry) -> None:
        tail = self.tail
        entry.queue = self
        entry.previous = tail
        entry.next = None
        if tail is None:
            self.head = entry
        else:
            tail.next = entry
        self.tail = entry

    def pop(self) -> Entry:
        """Take out the one that has waited longest; the queue must not be empty."""
        entry = cast("Entry", self.head)
        following = entry.next
        self.head = following
        if following is None:
            self.tail = None
        else:
            following.previous = None
            entry.next = None
        entry.queue = None
        return entry

    def commit_first(self, value: Any) -> None:
        """Complete the operation that has waited longest; the queue must not be empty."""
        entry = cast("Entry", self.head)
        following = entry.next
        self.head = following
        if following is None:
            self.tail = None
        else:
            following.previous = None
            entry.next = None
        entry.queue = None
        entry.commit(value)

    def remove(self, entry: Entry) -> None:
        """Take out an entry from wherever it stands."""
        previous, following = entry.previous, entry.next
        if previous is None:
            self.head = following
        else:
            previous.next = following
        if following is None:
            self.tail = previous
        else:
            following.previous = previous
        entry.queue = entry.previous = entry.next = None

    def drain(self, value: Any) -> None:
        """Commit every entry with ``value``, the longest waiting first."""
        while self.head is not None:
            self.commit_first(value)

    def _check(self) -> None:
        """Assert Q2 and the links of Q3."""
        previous, entry = None, self.head
        while entry is not None:
            assert entry.queue is self, "Q2: an entry names another queue"
            assert entry.previous is previous, "Q3: broken link"
            previous, entry = entry, entry.next
        assert self.tail is previous, "Q3: the tail is not the last entry"


class WatchedQueue(WaitQueue):
    """One whose primitive is told when an entry has withdrawn: who stands behind it may be able to go then.

    ``left`` is called when the waiter is out of every queue. It may come in the middle of a grant, when a waiter that
    is committed takes the other entries of its select out, so it must find the primitive in order.
    """

    __slots__ = ("left",)

    watched: ClassVar[bool] = True

    def __init__(self, left: Callable[[], object]) -> None:
        super().__init__()
        self.left = left


# What a primitive has before anybody waited on it: an idle channel should not pay for two queues.
EMPTY: Final = WaitQueue()
