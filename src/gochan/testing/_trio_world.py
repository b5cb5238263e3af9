"""A world on trio: a run that takes one step at a time.

Shape
    trio sorts what is ready by spawn order and shuffles it, where it is told to be deterministic. The shuffle is ours:
    it keeps the one task that the schedule chooses and puts the others back. The clock is ours, too, a public
    interface; trio asks it how long to sleep only when nothing is ready, and that is where the world goes on.

Invariants
    R1  One step at a time, chosen among the tasks of the program, in spawn order.
    R2  Tasks of trio itself go first and are never a choice: the tree of choices would be many times larger.
    R3  The world is idle only if trio looked at its sockets, after what is outside was asked for, and found nothing.
    R4  Deadlines of one time fire in the order that is chosen; trio's own order is that of addresses.

Private names of trio: those in ``NAMES``. Two of them are what Hypothesis has swapped since 2019. They belong to the
process, so one world of trio runs at a time; a trio run in another thread meanwhile goes on as it always does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import lru_cache, partial
from heapq import heappop, heappush
from threading import get_ident
from typing import Any, Final, NoReturn, cast
from weakref import WeakKeyDictionary, ref

import anyio
import trio
from trio._core import _run as trio_run

from gochan._core import trio_driver
from gochan._core.trio_driver import TrioDriver, TrioWaiter
from gochan._core.waitqueue import WaitQueue

from ._ready import Lane, Ready
from ._threads import busy_thread
from ._world import LOOK, Streak, World

NAMES: Final = (
    ("_r.shuffle", "_r"),
    ("_ALLOW_DETERMINISTIC_SCHEDULING", ""),
    ("GLOBAL_RUN_CONTEXT", ""),
    ("Deadlines", "_heap add expire next_deadline"),
    ("CancelScope", "_registered_deadline"),
    ("Runner", "deadlines main_task runq waiting_for_idle"),
    ("Task", "_abort_func _attempt_abort _counter"),
)

_one_at_a_time: Final = threading.Lock()
_run: Final[Any] = trio_run


def missing_names(module: Any = trio_run) -> list[str]:
    """The private names that this file needs and trio does not have."""
    missing: list[str] = []
    for name, members in NAMES:
        holder = module
        for part in name.split("."):
            holder = getattr(holder, part, None)
        if holder is None:
            missing.append(name)
        elif isinstance(holder, type):
            # Asked before every run: only what a class has in its instances alone needs a longer look.
            lacks = [member for member in members.split() if not hasattr(holder, member)]
            missing += [f"{name}.{member}" for member in lacks if member not in _fields(holder)]
    return missing


def _fields(kind: Any) -> list[str]:
    return [field.name for field in getattr(kind, "__attrs_attrs__", ())]


@lru_cache(maxsize=4)
def _counts_of_waiting(kind: Any) -> tuple[str, ...]:
    """What the statistics of this system's input and output call the tasks that wait."""
    return tuple(name for name in {*dir(kind), *_fields(kind)} if name.startswith("tasks_waiting"))


class TaskLane(Lane):
    """A task of the program."""

    __slots__ = ("task",)

    task: Callable[[], Any]


class TrioWorld(trio.abc.Clock):
    """The clock, and the shuffle, of one run."""

    def __init__(self, world: World, real: Any) -> None:
        self.world = world
        world.backend = self
        self.real = real
        self.thread = get_ident()
        self.runner: Any = None
        self.numbers = 0
        self.lanes: WeakKeyDictionary[Any, TaskLane | None] = WeakKeyDictionary()
        self.ready = Ready[TaskLane](world)
        self.held: Any = None  # the task that stands in trio's queue for all that are ready
        self.looked = False  # R3
        self.found: str | None = None

    # What trio asks of its random numbers.

    def shuffle(self, batch: list[Any]) -> None:
        """``batch`` comes in spawn order, and is taken from its end."""
        if get_ident() != self.thread:
            self.real.shuffle(batch)
            return
        if not batch:
            return
        self.looked = False
        ready, runq = self.ready, self.runner_of().runq
        system: list[Any] = []
        for task in batch:
            if task is self.held:
                continue
            lane = self.lane(task)
            if lane is None:
                system.append(task)
            else:
                ready.add(lane)
        self.held = None
        if system:
            batch[:] = system[::-1]
        else:
            lane = ready.take()
            task = lane.task()
            batch[:] = [task]
            self.world.running(lane.label, task.coro)
        if ready:
            # One of those that wait for their step stands for all, so that trio does not think that nothing is ready.
            self.held = ready.lanes[-1].task()
            runq.append(self.held)

    def random(self) -> float:
        return float(self.real.random())

    def runner_of(self) -> Any:
        if self.runner is None:
            self.runner = _run.GLOBAL_RUN_CONTEXT.runner
        return self.runner

    def lane(self, task: Any) -> TaskLane | None:
        """What is known of a task; None for those of trio itself."""
        try:
            return self.lanes[task]
        except KeyError:
            lane: TaskLane | None = None
            if self._of_the_program(task):
                self.numbers += 1
                lane = TaskLane(self.numbers)
                lane.task = ref(task)
                lane.label = f"{self.numbers} {'main' if self.numbers == 1 else task.name}"
            self.lanes[task] = lane
            return lane

    def _of_the_program(self, task: Any) -> bool:
        main = self.runner.main_task
        if main is None:
            return False
        while task is not None and task is not main:
            nursery = task.parent_nursery
            task = None if nursery is None else nursery.parent_task
        return task is main

    # What trio asks of its clock.

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self.world.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if self.runner.waiting_for_idle:  # trio.testing.wait_all_tasks_blocked: trio resumes it if time is left
            return LOOK
        if not self.looked:
            self.looked = True
            self.found = self.outside()
            return 0
        self.looked = False
        return self.world.idle(deadline, self.found)

    # What the world asks.

    def outside(self) -> str | None:
        io: Any = trio.lowlevel.current_statistics().io_statistics
        kind = cast("Any", type(io))
        waiting = sum(getattr(io, name) for name in _counts_of_waiting(kind))
        if waiting > 1:  # trio waits for word from threads and signals itself
            return "a socket"
        if threading.active_count() > 1 and (busy_thread(self.world.threads) or any(map(_in_thread, self.tasks()))):
            return "a thread"
        return None

    def soon(self, fn: Callable[[], None]) -> None:
        async def call() -> None:
            fn()

        trio.lowlevel.spawn_system_task(call, name="gochan: world")

    def others_ready(self) -> bool:
        return bool(self.runner.runq)

    def force(self, error: BaseException) -> None:
        def give_up(*_: object, **__: object) -> NoReturn:
            raise error

        for task in list(self.tasks()):
            if task._abort_func is not None:
                task._attempt_abort(give_up)

    def tasks(self) -> Iterator[Any]:
        """Of the program, in spawn order of each nursery."""
        todo = [self.runner.main_task] if self.runner.main_task is not None else []
        while todo:
            task = todo.pop()
            yield task
            for nursery in task.child_nurseries:
                todo += sorted(nursery.child_tasks, key=lambda child: -child._counter)


