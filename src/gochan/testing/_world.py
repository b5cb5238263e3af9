"""One run of a program in a world of its own: its clock is ours, and so is the order in which its tasks run.

Shape
    A backend's world (``_asyncio_world``, ``_trio_world``) takes one step of one task at a time, and asks the
    schedule which. When nothing can run it asks ``World.idle`` what happens next, which is Go's rule:

        something outside is under way (a socket, a thread)   wait for it in real time
        somebody is in ``wait_idle``                          resume it
        a timer is armed, and main has not returned           jump to its time
        else                                                  a deadlock

Invariants
    V1  The clock moves only in ``idle``, to the time of the next timer, and never backwards.
    V2  After main has returned it stands still, until the program is cancelled: a clean-up may take its time.
    V3  Nothing that differs from run to run decides: labels are spawn numbers and names, and options come in spawn
        order. No hash, address, process-wide counter or real clock is looked at, but to wait for something outside.
    V4  A deadlock cancels the program, so that clean-up runs. One in the clean-up ends what still waits by force.

Waiting in real time
    Timers then fire after as much real time as they were set for, but the clock stands still between them, so a
    program that only reads a file in a thread sees the same times in every run.

Prior art
    Go's ``testing/synctest``; ``trio.testing.MockClock``'s autojump; loom and shuttle for one step at a time.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from types import FunctionType
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar, cast
from weakref import ref

import anyio

from gochan import _select
from gochan._callables import coroutine_of, refuse_plain
from gochan._core.driver import QUANTUM, STREAK, Driver, current_driver
from gochan._core.waitqueue import WaitQueue
from gochan._group import Group
from gochan._group_errors import ending as ending_in
from gochan.diagnostics._errors import Deadlock

from ._schedule import InOrder, Schedule

T = TypeVar("T")

LOOK: Final = 0.05  # seconds; a thread that ends without a word wakes nobody, so look now and then
ROUNDS: Final = 100  # of ending by force; a task that waits again each time is then left behind
IN_A_ROW: Final = QUANTUM * STREAK  # ready operations without a yield, as in an ordinary run
_DRAWS: Final = tuple(f"draw {eighth} eighths" for eighth in range(8))  # for whoever else asks for a random number

# The functions that draw among ready cases.
_in_select: Final = cast("FunctionType", _select.select).__code__
_in_try_select: Final = cast("FunctionType", _select.try_select).__code__
_in_publish: Final = _select._publish.__code__


class _Ending(NamedTuple):
    """An error on its way out: as one of the main task, asyncio would report some of them by itself."""

    error: BaseException


class Backend(Protocol):
    """What a world asks of the event loop that it controls."""

    def outside(self) -> str | None:
        """What is under way that only the real world can complete: "a socket", "a thread"; else None."""
        ...

    def soon(self, fn: Callable[[], None]) -> None:
        """Call ``fn`` in the loop, before any task's next step."""
        ...

    def others_ready(self) -> bool:
        """Whether a yield of the running task could change anything."""
        ...

    def force(self, error: BaseException) -> None:
        """End every task that waits, shielded or not."""
        ...


