"""Time for what goes by a clock but outlives its loop: limiters and circuit breakers.

Shape
    Whole nanoseconds, as Go has them, on a time line of the object's own. A clock's seconds are rounded to the nearest
    nanosecond, which takes away what adding up floats has left (0.1 + 0.2 s is 300 000 000 ns here), and ``shift``
    lays them on the time line.

Invariants
    CK1  Nothing on the time line moves when the clock changes: the first moment by the new clock is the last one by
        the old. So what was due in 3 s when a loop ended is due 3 s after the next one has taken the object over.
    CK2  The clock is that of the running loop; where none runs, that of the loop it was last used in, while that one
        lives, and ``time.monotonic`` otherwise. A clock that the user gave is never exchanged.

Why not
    Floats in seconds: Go's tables come out only to the last bits, and "strictly after" means nothing.
    ``time.monotonic`` for all: a test in virtual time would wait for real, and trio's clock is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, Final, cast

from ._core.driver import NOWHERE, Driver, LoopBound, current_driver, here, threads, uninterruptible

FOREVER: Final = 2**63 - 1  # nanoseconds; the longest duration that Go has, 292 years

# The clock of code that runs in no loop.
_PLAIN: Final = Driver()
_PLAIN.clock = monotonic


def in_nanoseconds(seconds: float) -> int:
    """As a duration, 0 or more; what is too long is as long as can be, and what is longer than nothing stays so."""
    nanoseconds = seconds * 1e9
    if nanoseconds >= FOREVER:
        return FOREVER
    return max(round(nanoseconds), 1) if nanoseconds > 0 else 0


def read(clock: Callable[[], float]) -> int:
    """What a clock says, in nanoseconds."""
    seconds = clock()
    try:
        return round(seconds * 1e9)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the clock {clock!r} gave {seconds!r}: it must give a number of seconds") from None


def checked_clock(clock: Any, whose: str) -> Callable[[], float] | None:
    """A clock as users give it, or a TypeError."""
    if clock is not None and not callable(clock):
        raise TypeError(f"the clock of {whose} is a function that gives seconds, such as time.monotonic, not {clock!r}")
    return cast("Callable[[], float] | None", clock)


class Clocked(LoopBound):
    """What goes by the clock of whatever loop it is used in."""

    __slots__ = ("given", "keeper", "latest", "shift")

    def __init__(self, given: Callable[[], float] | None) -> None:
        super().__init__()
        self.given = given
        self.keeper: Driver = NOWHERE  # whose clock it goes by
        self.shift = 0
        self.latest = 0

    @uninterruptible
    def now(self) -> int:
        """The time; starts the clock, or starts it again (CK1). RuntimeError where the object must not be used."""
        driver = self.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = self.arrive()
        if self.given is not None:
            self.latest = read(self.given)
            return self.latest
        moment = round(driver.clock() * 1e9)
        if driver is not self.keeper:
            self.shift = self.latest - moment
            self.keeper = driver
        self.latest = moment = moment + self.shift
        return moment

    def arrive(self) -> Driver:
        """The slow path of ``now``: check that it may be used here, and say by whose clock (CK2)."""
        if current_driver() is not None:
            return self.enter()
        self.check()
        return self.keeper if self.keeper.alive() else _PLAIN

    def glance(self) -> int:
        """The time as far as it can be told anywhere: in another thread, in a finalizer, after the loop's end."""
        clock = self.given or (self.keeper.clock if self.keeper.alive() or self.keeper is _PLAIN else None)
        if clock is None:
            return self.latest
        try:
            return read(clock) + self.shift
        except Exception:  # a user's clock
            return self.latest

    def on_loop(self, moment: int, driver: Driver) -> float:
        """When this is by the loop's clock."""
        if self.given is None:
            return (moment - self.shift) / 1e9
        return driver.clock() + (moment - self.latest) / 1e9
