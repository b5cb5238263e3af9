"""What a limiter is made of: a token bucket, a clock, and those who sleep until their tokens are there.

Shape
    Whoever waits has its tokens already, as a grant, and sleeps until it may use them, with an alarm of its own: later
    grants may come due before earlier ones, when the rate was raised meanwhile.

Invariants
    LI1  Of those whose time has come the one that has waited longest goes first, also when their times are equal.
    LI2  Whoever is committed keeps its grant; whoever withdraws gives it back.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ._case import Case
from ._clocked import Clocked
from ._core.alarms import Alarm
from ._core.driver import Driver, uninterruptible
from ._core.waiter import SelectEntry
from ._core.waitqueue import EMPTY, Entry, WaitQueue
from ._token_bucket import Grant, TokenBucket


class LimiterState(Clocked):
    """The bucket and its sleepers."""

    __slots__ = ("bucket", "sleepers")

    def __init__(self, bucket: TokenBucket, clock: Any) -> None:
        super().__init__(clock)
        self.bucket = bucket
        self.sleepers: WaitQueue = EMPTY

    @uninterruptible
    def waiting(self, driver: Driver) -> WaitQueue:
        self.owner = driver
        if self.sleepers is EMPTY:
            self.sleepers = WaitQueue()
        return self.sleepers

    def alarm_for(self, entry: Entry, driver: Driver) -> Alarm:
        """Have a sleeper woken at ``entry.item``, a time of the loop."""
        return driver.call_at(entry.item, partial(self.wake, entry, entry.item))

    @uninterruptible
    def wake(self, entry: Entry, when: float) -> None:
        """LI1."""
        sleepers = self.sleepers
        while sleepers.head is not None and sleepers.head.item <= when:
            sleepers.commit_first(None)
        if entry.queue is not None:
            sleepers.remove(entry)
            entry.commit(None)

    @uninterruptible
    def give_back(self, grant: Grant) -> None:
        """LI2; works anywhere, since the coroutine that waited may be closed anywhere."""
        self.bucket.give_back(grant, self.glance())

    def forget_waiters(self) -> None:
        self.sleepers = EMPTY

    def __repr__(self) -> str:
        bucket = self.bucket
        return f"<Limiter {bucket.rate:g}/s burst={bucket.burst} waiting={len(self.sleepers)}>"

    def _check(self) -> None:
        self.sleepers._check()
        self.bucket._check()


class SleepCase(Case[None]):
    """The case of a select that waits for a time of the loop."""

    __slots__ = ("alarm", "when")

    def __init__(self, state: LimiterState, when: float) -> None:
        self._state = state
        self.when = when
        self.alarm: Alarm | None = None

    def _ready(self) -> bool:
        return False  # the alarm says when

    def _publish(self, entry: SelectEntry, driver: Driver) -> None:
        entry.item = self.when
        self._state.waiting(driver).append(entry)
        self.alarm = self._state.alarm_for(entry, driver)

    def disarm(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
