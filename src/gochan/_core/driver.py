"""Which event loop runs here, and what belongs to it.

Shape
    One ``Driver`` per running event loop. A primitive (``LoopBound``) remembers the driver it was last used under
    and, once somebody has *waited* on it, the one that owns it. The check on every operation is two comparisons; all
    else is in ``enter``, the slow path: first use, take-over from a closed loop, or misuse.

The check
    ``here() is driver.home and (len(threads) == 1 or driver.ident == get_ident())``. The context variable says which
    loop's task runs: a loop's tasks start from contexts in which it is not set, or set by a task of the same loop. (A
    context may outlive its loop, so the end of a run clears ``home``.) The thread is compared because a context can
    be copied into a worker thread, and a loop started there; while there is one thread only, that need not be done,
    which saves a sixth of a ready operation. Asking asyncio itself (``get_running_loop``) costs a system call before
    3.12, more than the rest of a ready operation.

Invariants
    D1  A primitive with waiters has an owner, and all its waiters are that driver's.
    D2  Only the owner's thread, while no other loop runs in it, changes a primitive that has an owner, until the
        owner's loop is closed. Then the next loop takes the primitive over, contents and all; what was still
        parked under the dead loop is dropped.
    D3  A task that only ever does operations that need not wait yields once in ``QUANTUM * STREAK`` of them.

The budget
    Asking on every operation which task is running costs as much as the operation. So a quantum of operations is
    handed out without asking; when it is used up, the task that used the last one is noted. The same task met
    STREAK times in a row, with nobody having been resumed in between, has had the loop for itself and yields once.
    Whoever is resumed after an operation ends every streak and starts a new quantum: the hog was suspended then. (That
    somebody *parks* proves nothing: with asyncio's eager tasks, those that the hog starts park inside its own step.)

Prior art
    tokio's cooperative budget; sniffio's detection of the running library.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Sized
from contextvars import ContextVar
from math import inf
from random import random
from threading import get_ident
from time import perf_counter
from types import FunctionType
from typing import Any, Final, NoReturn, TypeVar

from .alarms import Alarm, Alarms
from .waiter import Waiter
from .waitqueue import EMPTY, WaitQueue

QUANTUM: Final = 26  # 104 in a row: a buffer of 100 that is filled and emptied in turns never has to yield
STREAK: Final = 4


_uninterruptible: list[FunctionType] = []
_protect: list[Callable[[FunctionType], object]] = []

_Function = TypeVar("_Function")


def uninterruptible(function: _Function) -> _Function:
    """Mark a function that must not be left half done by a KeyboardInterrupt; trio honours it, at no cost."""
    assert isinstance(function, FunctionType)
    _uninterruptible.append(function)
    for protect in _protect:
        protect(function)
    return function


def protect_with(protect: Callable[[FunctionType], object]) -> None:
    """Have everything that is marked, now or later, protected by ``protect``."""
    _protect.append(protect)
    for function in _uninterruptible:
        protect(function)


# The table of all threads, a private name of ``threading``; without it, "more than one" is always true.
threads: Final[Sized] = getattr(threading, "_active", (None, None))

_here: ContextVar[object] = ContextVar("gochan_driver", default="no loop")
here: Final = _here.get


def nothing() -> object:
    return None


class Driver:
    """How operations wait in one event loop."""

    __slots__ = (
        "__weakref__",
        "alarms",
        "bridge",
        "budget",
        "clock",
        "creator",
        "giving_up",
        "goroutines",
        "hog",
        "home",
        "ident",
        "made",
        "random",
        "running",
        "stamped",
        "streak",
    )

    backend = "none"

    def __init__(self) -> None:
        self.home: object = object()  # what the context variable is in this loop's tasks; None once the run has ended
        self.ident = 0  # the loop's thread
        self.running: Callable[[], bool] = bool  # is the loop running, in whatever thread?
        self.clock: Callable[[], float] = perf_counter  # the loop's own time
        self.stamped = 0.0
        self.budget = QUANTUM
        self.hog = 0
        self.streak = 0
        self.random: Callable[[], float] = random  # which of the ready cases wins
        self.giving_up = False  # even the clean-up is a deadlock: nobody waits shielded any more
        self.goroutines = 1  # the number last given out; 1 is main
        self.creator: Callable[[], object] = nothing  # a weak reference to the task that called ``go`` last
        self.made: tuple[Any, int, int] | None = None  # where it did, see Goroutine
        self.alarms = Alarms(self.time, self.arm)
        self.bridge: Any = None  # the way in from plain threads, once somebody needs it

    def stamp(self) -> float:
        """The loop's time, to a millisecond: those who park together share one number, which saves its memory."""
        now = self.clock()
        if not 0 <= now - self.stamped < 0.001:
            self.stamped = now
        return self.stamped

    def time(self) -> float:
        """The loop's time, now; ``clock`` may be another one later."""
        return self.clock()

    def alive(self) -> bool:
        """Whether the loop can still run."""
        return False

    def arm(self, when: float) -> None:
        """Set the one timer for ``alarms``; infinity takes it away."""
        raise NotImplementedError

    def call_at(self, when: float, fn: Callable[[], object]) -> Alarm:
        """Have ``fn()`` called in the loop, outside any task, at this time of the loop."""
        return self.alarms.add(when, fn)

    @uninterruptible
    async def sleep_until(self, when: float) -> None:
        """Wait for a time of the loop."""
        waiter = self.park(None)
        alarm = self.call_at(when, waiter.expire) if when < inf else None
        try:
            await waiter
        finally:
            if alarm is not None:
                alarm.cancel()

    def park(self, queue: WaitQueue | None, item: Any = None) -> Waiter:
        """A waiter for the running task, published in ``queue``; a select publishes it itself, in several.

        It must be awaited at once.
        """
        raise NotImplementedError

    def task(self) -> object:
        """The task that runs now."""
        raise NotImplementedError

    async def yield_once(self) -> None:
        """Let every other ready task, timer and socket have its turn; a cancellation point."""
        raise NotImplementedError

    def call_soon_threadsafe(self, fn: Any, *args: Any) -> None:
        """Run ``fn`` in the loop's thread; RuntimeError when the loop has ended."""
        raise NotImplementedError

    def at_end(self, fn: Callable[[], None]) -> None:
        """Call ``fn`` when the run ends."""
        raise NotImplementedError

    async def pause(self) -> None:
        """The quantum is used up: yield if one task used several (D3)."""
        self.budget = QUANTUM - 1
        hog = id(self.task())
        if hog != self.hog:
            self.hog, self.streak = hog, 1
            return
        self.streak += 1
        if self.streak >= STREAK:
            self.hog = 0
            await self.yield_once()


