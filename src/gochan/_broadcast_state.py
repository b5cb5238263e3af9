"""The broadcast as a state machine, without any event loop in it.

Shape
    One chain of places, from the oldest value that somebody has not read to the place that the next value will get.
    A value is stored once; a subscription is a pointer to the place that it reads next, and a place counts those who
    point to it. So a publish costs what its wake-ups cost, a receive and a close are O(1), and values go as soon as
    the last one has read them, whatever the number of subscriptions. ``put`` and ``take`` commit now or answer
    PENDING; the public classes park what is pending.

Invariants (``_check`` asserts them, as far as the state can be seen from here)
    B1  ``oldest`` has readers, or is ``end``: nothing is kept that nobody will read.
    B2  At most ``capacity`` values from ``oldest`` to ``end``.
    B3  A publisher waits: the policy is "wait" and there is no room.
    B4  A subscription with waiting receivers is in ``waiting`` and has read everything.
    B5  The readers of all places in the chain together are the subscriptions that are not closed. One that was
        overtaken ("lag", "latest") points to a place that has left the chain, but counts at ``oldest``.
    B6  Closed: no one waits.

Subscriptions that are forgotten
    The broadcast does not know its subscriptions, apart from those that wait, so it keeps none alive; a finalizer
    tells of the end of one that nobody closed. It may run anywhere, in the middle of an operation or in another
    thread, so it only leaves a note in ``forgotten``; whoever comes next reads it, and if nobody may come, because
    publishers wait, the loop is asked to. The note is a place, not the subscription: that would be a cycle.

Why not
    A channel per subscription: a publish is O(subscribers) and so is the memory. A ring with a set of positions: the
    slowest is found in O(subscribers), or with a heap. The slot counters of tokio's ring: a close is O(capacity).

Prior art
    tokio's sync::broadcast (the ring, lagging); the linked list of asyncio's pub/sub recipes.
"""

from __future__ import annotations

import math
from threading import get_ident
from typing import Any, Final, Literal

from ._channel_state import CLOSED, PENDING
from ._core.driver import Driver, LoopBound, uninterruptible
from ._core.waiter import SelectEntry, Waiter
from ._core.waitqueue import EMPTY, WaitQueue

Policy = Literal["wait", "lag", "latest"]


class Place:
    """Where one value is, or will be."""

    __slots__ = ("following", "number", "readers", "value")

    value: Any

    def __init__(self, number: float) -> None:
        self.number = number
        self.readers = 0  # subscriptions that read this next
        self.following: Place | None = None  # None at the end, and when it has left the chain


_NOWHERE: Final = Place(math.inf)  # what a closed subscription reads next


