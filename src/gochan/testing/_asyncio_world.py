"""A world on asyncio: an event loop that takes one step at a time.

Shape
    Whatever is called soon goes to a lane: one for each task (a task's step is a bound method of the task), and one
    for the plumbing, everything else. The loop's selector is asked for events once per turn; here it runs the lanes
    first, and only when they are empty does it look at the sockets, and asks the world what happens next.

Invariants
    L1  One step at a time: the schedule chooses among the lanes of tasks that are ready, in spawn order. (Order of
        arrival is not the same in every run: anyio keeps tasks in sets, and walks those to cancel them.)
    L2  Plumbing is never a choice. It keeps its order, and goes before every task that was made ready after it:
        asyncio's own transports count on that. What is younger than all ready tasks waits. ("Callbacks first" would
        never end: anyio's delivery of a cancellation, and gochan's, call themselves again until the task is gone.)
    L3  Where only such repeating deliveries are left, and whole rounds of them changed nothing, the world is idle.
    L4  Timers that are due become plumbing, those of one time in the order that is chosen.

Private names of asyncio: ``_scheduled`` (the heap of timers, where the diagnostics look too), ``_clock_resolution``.

Why not
    A dispatcher armed by ``call_soon``, one step a turn: a turn of the loop costs more than the step.
"""

from __future__ import annotations

import asyncio
import math
import re
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context
from functools import partial
from heapq import heappop, heappush
from threading import get_ident
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

import anyio
from typing_extensions import TypeVarTuple, Unpack

from gochan._core import asyncio_driver
from gochan._core.asyncio_driver import AsyncioDriver, AsyncioWaiter
from gochan._core.scopes import cancel_until_gone

from ._ready import Lane, Ready
from ._threads import busy_thread
from ._world import Streak, World

T = TypeVar("T")
Args = TypeVarTuple("Args")

_UNNAMED: Final = re.compile(r"Task-\d+")  # numbered through the process: not the same in every run
_CHAIN: Final = 10_000  # callbacks that call each other, with no task in between, before time moves all the same
_ROUNDS: Final = 2  # of repeated deliveries: one of them may have started another
_STALE: Final = 1_000  # entries of a heap that are not worth sweeping out
_POLL: Final = 256  # steps between two looks at the sockets


class TaskLane(Lane):
    """What a task does next; it has nearly always one thing to do."""

    __slots__ = ("__weakref__", "handles")

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.handles: deque[tuple[int, asyncio.Handle, asyncio.Task[Any]]] = deque()

    def named(self) -> str:
        if not self.label:
            task = self.handles[0][2]
            name = task.get_name()
            if self.number == 1:
                name = "main"
            elif _UNNAMED.fullmatch(name):
                name = getattr(task.get_coro(), "__qualname__", "task")
            self.label = f"{self.number} {name}"
        return self.label


class _Timer(asyncio.TimerHandle):
    __slots__ = ("label", "number")

    number: int
    label: str

    def __lt__(self, other: Any) -> bool:
        mine: tuple[float, int] = (self.when(), self.number)
        return mine < (other.when(), other.number)


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]  # another class on each system
    """Where the loop asks what happened outside: everything inside happens first."""

    loop: WorldLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        if timeout is not None and timeout <= 0:  # the loop has something to do of its own, or stops
            loop.expire()  # or it would be asked with 0 again and again
            return super().select(0)
        while True:
            busy = loop.run_lanes()
            if loop.halted:
                loop.halted = False
                return []
            outside = None if busy else loop.outside()
            # After asking what is outside: what ended in between has left its word here.
            events = super().select(0)
            if events:
                loop.stirred()
                return events
            if not busy:
                wait = loop.world.idle(loop.next_deadline(), outside)
                if wait:
                    loop.waiting = True
                    try:
                        events = super().select(wait)
                    finally:
                        loop.waiting = False
                    if events or loop.world.over:
                        loop.stirred()
                        return events


class WorldLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock and order are the world's."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.backend = self
        self.halted = False
        self.waiting = False
        self._thread = get_ident()
        self._numbers = 0
        self._timers = 0
        self._lanes: WeakKeyDictionary[asyncio.Task[Any], TaskLane] = WeakKeyDictionary()
        self._ready_lanes = Ready[TaskLane](world)
        self._heads: list[tuple[int, int, TaskLane]] = []  # a heap of the numbers of their handles, youngest first
        self._plumbing: deque[tuple[int, asyncio.Handle, bool]] = deque()
        self._called = 0  # how often something was called soon
        self._quiet = 0  # L3: callbacks since anything but a repeated delivery, or a chain of callbacks, happened
        self._rounds = 0  # L3: whole rounds of that
        self._mark = 0  # L3: what was called later than this belongs to the next round
        self._in_executor = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self._own_sockets = len(selector.get_map())
        self._clock_resolution = 0.0  # the base class must find no timer due that is not
        self._selector: selectors.BaseSelector

    # Asked by asyncio.

    def time(self) -> float:
        return self.world.now

    def stop(self) -> None:
        super().stop()
        self.halted = True

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        self._lane(task)  # an eager task has had its first step without a word to call_soon
        return task

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._called += 1
        owner: object = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            task = cast("Any", owner)
            lane = self._lane(task)
            lane.handles.append((self._called, handle, task))
            if len(lane.handles) == 1:
                self._add(lane)
        else:
            self._plumbing.append((self._called, handle, _repeats(callback)))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        if get_ident() == self._thread and not self.waiting:
            return self.call_soon(callback, *args, context=context)
        return super().call_soon_threadsafe(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Args]], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        timer = _Timer(when, callback, args, self, context)
        self._timers += 1
        timer.number = self._timers
        timer.label = f"{timer.number} {getattr(callback, '__qualname__', type(callback).__qualname__)}"
        heappush(self._heap, timer)
        _mark(timer, scheduled=True)
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Args]], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Args]], T], *args: *Args
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._in_executor += 1
        future.add_done_callback(self._left_executor)
        return future

    def _left_executor(self, _future: object) -> None:
        self._in_executor -= 1

    # Asked by the world.

    def outside(self) -> str | None:
        if len(self._selector.get_map()) > self._own_sockets:
            return "a socket"
        if self._in_executor or busy_thread(self.world.threads):
            return "a thread"
        return None

    def soon(self, fn: Callable[[], None]) -> None:
        self.call_soon(fn)
        self._quiet = self._rounds = 0

    def others_ready(self) -> bool:
        return bool(self._ready_lanes or self._plumbing)

    def force(self, error: BaseException) -> None:
        for task in sorted(asyncio.all_tasks(self), key=self._lane):
            task.cancel()

    # Inside.

    @property
    def _heap(self) -> list[_Timer]:
        heap: list[_Timer] = cast("Any", self)._scheduled
        return heap

    def _lane(self, task: asyncio.Task[Any]) -> TaskLane:
        lane = self._lanes.get(task)
        if lane is None:
            self._numbers += 1
            lane = self._lanes[task] = TaskLane(self._numbers)
        return lane

    def _add(self, lane: TaskLane) -> None:
        self._ready_lanes.add(lane)
        heads = self._heads
        heappush(heads, (-lane.handles[0][0], lane.number, lane))
        if len(heads) > _STALE and len(heads) > 4 * len(self._ready_lanes):
            heads[:] = sorted((-lane.handles[0][0], lane.number, lane) for lane in self._ready_lanes.lanes)

    def _youngest(self) -> int:
        """The number of the youngest of the handles with which ready tasks go on."""
        heads = self._heads
        while heads:
            number, _, lane = heads[0]
            if lane.handles and lane.handles[0][0] == -number:
                return -number
            heappop(heads)
        return 0

    def next_deadline(self) -> float:
        heap = self._heap
        while heap and heap[0].cancelled():
            _mark(heappop(heap), scheduled=False)
        return heap[0].when() if heap else math.inf

    def run_lanes(self) -> bool:
        """Take steps until there is none to take; True when there is more, after a while."""
        for _ in range(_POLL):
            self.expire()
            handle = self._next()
            if handle is None:
                return False
            handle._run()
            if self.halted:
                break
        return True

    def _next(self) -> asyncio.Handle | None:
        plumbing, ready = self._plumbing, self._ready_lanes
        if plumbing and (not ready or plumbing[0][0] < self._youngest()):
            if not ready and self._is_idle():
                return None
            _, handle, repeats = plumbing.popleft()
            if not repeats:
                self._rounds = 0
            return handle if not handle.cancelled() else self._next()
        if not ready:
            return None
        lane = ready.take()
        label = lane.named()
        _, handle, task = lane.handles.popleft()
        if lane.handles:
            self._add(lane)
        self._quiet = self._rounds = 0
        if handle.cancelled():
            return self._next()
        self.world.running(label, task.get_coro())
        return handle

    def stirred(self) -> None:
        """Something happened outside."""
        self._quiet = self._rounds = 0

    def _is_idle(self) -> bool:
        """L3: no task is ready; whether the plumbing only goes round."""
        self._quiet += 1
        if self._quiet > _CHAIN:
            return True
        plumbing = self._plumbing
        if not all(entry[2] for entry in plumbing):
            return False
        if not self._rounds or plumbing[0][0] > self._mark:
            self._mark = self._called
            self._rounds += 1
        return self._rounds > _ROUNDS

    def expire(self) -> None:
        """L4."""
        heap, now = self._heap, self.world.now
        if not heap or heap[0].when() > now:
            return
        due = list[_Timer]()
        while heap and heap[0].when() <= now:
            timer = heappop(heap)
            _mark(timer, scheduled=False)
            if not timer.cancelled():
                due.append(timer)
        self._quiet = self._rounds = 0
        while due:
            equal = [timer for timer in due if timer.when() == due[0].when()]
            choice = self.world.choose("timer", [timer.label for timer in equal]) if len(equal) > 1 else 0
            due.remove(equal[choice])
            self._called += 1
            self._plumbing.append((self._called, equal[choice], False))


