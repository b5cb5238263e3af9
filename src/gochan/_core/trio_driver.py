"""How a waiter suspends and resumes a task of trio.

``wait_task_rescheduled`` and ``reschedule`` are all it takes: trio calls the abort function only while the task is
parked, so a committed operation returns normally and its cancellation waits for the next checkpoint (W3).

A KeyboardInterrupt must not strike between the steps of a commit: what is marked ``uninterruptible`` is protected as
trio protects its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from threading import get_ident
from typing import Any

import trio
from trio.lowlevel import Abort, RunVar

from .driver import QUANTUM, Driver, protect_with, uninterruptible
from .waiter import CANCELLED, COMMITTED, PARKED, Waiter
from .waitqueue import WaitQueue


class TrioDriver(Driver):
    """The driver of one trio run."""

    __slots__ = ("alarm_scope", "ended", "ends", "token")

    backend = "trio"

    def __init__(self) -> None:
        super().__init__()
        self.ident = get_ident()
        self.clock = trio.lowlevel.current_clock().current_time
        self.token = trio.lowlevel.current_trio_token()
        self.ended = False
        self.ends: list[Callable[[], None]] = []
        self.alarm_scope: trio.CancelScope | None = None  # whose deadline is the timer, once there was an alarm
        self.running = self.alive
        trio.lowlevel.spawn_system_task(self._lifetime, name="gochan: end of run")

    async def _lifetime(self) -> None:
        # A second run in the same thread must not be mistaken for this one, and threads that wait must hear of its
        # end; a system task is cancelled when main has ended.
        try:
            await trio.sleep_forever()
        finally:
            self.ended = True
            self.home = None
            for fn in self.ends:
                fn()

    def alive(self) -> bool:
        return not self.ended

    def task(self) -> object:
        return trio.lowlevel.current_task()

    def park(self, queue: WaitQueue | None, item: Any = None) -> TrioWaiter:
        self.hog = 0
        self.budget = QUANTUM
        waiter = TrioWaiter()
        waiter.item = item
        waiter.queue = None
        waiter.entries = None
        waiter.state = PARKED
        waiter.since = self.stamp()
        waiter.task = trio.lowlevel.current_task()
        if queue is not None:
            queue.append(waiter)
        return waiter

    async def yield_once(self) -> None:
        await trio.lowlevel.checkpoint()

    def call_soon_threadsafe(self, fn: Callable[..., object], *args: Any) -> None:
        try:
            self.token.run_sync_soon(fn, *args)
        except trio.RunFinishedError:
            raise RuntimeError("the trio run has ended") from None

    def arm(self, when: float) -> None:
        if self.ended:  # tasks that die with their run withdraw after its end
            return
        if self.alarm_scope is None:
            self.alarm_scope = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._fire_alarms, name="gochan: timers")
        self.alarm_scope.deadline = when

    async def _fire_alarms(self) -> None:
        # trio has deadlines, but no timers that call a function.
        while True:
            assert self.alarm_scope is not None
            with self.alarm_scope:
                await trio.sleep_forever()
            self.alarm_scope = trio.CancelScope()
            self.alarms.fire()

    def at_end(self, fn: Callable[[], None]) -> None:
        self.ends.append(fn)


class TrioWaiter(Waiter):
    """A parked operation of a trio task."""

    __slots__ = ("task",)

    task: trio.lowlevel.Task

    @uninterruptible
    def commit(self, value: Any) -> None:
        self.state = COMMITTED
        self.item = value
        trio.lowlevel.reschedule(self.task)

    @uninterruptible
    def abort(self, _raise_cancel: Any) -> Abort:
        self.withdraw()
        self.state = CANCELLED
        return Abort.SUCCEEDED

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            yield from trio.lowlevel.wait_task_rescheduled(self.abort).__await__()  # noqa: ASYNC105  # awaited here
        except BaseException:
            if self.state == PARKED:  # the coroutine is closed, not cancelled: trio does that to nobody while it runs
                self.vanish()
                self.state = CANCELLED
            raise
        return self.item


protect_with(trio.lowlevel.enable_ki_protection)

_driver: RunVar[TrioDriver] = RunVar("gochan")


def running_driver() -> TrioDriver | None:
    """The driver of the trio run whose task runs now, if any."""
    if not trio.lowlevel.in_trio_task():
        return None
    try:
        return _driver.get()
    except LookupError:
        driver = TrioDriver()
        _driver.set(driver)
        return driver