class _Deadlines:
    """trio's own heap of deadlines, with another order of equal ones (R4)."""

    def __init__(self, world: World, plain: Any) -> None:
        self.world = world
        self.plain = plain
        self.number = 0

    @property
    def _heap(self) -> list[tuple[float, int, Any]]:
        heap: list[tuple[float, int, Any]] = self.plain._heap
        return heap

    def add(self, deadline: float, cancel_scope: trio.CancelScope) -> None:
        self.number += 1
        heappush(self._heap, (deadline, self.number, cancel_scope))
        self.plain._active += 1

    def remove(self, deadline: float, cancel_scope: trio.CancelScope) -> None:
        self.plain.remove(deadline, cancel_scope)

    def next_deadline(self) -> float:
        return float(self.plain.next_deadline())

    def expire(self, now: float) -> bool:
        heap = self._heap
        if not heap or heap[0][0] > now:
            return False
        due: list[tuple[float, int, Any]] = []
        while heap and heap[0][0] <= now:
            entry = heappop(heap)
            if entry[0] == entry[2]._registered_deadline:
                due.append(entry)
        order = 0
        while due:
            equal = [entry for entry in due if entry[0] == due[0][0]]
            options = [f"{number} deadline" for _, number, _ in equal]
            chosen = equal[self.world.choose("timer", options) if len(equal) > 1 else 0]
            due.remove(chosen)
            order += 1
            heappush(heap, (chosen[0], order - 1_000_000_000, chosen[2]))
        return bool(self.plain.expire(now))


class _WorldDriver(TrioDriver):
    __slots__ = ("streak_here", "world")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        world.driver = self
        self.streak_here = Streak(world)
        self.budget = 0  # so that every operation asks ``pause``
        self.random = world.random
        self.clock = world.time
        self.alarms.pick = partial(world.choose, "timer")

    def park(self, queue: WaitQueue | None, item: Any = None) -> TrioWaiter:
        waiter = super().park(queue, item)
        self.budget = 0
        return waiter

    async def pause(self) -> None:
        if self.streak_here.yields(self.task()):
            await self.yield_once()


def _in_thread(task: Any) -> bool:
    """Whether the task waits for a function that runs in a thread."""
    awaited = task.coro
    while awaited is not None:
        if getattr(awaited, "cr_code", None) is _in_thread_code:
            return True
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return False


_in_thread_code: Final[Any] = trio.to_thread.run_sync.__code__


def run_world(world: World, fn: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]) -> Any:
    """Run the program in a trio run of its own."""
    missing = missing_names()
    if missing:
        raise RuntimeError(
            f"trio {trio.__version__} lacks what its order of tasks is controlled by ({', '.join(missing)}): "
            "use backend='asyncio', or another version of trio"
        )
    if not _one_at_a_time.acquire(blocking=False):
        raise RuntimeError("testing.run() on trio runs once at a time in a process: another thread is in one")
    order = _run._r
    deterministic = _run._ALLOW_DETERMINISTIC_SCHEDULING
    controlled = TrioWorld(world, order)

    async def main() -> Any:
        runner = _run.GLOBAL_RUN_CONTEXT.runner
        runner.deadlines = _Deadlines(world, runner.deadlines)
        trio_driver._driver.set(_WorldDriver(world))
        return await world.program(fn, args)

    _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = controlled, True
    try:
        return anyio.run(main, backend="trio", backend_options={"clock": controlled})
    finally:
        _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = order, deterministic
        _one_at_a_time.release()