def _mark(timer: asyncio.TimerHandle, *, scheduled: bool) -> None:
    """Whether the loop's heap holds it: asyncio counts those that are cancelled there."""
    cast("Any", timer)._scheduled = scheduled


def _repeats(callback: Any) -> bool:
    """Whether a callback is the delivery of a cancellation, which calls itself again until its task is gone."""
    return callback is cancel_until_gone or getattr(callback, "__name__", "") == "_deliver_cancellation"


class _Ready:
    """In the place of the driver's run queue: what is committed goes to its task's lane."""

    def __init__(self, loop: WorldLoop) -> None:
        self.loop = loop

    def append(self, waiter: AsyncioWaiter) -> None:
        self.loop.call_soon(waiter.callback, waiter, context=waiter.context)


class _WorldDriver(AsyncioDriver):
    __slots__ = ("streak_here", "world")

    def __init__(self, loop: WorldLoop, world: World) -> None:
        super().__init__(loop)
        self.world = world
        world.driver = self
        self.streak_here = Streak(world)
        self.budget = 0  # so that every operation asks ``pause``
        self.random = world.random
        self.clock = world.time
        self.alarms.pick = partial(world.choose, "timer")
        self.ready: Any = _Ready(loop)
        self.scheduled = True

    async def pause(self) -> None:
        if self.streak_here.yields(self.task()):
            await self.yield_once()


def run_world(world: World, fn: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]) -> Any:
    """Run the program on a loop of its own."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, WorldLoop)
        setattr(loop, asyncio_driver._ATTRIBUTE, _WorldDriver(loop, world))
        return await world.program(fn, args)

    return anyio.run(
        main, backend="asyncio", backend_options={"loop_factory": lambda: WorldLoop(world), "debug": False}
    )
