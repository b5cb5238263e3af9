"""The channel as a state machine, without any event loop in it.

Shape
    As Go's ``hchan``: a buffer and two queues of parked operations. A value goes, in this order of preference, to a
    waiting receiver, into the buffer, or with a waiting sender. ``put`` and ``take`` commit now or answer PENDING;
    the public ``Channel`` parks what is pending.

Invariants (``_check`` asserts them)
    C1  At least one of senders and receivers is empty, except for a select that waits on both.
    C2  A value in the buffer: no receiver waits.
    C3  Room in the buffer: no sender waits (not at all with a dropping overflow policy).
    C4  ``len(buffer) <= capacity``.
    C5  ``sent = received + len(buffer)``: a value counts as sent once it was accepted, and no longer when it is
        dropped. So ``sent`` is not stored.
    C6  Closed: no one waits.
    C7  ``limit`` is the capacity, or 0 once the channel is closed. ``0 < len(buffer) < limit`` therefore says in one
        comparison "open, room for one more, a value to take, and nobody waits on either side": the fast path.

Why not
    An ``anyio.Event`` or a future per operation (the memory streams): ten times the cost, and items are lost under
    native cancellation. A deque per channel made at once: an empty one takes 760 bytes.

Prior art
    Go's runtime/chan.go, whose invariants C1 to C3 are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, cast

from ._core.driver import Driver, LoopBound, uninterruptible
from ._core.waiter import SelectEntry, Waiter
from ._core.waitqueue import EMPTY, WaitQueue


class _Mark:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


PENDING: Final = _Mark("PENDING")  # it would have to wait
CLOSED: Final = _Mark("CLOSED")  # the channel is closed (and, for a receive, drained)

_NOTHING: Final[deque[Any]] = deque(maxlen=0)  # the buffer before the first value; never appended to


class ChannelState(LoopBound):
    """Everything a channel knows."""

    __slots__ = (
        "buffer",
        "capacity",
        "cause",
        "closed",
        "dropped",
        "limit",
        "name",
        "overflow",
        "received",
        "receivers",
        "senders",
    )

    def __init__(self, capacity: int | float, overflow: str, name: str | None) -> None:
        super().__init__()
        self.capacity = self.limit = capacity
        self.overflow = overflow
        self.name = name
        self.buffer: deque[Any] = _NOTHING
        self.senders: WaitQueue = EMPTY
        self.receivers: WaitQueue = EMPTY
        self.closed = False
        self.cause: BaseException | None = None
        self.received = 0
        self.dropped = 0

    # Committing now.

    @uninterruptible
    def put(self, item: Any) -> Any:
        """Accept ``item`` now (None), or answer PENDING or CLOSED."""
        if self.closed:
            return CLOSED
        receivers = self.receivers
        if receivers.head is not None:
            self.received += 1
            receivers.commit_first(item)
            return None
        buffer = self.buffer
        if len(buffer) < self.limit:
            if buffer is _NOTHING:
                self.buffer = buffer = deque[Any]()
            buffer.append(item)
            return None
        if self.overflow == "block":
            return PENDING
        self.dropped += 1
        if self.overflow == "drop_oldest" and buffer:
            # Its finalizer may come back here, so it goes when all is in order again.
            dropped = buffer.popleft()
            buffer.append(item)
            del dropped
        return None

    @uninterruptible
    def take(self) -> Any:
        """Take a value now, or answer PENDING or CLOSED."""
        buffer = self.buffer
        senders = self.senders
        if buffer:
            value = buffer.popleft()
            if senders.head is not None:
                entry = senders.pop()
                buffer.append(entry.item)
                entry.commit(None)
        elif senders.head is not None:
            entry = senders.pop()
            value = entry.item
            entry.commit(None)
        else:
            return CLOSED if self.closed else PENDING
        self.received += 1
        return value

    @uninterruptible
    def take_more(self, values: list[Any], limit: float) -> None:
        """Take what is there, until ``values`` has ``limit`` of them."""
        while len(values) < limit:
            value = self.take()
            if value is PENDING or value is CLOSED:
                return
            values.append(value)

    def can_put(self) -> bool:
        """Whether a send would not have to wait; one on a closed channel need not, it fails."""
        return (
            self.closed or self.receivers.head is not None or len(self.buffer) < self.limit or self.overflow != "block"
        )

    def can_take(self) -> bool:
        """Whether a receive would not have to wait."""
        return bool(self.buffer) or self.senders.head is not None or self.closed

    @uninterruptible
    def close(self, cause: BaseException | None) -> None:
        if self.closed:
            return
        self.closed = True
        self.cause = cause
        self.limit = 0
        self.receivers.drain(CLOSED)
        self.senders.drain(CLOSED)

    # Waiting.

    @uninterruptible
    def sending(self, driver: Driver) -> WaitQueue:
        """Where a sender waits."""
        self.owner = driver
        queue = self.senders
        if queue is EMPTY:
            queue = self.senders = WaitQueue()
        return queue

    @uninterruptible
    def receiving(self, driver: Driver) -> WaitQueue:
        """Where a receiver waits."""
        self.owner = driver
        queue = self.receivers
        if queue is EMPTY:
            queue = self.receivers = WaitQueue()
        return queue

    def forget_waiters(self) -> None:
        self.senders = self.receivers = EMPTY

    # Telling.

    @property
    def sent(self) -> int:
        return self.received + len(self.buffer)

    def remedy(self) -> str:
        return ": use it in that loop only, or from a thread through Channel.blocking()"

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        fill = f"{len(self.buffer)}/{self.capacity}"
        state = " closed" if self.closed else ""
        return f"<Channel{name} {fill}{state} senders={len(self.senders)} receivers={len(self.receivers)}>"

    def _check(self) -> None:
        self.senders._check()
        self.receivers._check()
        if self.senders.head is not None and self.receivers.head is not None:
            waiting: Sequence[Waiter] = [cast("SelectEntry", q.head).waiter for q in (self.senders, self.receivers)]
            assert waiting[0] is waiting[1], "C1: senders and receivers wait"
        assert not (self.buffer and self.receivers), "C2: a receiver waits beside a value"
        room = len(self.buffer) < self.limit
        assert not (self.senders and (room or self.overflow != "block")), "C3: a sender waits beside room"
        assert len(self.buffer) <= self.capacity, "C4: more values than capacity"
        assert not (self.closed and (self.senders or self.receivers)), "C6: somebody waits, closed"
        assert self.limit == (0 if self.closed else self.capacity), "C7: wrong limit"
