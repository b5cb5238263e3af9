"""What timers and tickers share: a value that comes at a time, and those who wait for it.

Shape
    A time and a queue. The loop has an alarm for it only while somebody waits: who comes later compares the clock with
    the time. So a timer that nobody waits for costs nothing, and a select that lost to another case leaves nothing
    behind.

Invariants
    M1  There is an alarm, at ``due()``, exactly while somebody waits and that time comes.
    M2  Whoever comes when the value is there, but others have waited longer for it, waits behind them.
    M3  There is a queue exactly while somebody waits. It knows the state, and the state knows it: a cycle that only
        the collector would free.

Why not
    A channel of capacity 1 that the loop's timer sends to: stop and reset then have to drain it, Go's trap until 1.23.

Prior art
    Go's timers since 1.23: a timer channel is in the heap only while a goroutine is blocked on it.
"""

from __future__ import annotations

from math import inf
from typing import Any

from ._case import Case
from ._core.alarms import Alarm
from ._core.driver import Driver, TimeBound, uninterruptible
from ._core.waiter import SelectEntry
from ._core.waitqueue import EMPTY, WaitQueue, WatchedQueue


class AlarmState(TimeBound):
    """A value at a time, and who waits for it."""

    __slots__ = ("alarm", "waiters")

    def __init__(self, what: str) -> None:
        super().__init__(what)
        assert self.owner is not None
        self.driver = self.owner  # so that a select finds it to be of the loop that its other cases are of
        self.alarm: Alarm | None = None
        self.waiters: WaitQueue = EMPTY

    def due(self) -> float:
        """When the value comes, or came if nobody has it yet; infinity if none does."""
        raise NotImplementedError

    def take(self) -> float:
        """The value that is due; it is gone now."""
        raise NotImplementedError

    def now(self) -> float:
        assert self.owner is not None
        return self.owner.clock()

    def ready(self) -> bool:
        """Whether the value is there for one who comes now (M2)."""
        return self.waiters.head is None and self.now() >= self.due()

    @uninterruptible
    async def next(self, driver: Driver, item: Any = None) -> Any:
        """Wait for the value."""
        if self.ready():
            return self.take()
        waiter = driver.park(self.waiting(), item)
        self.adjust()
        return await waiter

    def waiting(self) -> WaitQueue:
        if self.waiters is EMPTY:
            self.waiters = WatchedQueue(self.adjust)
        return self.waiters

    def adjust(self) -> None:
        """M1 and M3, after anything that changes who waits, or for when."""
        when = inf
        if self.waiters.head is None:
            self.waiters = EMPTY
        else:
            when = self.due()
        alarm = self.alarm
        if alarm is not None:
            if alarm.when == when:
                return
            alarm.cancel()
        assert self.owner is not None
        self.alarm = self.owner.call_at(when, self.fire) if when < inf else None

    @uninterruptible
    def fire(self) -> None:
        self.alarm = None
        self.waiters.commit_first(self.take())
        self.adjust()

    def _check(self) -> None:
        self.waiters._check()
        assert (self.waiters is EMPTY) == (self.waiters.head is None), "M3: a queue for nobody, or the one of all"
        armed = self.waiters.head is not None and self.due() < inf
        assert (self.alarm is not None) == armed, "M1: set in the loop for nobody, or not set"
        assert self.alarm is None or self.alarm.when == self.due(), "M1: set for another time"


class AlarmCase(Case[float]):
    """The case of a select that waits for a timer or ticker."""

    __slots__ = ()

    def __init__(self, state: AlarmState) -> None:
        self._state = state

    def _ready(self) -> bool:
        ready: bool = self._state.ready()
        return ready

    def _take(self) -> Any:
        return self._state.take()

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        entry.item = None
        self._state.waiting().append(entry)
        self._state.adjust()
