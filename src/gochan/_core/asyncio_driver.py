"""How a waiter suspends and resumes a task of asyncio: the default loop, uvloop, eager tasks.

Shape
    The waiter *is* the future-like object that the task awaits (the documented ``_asyncio_future_blocking``
    protocol). Committed waiters go to a run queue of the driver's own; one ``call_soon`` drains many of them, so that
    the loop's own turn (its ``select``) is paid once for many switches.

Cancellation (promise 1)
    ``Task.cancel`` asks the waiter. A parked one withdraws and raises. A committed one answers "taken care of" and
    only notes it (W3); after the value has been returned, ``call_soon`` re-delivers it. Before the task parks again,
    what is still put off is delivered at once: a partner that completes every operation in the tick in which it
    parks would otherwise put the cancellation off for ever.

Invariants
    A1  A cancellation is re-delivered only while ``task.cancelling()`` is at least what it was when it came: a
        time-out or a scope that ended meanwhile has taken its own back, and nothing may be left behind. When
        several came, the one that counts lowest decides whether any is still wanted.
    A2  ``task.cancelling()`` is what it would be without the deferral: ``uncancel`` and ``cancel`` in a pair.
    A3  A waiter in the run queue is resumed, also when a SystemExit or KeyboardInterrupt leaves another task's step:
        the drain re-arms itself in ``finally``.
    A4  One drain ends after ``SWITCHES`` switches or ``TURN`` seconds, whichever is first, so that a ping-pong
        keeps no timer and no socket waiting.

Why not
    ``asyncio.Future``: two to three times the cost of a rendezvous, and its ``cancel`` answers "too late" once the
    result is set, so that the task raises although the operation has happened. Catching the CancelledError and
    calling ``uncancel``/``cancel`` leaves a spurious cancellation behind before 3.13.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Context
from math import inf
from threading import get_ident
from time import perf_counter
from typing import Any, Final

from .driver import QUANTUM, Driver
from .scopes import of_a_scope, sheltered
from .waiter import CANCELLED, COMMITTED, PARKED, Waiter
from .waitqueue import WaitQueue

SWITCHES: Final = 128
TURN: Final = 0.002  # seconds; a 20 ms timer must not notice
_ATTRIBUTE: Final = "_gochan_driver"


class AsyncioDriver(Driver):
    """The driver of one asyncio event loop."""

    __slots__ = ("deferred", "ends", "lifetime", "loop", "now", "ready", "scheduled", "timer")

    backend = "asyncio"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.ident = get_ident()
        self.running = loop.is_running
        self.ready: deque[AsyncioWaiter] = deque()
        self.scheduled = False
        self.clock = loop.time
        self.now = 0.0  # while the run queue is drained: one reading of the clock does for all who park
        self.deferred: dict[asyncio.Task[Any], list[tuple[Any, int]]] = {}
        self.ends: list[Callable[[], None]] = []
        self.timer: asyncio.TimerHandle | None = None
        # An async generator that has begun is what every runner shuts down at the end, while the loop still lives.
        # (Later, in the last moments of a run, asyncio would warn of it; a private name says so where it is there.)
        self.lifetime = self._lifetime()
        if not getattr(loop, "_asyncgens_shutdown_called", False):
            try:
                self.lifetime.__anext__().send(None)
            except StopIteration:
                pass

    def alive(self) -> bool:
        return not self.loop.is_closed()

    def task(self) -> object:
        return asyncio.current_task(self.loop)

    def park(self, queue: WaitQueue | None, item: Any = None) -> AsyncioWaiter:
        if self.deferred:
            self.deliver_now()
        # Filled in here: before 3.12 a call of __init__ costs as much as all of these.
        waiter = AsyncioWaiter()
        waiter.item = item
        waiter.entries = None
        waiter.state = PARKED
        waiter.driver = self
        waiter.callback = None
        waiter.cancels = None
        waiter._asyncio_future_blocking = True
        waiter.since = self.now or self.stamp()
        # As WaitQueue.append does: a call less on the hottest path.
        waiter.queue = queue
        if queue is not None:
            tail = queue.tail
            waiter.previous = tail
            waiter.next = None
            if tail is None:
                queue.head = waiter
            else:
                tail.next = waiter
            queue.tail = waiter
        return waiter

    async def yield_once(self) -> None:
        await asyncio.sleep(0)

    def call_soon_threadsafe(self, fn: Callable[..., object], *args: Any) -> None:
        self.loop.call_soon_threadsafe(fn, *args)

    def arm(self, when: float) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None
        if when < inf and not self.loop.is_closed():  # tasks that die with their loop withdraw after its end
            # In a context of its own: that of the task which happens to arm it would be kept alive.
            self.timer = self.loop.call_at(when, self.alarms.fire, context=Context())

    def at_end(self, fn: Callable[[], None]) -> None:
        self.ends.append(fn)

    async def _lifetime(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            # A context may outlive its loop and be used under another: what it says of here must not hold then.
            self.home = None
            for fn in self.ends:
                fn()

    def wake(self, waiter: AsyncioWaiter) -> None:
        self.ready.append(waiter)
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self.drain)

    def drain(self) -> None:
        """Resume what is ready (A3, A4)."""
        ready = self.ready
        waiter: AsyncioWaiter | None = None
        left = SWITCHES
        until = perf_counter() + TURN
        self.now = self.stamp()
        try:
            while ready:
                waiter = ready.popleft()
                self.hog = 0
                self.budget = QUANTUM
                waiter.context.run(waiter.callback, waiter)
                left -= 1
                # The clock costs a tenth of a switch: look at it on every fourth.
                if not left & 3 and (not left or perf_counter() > until):
                    break
        finally:
            self.now = 0.0
            waiter = None  # this frame lives on in the tracebacks of those whom it resumed
            if ready:
                self.loop.call_soon(self.drain)
            else:
                self.scheduled = False

    def defer(self, task: asyncio.Task[Any], cancels: list[tuple[Any, int]]) -> None:
        self.deferred.setdefault(task, []).extend(cancels)
        self.loop.call_soon(self.deliver, task)

    def deliver_now(self) -> None:
        """What was put off for the task that runs, before it parks."""
        task = asyncio.current_task(self.loop)
        if task is not None:
            self.deliver(task)

    def deliver(self, task: asyncio.Task[Any]) -> None:
        """Hand the task a cancellation that was put off, if whoever asked for it still wants it (A1, A2)."""
        cancels = self.deferred.pop(task, None)
        if cancels is None or task.done():
            return
        now = task.cancelling()
        wanted = [message for message, count in cancels if count <= now]
        if not wanted:
            return
        # Scopes and time-outs take theirs back; a plain cancel() carries no message and stays. The message must
        # travel: anyio knows its own cancellations by it.
        everyone = [message for message, _ in cancels]
        message = wanted[-1] if len(wanted) == len(cancels) or None not in everyone else None
        if any(map(of_a_scope, everyone)) and sheltered(task):
            # A scope that is outside a shield now asks again by itself when the task has left that.
            others = [message for message in everyone if not of_a_scope(message)]
            if not others:
                return
            message = others[-1]
        task.uncancel()
        task.cancel(message)


class AsyncioWaiter(Waiter):
    """A parked operation, in the shape of a future."""

    __slots__ = ("_asyncio_future_blocking", "callback", "cancels", "context", "driver")

    _asyncio_future_blocking: bool
    driver: AsyncioDriver
    callback: Any  # the task's own wake-up, once the task has been suspended
    context: Context  # to run it in
    cancels: list[tuple[Any, int]] | None  # that came after the commit

    @property
    def task(self) -> asyncio.Task[Any]:
        """The task that is suspended. Not kept: asking for the current one costs a tenth of a rendezvous."""
        task: asyncio.Task[Any] = self.callback.__self__
        return task

    def commit(self, value: Any) -> None:
        self.state = COMMITTED
        self.item = value
        if self.callback is not None:
            driver = self.driver  # what driver.wake() does, a call less
            driver.ready.append(self)
            if not driver.scheduled:
                driver.scheduled = True
                driver.loop.call_soon(driver.drain)

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            yield self
        except BaseException:
            if self.state == PARKED:  # the coroutine is closed, not cancelled
                if self.driver.alive():
                    self.withdraw()
                else:
                    self.vanish()
                self.state = CANCELLED
                self.item = None
            raise
        if self.cancels is not None:
            self.driver.defer(self.task, self.cancels)
        return self.item

    # What a task asks of a future.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.driver.loop

    def add_done_callback(self, callback: Any, *, context: Context) -> None:
        self.callback = callback
        self.context = context
        if self.state != PARKED:  # a finalizer committed it between publishing and here
            self.driver.wake(self)

    def result(self) -> Any:
        if self.state == CANCELLED:
            self.callback = None  # it knows the task, which may keep the exception, whose traceback keeps this
            raise self._cancelled_error()
        return self.item

    def cancel(self, msg: Any = None) -> bool:
        if self.state == PARKED:
            self.withdraw()
            self.state = CANCELLED
            self.item = msg
            if self.callback is not None:
                self.driver.wake(self)
            return True
        if self.state == COMMITTED:
            if self.cancels is None:
                self.cancels = []
            self.cancels.append((msg, self.task.cancelling()))
            return True
        return False

    # What debuggers and other libraries ask of one.

    def done(self) -> bool:
        return self.state != PARKED

    def cancelled(self) -> bool:
        return self.state == CANCELLED

    def exception(self) -> BaseException | None:
        if self.state == CANCELLED:
            raise self._cancelled_error()
        return None

    def _cancelled_error(self) -> asyncio.CancelledError:
        return asyncio.CancelledError() if self.item is None else asyncio.CancelledError(self.item)


def driver_of(loop: asyncio.AbstractEventLoop) -> AsyncioDriver:
    """The loop's driver. It lives on the loop: a table of ours would keep every closed loop alive."""
    driver: AsyncioDriver | None = getattr(loop, _ATTRIBUTE, None)
    if driver is None:
        driver = AsyncioDriver(loop)
        setattr(loop, _ATTRIBUTE, driver)
    return driver