NOWHERE: Final = Driver()
NOWHERE.budget = 0


# Who knows it on trio and on asyncio, once that was asked: an import statement costs a microsecond each time.
_trio: list[Callable[[], Driver | None]] = []
_asyncio: list[Callable[[asyncio.AbstractEventLoop], Driver]] = []


def current_driver() -> Driver | None:
    """The driver of the event loop that runs in this thread, if any."""
    # trio first: in trio's guest mode both run, and only inside a trio task is trio the one that counts.
    if "trio" in sys.modules:
        if not _trio:
            from . import trio_driver

            _trio.append(trio_driver.running_driver)
        driver = _trio[0]()
        if driver is not None:
            return driver
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    if not _asyncio:
        from . import asyncio_driver

        _asyncio.append(asyncio_driver.driver_of)
    return _asyncio[0](loop)


class LoopBound:
    """What belongs to the event loop that first waits on it."""

    __slots__ = ("driver", "owner")

    def __init__(self) -> None:
        self.driver: Driver = NOWHERE
        self.owner: Driver | None = None

    def enter(self) -> Driver:
        """The driver of the running loop, checked against the owner (D2): the slow path of every operation."""
        driver = current_driver()
        owner = self.owner
        if driver is None:
            raise RuntimeError(f"{self!r} was awaited outside an event loop: await it in a task of asyncio or trio")
        if owner is not None and owner is not driver:
            if owner.alive():
                self.refuse(driver)
            self.forget_waiters()
            self.owner = None
        driver.ident = get_ident()
        if driver.home is not None:
            _here.set(driver.home)
        self.driver = driver
        return driver

    @uninterruptible
    async def begin(self) -> Driver:
        """What every operation that may wait begins with: whose loop it is, and the budget (D3).

        The hottest ones have it written out: the call costs as much as all of it.
        """
        driver = self.driver
        if here() is not driver.home or (len(threads) > 1 and driver.ident != get_ident()):
            driver = self.enter()
        if driver.budget:
            driver.budget -= 1
        else:
            await driver.pause()
        return driver

    def check(self) -> None:
        """The same for operations that cannot wait; these may also be used where no loop runs."""
        driver = self.driver
        if here() is driver.home and driver.ident == get_ident():
            return
        driver_here, owner = current_driver(), self.owner
        if owner is None or owner is driver_here:
            return
        if not owner.alive():
            self.forget_waiters()
            self.owner = None
        # Between two runs of its loop, the thread that ran it may go on with it.
        elif driver_here is not None or owner.running() or owner.ident != get_ident():
            self.refuse(driver_here)

    def own(self, driver: Driver) -> None:
        """Somebody waits now (D1)."""
        self.owner = driver

    def forget_waiters(self) -> None:
        """Drop what is parked under a loop that is closed."""
        raise NotImplementedError

    def refuse(self, here: Driver | None) -> NoReturn:
        assert self.owner is not None
        where = "another thread" if self.owner.ident != get_ident() else "a second event loop"
        raise RuntimeError(
            f"{self!r} belongs to the {self.owner.backend} event loop that first waited on it and was used from "
            f"{where}{self.remedy()}"
        )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # A copy would share its waiters with the original.
        raise TypeError(f"{self!r} cannot be copied or pickled: pass on the object itself")

    def remedy(self) -> str:
        return ": use it in that loop only, from a thread through anyio.from_thread.run_sync"


class TimeBound(LoopBound):
    """What goes by the clock of the loop in which it was made; another loop has another clock, so cannot take over."""

    __slots__ = ()

    def __init__(self, what: str) -> None:
        super().__init__()
        driver = current_driver()
        if driver is None:
            raise RuntimeError(
                f"{what} goes by the clock of a running event loop: make it in a task of asyncio or trio"
            )
        self.owner = driver

    def forget_waiters(self) -> None:
        raise RuntimeError(f"{self!r} went by the clock of an event loop that is closed: make a new one in this loop")


__all__ = ["EMPTY", "NOWHERE", "Driver", "LoopBound", "TimeBound", "WaitQueue", "current_driver"]