class World:
    """The clock, the schedule and the end of one run."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.backend: Backend | None = None
        self.driver: Driver | None = None
        self.now = 0.0
        self._keys: list[float] = []  # of the entries of one select, while it publishes them
        self.idlers = WaitQueue()  # whoever is in wait_idle: one at most
        self.returned = False  # main has, and not by an error
        self.over = False  # the program is; what the loop does then is its own affair
        self.scope: anyio.CancelScope | None = None
        self.group: Group | None = None
        self.stop: BaseException | None = None  # why the program was cancelled: a Deadlock, or the schedule's own
        self.forced = 0
        self.real_since: float | None = None  # the real time at which the clock read ``now``, while waiting for real
        self.threads = frozenset(threading.enumerate())

    # What the schedule decides.

    def choose(self, kind: str, options: Sequence[str]) -> int:
        choice = self.schedule.choose(kind, options)
        if self.schedule.stop is not None:
            self._stop_here()
        return choice

    def running(self, label: str, coroutine: Any) -> None:
        self.schedule.running(label, coroutine)
        if self.schedule.stop is not None:
            self._stop_here()

    def _stop_here(self) -> None:
        """The schedule wants no more of this run."""
        if self.scope is not None:
            self._end(self.schedule.stop)

    def _end(self, why: BaseException | None) -> None:
        self.stop = why
        self.schedule.ending()
        self.schedule = InOrder()  # the clean-up is no part of what is explored
        if self.scope is not None:
            self.scope.cancel()

    def random(self) -> float:
        """Which ready case wins: what a driver's ``random`` is in a world."""
        # A float is drawn; among how many things, select's own frame knows.
        caller = sys._getframe(1)
        if caller.f_code is _in_select or caller.f_code is _in_try_select:
            ready: Sequence[int] = caller.f_locals["ready"]
            return (self.choose("case", [f"case {number}" for number in ready]) + 0.5) / len(ready)
        publishes = caller.f_back  # the caller is the key of a sort
        if publishes is not None and publishes.f_code is _in_publish:
            return self._place(len(publishes.f_locals["numbered"]))
        return (self.choose("draw", _DRAWS) + 0.5) / len(_DRAWS)

    def _place(self, entries: int) -> float:
        """A key for the next of so many entries that are sorted by them: 0 is behind those before it.

        A number for each would make some orders likelier than others: of few numbers two are often the same.
        """
        keys = self._keys
        behind = self.choose("case", [f"case {len(keys) - n}" for n in range(len(keys) + 1)]) if keys else 0
        place = len(keys) - behind
        edges = 0.0, *keys, 1.0
        key = (edges[place] + edges[place + 1]) / 2
        keys.insert(place, key)
        if len(keys) == entries:
            self._keys = []
        return key

    # What happens when nothing can run.

    def idle(self, deadline: float, outside: str | None) -> float:
        """Nothing can run, and the next timer is at ``deadline``: how long to wait for real; 0 is to look again."""
        if outside is not None and not self.forced:
            return self._wait_for_real(deadline, outside)
        self.real_since = None
        if self.idlers.head is not None:
            self.idlers.commit_first(None)
        elif deadline < math.inf and not self._stands_still():
            self._move(deadline)
        elif self.over:
            return LOOK
        else:
            self._asleep()
        return 0

    def _wait_for_real(self, deadline: float, outside: str) -> float:
        if self.real_since is None:
            self.real_since = perf_counter()
            self.schedule.outside(outside)
        if self._stands_still():
            return LOOK
        left = deadline - self.now - (perf_counter() - self.real_since)
        if left > 0:
            return min(left, LOOK)
        self.real_since += deadline - self.now
        self._move(deadline)
        return 0

    def _move(self, deadline: float) -> None:
        self.now = max(self.now, deadline)
        self.schedule.moved(self.now)

    def time(self) -> float:
        return self.now

    def _stands_still(self) -> bool:
        """V2."""
        if not self.returned or self.over or self.stop is not None:
            return False
        return self.group is not None and not self.group._stopped

    def _asleep(self) -> None:
        assert self.backend is not None
        if self.stop is None:
            self.backend.soon(self._report)
            return
        self.forced += 1
        if self.driver is not None:
            self.driver.giving_up = True
        if self.forced > ROUNDS:
            raise self.stop
        if self.forced == 1 and isinstance(self.stop, Deadlock):
            self.backend.soon(self._report_again)
        else:
            self.backend.force(self.stop)

    def _report(self) -> None:
        deadlock = deadlock_here()
        if self.returned:
            deadlock.add_note("main has returned, so time stands still; goroutines that wait remain")
        self._end(deadlock)

    def _report_again(self) -> None:
        assert self.stop is not None
        assert self.backend is not None
        self.stop.add_note(f"the clean-up was stuck in its turn: {deadlock_here()}")
        self.backend.force(self.stop)

    # The program.

    async def program(self, fn: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...]) -> Any:
        """As ``gochan.run`` runs it, except that goroutines are waited for, not cancelled, when main returns."""
        failure: BaseException | None = None
        result: Any = None
        coroutine = coroutine_of(fn, args, "testing.run()")
        try:
            with anyio.CancelScope() as self.scope:
                async with Group() as self.group:
                    try:
                        result = await coroutine
                        self.returned = True
                    except anyio.get_cancelled_exc_class():
                        raise
                    except BaseException as error:
                        failure = error
                        self.group.cancel()
        except BaseExceptionGroup as others:
            ending = ending_in(others)
            if ending is not None:
                return _Ending(ending)
            if failure is None:
                raise
            raise BaseExceptionGroup(others.message, [failure, *others.exceptions]) from None
        finally:
            self.over = True
            self.schedule = InOrder()
        if failure is not None:
            return _Ending(failure)
        return result


class Streak:
    """Whether an operation that need not wait yields: the schedule's choice, but not for ever "go on" (D3)."""

    __slots__ = ("count", "task", "world")

    def __init__(self, world: World) -> None:
        self.world = world
        self.task: Callable[[], object] = object  # a weak reference: an id may be another task's the next time
        self.count = 0

    def yields(self, task: object) -> bool:
        if self.task() is not task:
            self.task, self.count = ref(task), 0
        self.count += 1
        world, backend = self.world, self.world.backend
        yields = self.count >= IN_A_ROW
        if not yields and backend is not None and (world.schedule.every_yield or backend.others_ready()):
            yields = world.choose("yield", ("go on", "yield")) == 1
        if yields:
            self.count = 0
        return yields


def deadlock_here() -> Deadlock:
    """The Deadlock that says where every goroutine of this loop waits."""
    from gochan.diagnostics import dump, goroutines

    return Deadlock(goroutines(), dump())


def world_here(what: str) -> tuple[World, Driver]:
    """The world whose task runs now, and its driver."""
    driver = current_driver()
    world: World | None = getattr(driver, "world", None)
    if world is None:
        raise RuntimeError(
            f"{what} belongs in a program that gochan.testing.run() runs: an ordinary event loop cannot tell when all "
            "others wait"
        )
    assert driver is not None
    return world, driver


def execute(
    fn: Callable[..., Coroutine[Any, Any, T]],
    args: tuple[Any, ...],
    backend: Literal["asyncio", "trio"],
    schedule: Schedule,
) -> T:
    """Run ``fn(*args)`` once, in virtual time, in the order that ``schedule`` decides.

    Returns:
        What fn returned, when all its goroutines have ended.

    Raises:
        BaseException: what fn raised, bare; an ExceptionGroup when a goroutine failed; a Deadlock; the schedule's
            ``stop``.
    """
    if backend not in ("asyncio", "trio"):
        raise ValueError(f"backend is 'asyncio' or 'trio', not {backend!r}")
    if current_driver() is not None:
        raise RuntimeError(
            "testing.run() inside a running event loop: it runs a loop of its own, so call it from a plain function, "
            "or await the async function itself"
        )
    refuse_plain(fn, "testing.run()")
    world = World(schedule)
    try:
        if backend == "asyncio":
            from ._asyncio_world import run_world
        else:
            from ._trio_world import run_world
        outcome = run_world(world, fn, args)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        if world.stop is not None:
            raise world.stop from (error if error is not world.stop else None)
        raise
    if world.stop is not None:
        raise world.stop
    if isinstance(outcome, _Ending):
        raise outcome.error
    value: T = outcome
    return value