class Missed:
    """What is taken where values were lost: how many."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


class BroadcastState(LoopBound):
    """Everything a broadcast knows."""

    __slots__ = (
        "capacity",
        "cause",
        "closed",
        "end",
        "forgotten",
        "missed",
        "name",
        "oldest",
        "policy",
        "publishers",
        "subscriptions",
        "waiting",
    )

    def __init__(self, capacity: int | float, policy: Policy, name: str | None) -> None:
        super().__init__()
        self.capacity = capacity
        self.policy: Policy = policy
        self.name = name
        self.oldest = self.end = Place(0)
        self.subscriptions = 0
        self.missed = 0
        self.publishers: WaitQueue = EMPTY
        self.waiting = dict[SubscriptionState, None]()  # in the order in which they began to wait
        self.forgotten = list[Place]()
        self.closed = False
        self.cause: BaseException | None = None

    # Publishing.

    @property
    def buffered(self) -> int:
        return int(self.end.number - self.oldest.number)

    def full(self) -> bool:
        return self.end.number - self.oldest.number >= self.capacity

    def can_put(self) -> bool:
        """Whether a publish would not have to wait; one on a closed broadcast need not, it fails."""
        if self.forgotten:
            self.collect()
        return self.closed or self.policy != "wait" or not self.full()

    @uninterruptible
    def put(self, value: Any) -> Any:
        """Publish ``value`` now (None), or answer PENDING or CLOSED."""
        if self.forgotten:
            self.collect()
        if self.closed:
            return CLOSED
        overtaken = None
        if self.full():
            if self.policy == "wait":
                return PENDING
            overtaken = self._overtake()
        self._append(value)
        del overtaken  # its finalizer may come back here, so it goes when all is in order again
        return None

    def _append(self, value: Any) -> None:
        place = self.end
        place.value = value
        place.following = end = self.end = Place(place.number + 1)
        if self.waiting:
            waiting, self.waiting = self.waiting, dict[SubscriptionState, None]()
            for subscription in waiting:
                # Asked only now: a select that waits for two subscriptions has left the second one by this.
                queue = subscription.receivers
                if queue.head is not None:
                    subscription.place = end
                    place.readers -= 1
                    end.readers += 1
                    entry = queue.pop()
                    if queue:
                        self.waiting[subscription] = None
                    entry.commit(value)
        if not place.readers:
            self._trim()

    def _trim(self) -> None:
        """Let go what nobody reads any more (B1)."""
        place = read = self.oldest
        while not place.readers and place.following is not None:
            place = place.following
        self.oldest = place
        del read  # and with it all of the chain up to here: finalizers run now, when all is in order

    def _overtake(self) -> Any:
        """Drop the oldest value though somebody has not read it; the value."""
        place = self.oldest
        assert place.following is not None, "there is no value to drop"
        self.oldest = place.following
        self.oldest.readers += place.readers  # B5
        self.missed += place.readers
        value = place.value
        # Whoever still points here must not keep all that follows.
        place.following = place.value = None
        return value

    def admit(self) -> None:
        """Publish for those who wait to, as far as there is room (B3)."""
        while self.publishers.head is not None and not self.full():
            entry = self.publishers.pop()
            value = entry.item
            # Before the value goes out: a select that both publishes and receives here must not meet itself.
            entry.commit(None)
            self._append(value)

    @uninterruptible
    def publishing(self, driver: Driver) -> WaitQueue:
        """Where a publisher waits."""
        self.owner = driver
        if self.publishers is EMPTY:
            self.publishers = WaitQueue()
        return self.publishers

    # Subscriptions.

    @uninterruptible
    def subscribe(self) -> SubscriptionState:
        self.subscriptions += 1
        self.end.readers += 1
        return SubscriptionState(self)

    @uninterruptible
    def leave(self, place: Place) -> None:
        """A subscription that would read this place next reads nothing more."""
        if place.number < self.oldest.number:
            place = self.oldest  # B5
        place.readers -= 1
        self.subscriptions -= 1
        if place is self.oldest:
            self._trim()
            self.admit()

    @uninterruptible
    def collect(self) -> None:
        """Take leave of the subscriptions that were forgotten."""
        while self.forgotten:
            self.leave(self.forgotten.pop())

    def forget(self, place: Place) -> None:
        """A subscription is gone that nobody closed; called by its finalizer, so anywhere."""
        self.forgotten.append(place)
        owner = self.owner
        # In another thread, what is seen of the publishers may be old already.
        if owner is not None and (owner.ident != get_ident() or self.publishers.head is not None):
            try:
                owner.call_soon_threadsafe(self.collect)
            except RuntimeError:
                pass  # that loop has ended, and its publishers with it

    @uninterruptible
    def close(self, cause: BaseException | None) -> None:
        if self.closed:
            return
        self.closed = True
        self.cause = cause
        waiting, self.waiting = self.waiting, dict[SubscriptionState, None]()
        for subscription in waiting:
            subscription.receivers.drain(CLOSED)
        self.publishers.drain(CLOSED)

    def forget_waiters(self) -> None:
        self.publishers = EMPTY
        waiting, self.waiting = self.waiting, dict[SubscriptionState, None]()
        for subscription in waiting:
            subscription.receivers = EMPTY

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        state = " closed" if self.closed else ""
        subscriptions = self.subscriptions - len(self.forgotten)
        return (
            f"<Broadcast{name} {self.policy} {self.buffered}/{self.capacity}{state} "
            f"publishers={len(self.publishers)} subscriptions={subscriptions}>"
        )

    def _check(self) -> None:
        self.publishers._check()
        readers, place = 0, self.oldest
        while place.following is not None:
            readers += place.readers
            assert place.following.number == place.number + 1, "the chain is broken"
            place = place.following
        assert place is self.end, "the chain does not lead to its end"
        assert readers + place.readers == self.subscriptions, "B5: a reader is not counted"
        assert self.oldest.readers or self.oldest is self.end, "B1: a value is kept that nobody will read"
        assert self.buffered <= self.capacity, "B2: more values than capacity"
        if self.publishers and not self.forgotten:
            assert self.policy == "wait", "B3: a publisher waits, and need not"
            assert self.full(), "B3: a publisher waits beside room"
        for subscription in self.waiting:
            subscription._check()
        assert not (self.closed and (self.publishers or self.waiting)), "B6: somebody waits, closed"


class SubscriptionState(LoopBound):
    """Everything a subscription knows. What loop it belongs to is the broadcast's affair."""

    __slots__ = ("broadcast", "closed", "overtaken", "place", "receivers")

    def __init__(self, broadcast: BroadcastState) -> None:
        self.broadcast = broadcast
        self.place = broadcast.end
        self.receivers: WaitQueue = EMPTY
        self.overtaken = 0  # values that it missed, as far as it was told
        self.closed = False

    @property
    def driver(self) -> Driver:
        return self.broadcast.driver

    @driver.setter
    def driver(self, driver: Driver) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.broadcast.driver = driver

    @property
    def owner(self) -> Driver | None:
        return self.broadcast.owner

    @owner.setter
    def owner(self, owner: Driver | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.broadcast.owner = owner

    @property
    def name(self) -> str | None:
        return self.broadcast.name

    @property
    def cause(self) -> BaseException | None:
        return None if self.closed else self.broadcast.cause

    @property
    def missing(self) -> int:
        """How many values it has missed without being told."""
        return max(0, int(self.broadcast.oldest.number - self.place.number)) if not self.closed else 0

    @uninterruptible
    def take(self) -> Any:
        """Take a value now, or the number of those that were missed, or answer PENDING or CLOSED."""
        broadcast = self.broadcast
        if broadcast.forgotten:
            broadcast.collect()
        place = self.place
        oldest = broadcast.oldest
        if place.number < oldest.number:
            missing = int(oldest.number - place.number)
            self.overtaken += missing
            self.place = place = oldest
            if broadcast.policy == "lag":
                return Missed(missing)
        following = place.following
        if following is None:
            return CLOSED if self.closed or broadcast.closed else PENDING
        value = place.value
        self.place = following
        place.readers -= 1
        following.readers += 1
        if place is oldest and not place.readers:
            broadcast._trim()
            broadcast.admit()
        return value

    def can_take(self) -> bool:
        """Whether a receive would not have to wait."""
        return self.place is not self.broadcast.end or self.broadcast.closed

    def has_value(self) -> bool:
        """Whether a receive would get a value: not the end, and no word of missed ones."""
        if self.missing and self.broadcast.policy == "lag":
            return False
        return not self.closed and self.place is not self.broadcast.end

    def ended(self) -> bool:
        """Whether nothing more will come, not even word of missed values."""
        return self.closed or (self.broadcast.closed and self.place is self.broadcast.end)

    @uninterruptible
    def receiving(self, driver: Driver) -> WaitQueue:
        """Where a receiver waits."""
        broadcast = self.broadcast
        broadcast.owner = driver
        queue = self.receivers
        if queue is EMPTY:
            queue = self.receivers = WaitQueue()
        if queue.head is None:
            broadcast.waiting.pop(self, None)  # whoever waited here left, and its place in the order with it
        broadcast.waiting[self] = None
        return queue

    def park(self, driver: Driver) -> Waiter:
        """A receiver that waits, to be awaited at once."""
        return driver.park(self.receiving(driver))

    def publish(self, entry: SelectEntry, driver: Driver) -> None:
        """A select that waits to receive."""
        self.receiving(driver).append(entry)

    @uninterruptible
    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        place, self.place = self.place, _NOWHERE
        self.broadcast.waiting.pop(self, None)
        self.receivers.drain(CLOSED)
        self.broadcast.leave(place)

    def forget(self) -> None:
        """Nobody has it any more; nobody waits, since who waits has it."""
        if not self.closed:
            self.closed = True
            place, self.place = self.place, _NOWHERE
            self.broadcast.waiting.pop(self, None)
            self.broadcast.forget(place)

    def forget_waiters(self) -> None:
        self.broadcast.forget_waiters()

    def __len__(self) -> int:
        if self.closed:
            return 0
        return int(self.broadcast.end.number - max(self.place.number, self.broadcast.oldest.number))

    def __bool__(self) -> bool:
        return True

    def remedy(self) -> str:
        return self.broadcast.remedy()

    def __repr__(self) -> str:
        name = "" if self.name is None else f" to {self.name!r}"
        missed = self.overtaken + self.missing
        lost = f" missed={missed}" if missed else ""
        state = " closed" if self.closed else " (closed broadcast)" if self.broadcast.closed else ""
        return f"<Subscription{name} unread={len(self)}{lost}{state} receivers={len(self.receivers)}>"

    def _check(self) -> None:
        self.receivers._check()
        if self.receivers:
            assert self in self.broadcast.waiting, "B4: nobody knows that it waits"
            assert self.place is self.broadcast.end, "B4: a receiver waits beside a value"
            assert not self.ended(), "B6: somebody waits, closed"
