"""What is due when, in one event loop.

Shape
    A heap of alarms; the loop itself holds one timer, for the earliest of them (``arm``). An alarm that is cancelled
    stays in the heap until it comes to the top or half of the heap is dead.

Invariants
    T1  The loop's timer stands at the time of the earliest living alarm, and there is none without one. So nothing
        is left in the loop by a select that lost, a deadlock is seen, and virtual time does not jump to a moment at
        which nothing happens.
    T2  Alarms fire in the order of their times; those of one time in the order in which they were set, unless
        ``pick`` chooses.
    T3  An alarm fires once, and never after ``cancel``; one that raises keeps none of the others from firing.

Why not
    One timer of the loop for each: asyncio compares its timers in Python, in every step of its heap; trio has none at
    all, only deadlines of tasks. A timer wheel: finer than a heap only for times that are nearly all cancelled, and
    it rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import takewhile
from math import inf
from time import get_clock_info
from typing import Final

SWEEP: Final = 64  # dead alarms that are not worth sweeping out

# Seconds by which a loop may be early: asyncio takes what is due within one tick of its clock as due.
EARLY: Final = max(get_clock_info("monotonic").resolution, 0.000_001)
TICK: Final = 0.001  # seconds; what the coarsest clock, that of uvloop, can tell apart


class Alarm:
    """Something to be called at a time."""

    __slots__ = ("_alarms", "_fn", "_queued", "when")

    def __init__(self, when: float, fn: Callable[[], object], alarms: Alarms) -> None:
        self.when = when
        self._fn: Callable[[], object] | None = fn
        self._alarms = alarms
        self._queued = True  # in the heap

    def cancel(self) -> None:
        """Keep it from firing; idempotent."""
        if self._fn is not None:
            self._fn = None
            if self._queued:
                self._alarms.one_died(self)

    def __repr__(self) -> str:
        return f"<Alarm at {self.when} {'spent' if self._fn is None else repr(self._fn)}>"


_Entry = tuple[float, int, Alarm]


class Alarms:
    """The alarms of one loop."""

    __slots__ = ("arm", "armed", "clock", "count", "dead", "heap", "pick")

    def __init__(self, clock: Callable[[], float], arm: Callable[[float], None]) -> None:
        self.clock = clock
        self.arm = arm  # set the loop's one timer; to infinity is to take it away
        self.armed = inf
        self.heap: list[_Entry] = []
        self.count = 0
        self.dead = 0  # in the heap
        self.pick: Callable[[Sequence[str]], int] | None = None  # which of several that are due at one time is next

    def __len__(self) -> int:
        return len(self.heap) - self.dead

    def add(self, when: float, fn: Callable[[], object]) -> Alarm:
        """Have ``fn()`` called at this time of the clock; in the loop's next turn if it has passed."""
        alarm = Alarm(when, fn, self)
        self.count += 1
        heappush(self.heap, (when, self.count, alarm))
        if when < self.armed:
            self.armed = when
            self.arm(when)
        return alarm

    def one_died(self, alarm: Alarm) -> None:
        """One in the heap was cancelled."""
        heap = self.heap
        self.dead += 1
        if heap[0][2] is alarm:
            self._rearm()
        elif self.dead > SWEEP and self.dead * 2 > len(heap):
            heap[:] = [entry for entry in heap if entry[2]._fn is not None]
            heapify(heap)
            self.dead = 0

    def fire(self) -> None:
        """What the loop's timer calls."""
        now = self.clock()
        if now < self.armed - EARLY:
            # Not yet. uvloop rounds to its milliseconds, also downwards; and on trio the alarm whose time had come
            # may have been cancelled in the same turn. Less than a tick would be rounded to nothing: a busy wait.
            self.arm(max(self.armed, now + TICK))
            return
        now = max(now, self.armed)
        self.armed = inf
        heap = self.heap
        due: list[_Entry] = []
        while heap and heap[0][0] <= now:
            entry = heappop(heap)
            entry[2]._queued = False
            if entry[2]._fn is None:
                self.dead -= 1
            else:
                due.append(entry)
        try:
            for alarm in self._taken_from(due):
                fn, alarm._fn = alarm._fn, None
                if fn is not None:  # it may have been cancelled by one that fired before it
                    fn()
        finally:
            for entry in due:  # T3: only if one raised
                entry[2]._queued = True
                self.dead += entry[2]._fn is None
                heappush(heap, entry)
            self._rearm()

    def _taken_from(self, due: list[_Entry]) -> Iterator[Alarm]:
        """T2: one after the other, each gone from ``due`` when it is given."""
        due.reverse()
        labels: list[str] = []  # of those at the end, which are due at one time
        while due:
            number = 0
            if self.pick is not None:
                labels = labels or _labels(due)
                number = self.pick(labels) if len(labels) > 1 else 0
                del labels[number]
            yield due.pop(-1 - number)[2]

    def _rearm(self) -> None:
        """T1."""
        heap = self.heap
        while heap and heap[0][2]._fn is None:
            heappop(heap)[2]._queued = False
            self.dead -= 1
        when = heap[0][0] if heap else inf
        if when != self.armed:
            self.armed = when
            self.arm(when)

    def _check(self) -> None:
        assert all(alarm._queued for _, _, alarm in self.heap), "T1: one in the heap does not know it"
        living = [entry[0] for entry in self.heap if entry[2]._fn is not None]
        assert len(self.heap) - len(living) == self.dead, "T1: the dead are not counted"
        assert self.armed == min(living, default=inf), "T1: the loop's timer is not at the earliest alarm"


def _labels(due: list[_Entry]) -> list[str]:
    """Of the alarms that are due first, at the end of the list."""
    first = due[-1][0]
    equal = takewhile(lambda entry: entry[0] == first, reversed(due))
    return [f"{count} {getattr(alarm._fn, '__qualname__', 'alarm')}" for _, count, alarm in equal]
