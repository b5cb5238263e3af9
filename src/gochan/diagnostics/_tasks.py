"""The tasks of the running loop: which there are, which one runs, which is main, whose goroutine each is.

asyncio's tasks name their goroutine as a done callback; trio's have it in the frame that they start with. A task that
no ``go`` started gets a number of its own when it is first seen, and keeps it. main is what the runner waits for.

Left out, as Go leaves out its runtime's own goroutines: trio's and gochan's system tasks.

Private names, each with a fallback: ``Task._callbacks`` (without it a goroutine of asyncio shows as a plain task) and
``Task._fut_waiter`` of asyncio, ``Task._next_send_fn`` of trio (without them a task that is about to go on shows as
what it waited for), ``Task._counter`` of trio (the order of numbers).
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from gochan._core.asyncio_driver import driver_of
from gochan._core.driver import Driver
from gochan._goroutine import Goroutine, TaskGoroutine
from gochan._group_tasks import trio_main

from ._coroutines import frame_of, package_in
from ._waiting import Waiting, waiting

if TYPE_CHECKING:
    import trio

_TRIO_MAIN: Final = trio_main.__code__
_RUNNERS: Final = ("_run_until_complete_cb", "run_until_complete.<locals>.done_cb")  # asyncio's, uvloop's
_UNKNOWN: Final = object()
_UNNAMED: Final = r"Task-(\d+)"
_numbers: Final[WeakKeyDictionary[Any, int]] = WeakKeyDictionary()


class Task:
    """A task of either library, seen from the outside."""

    __slots__ = ("coroutine", "current", "goroutine", "id", "main", "name", "native", "order")

    def __init__(self, native: Any, coroutine: object, name: str, order: tuple[float, str]) -> None:
        self.native = native
        """The library's own task."""
        self.coroutine = coroutine
        self.name = name
        self.order = order
        self.current = False
        """It runs now."""
        self.main = False
        self.goroutine: Goroutine[Any] | None = None
        """Its handle, if ``go`` started it."""
        self.id = 0

    def scheduled(self) -> bool:
        """Whether the loop is about to resume it."""
        raise NotImplementedError

    def named(self) -> bool:
        """Whether its name says anything."""
        return self.goroutine is not None or not (self.main or re.fullmatch(_UNNAMED, self.name))

    def waiting(self) -> Waiting:
        """What it waits for; this knows "running" and "runnable" better than the coroutine alone."""
        if self.current:
            return Waiting("running")
        found = waiting(self.coroutine)
        # One that is on the stack and not current has an eager task run in its place.
        if found.word == "running" or (found.waiter is None and self.scheduled()):
            return Waiting("runnable")
        return found


class _AsyncioTask(Task):
    __slots__ = ()

    def scheduled(self) -> bool:
        future: Any = getattr(self.native, "_fut_waiter", _UNKNOWN)
        if future is _UNKNOWN:
            return False
        try:
            return future is None or bool(future.done())
        except Exception:
            return False


class _TrioTask(Task):
    __slots__ = ()

    def scheduled(self) -> bool:
        return getattr(self.native, "_next_send_fn", None) is not None


class World:
    """The running loop, and what its tasks are."""

    def __init__(self, tasks: list[Task], driver: Driver | None, clock: Callable[[], float]) -> None:
        self.clock = clock
        tasks.sort(key=lambda task: task.order)
        main = next((task for task in tasks if task.main), None)
        if main is None:
            main = next((task for task in tasks if task.goroutine is None), None)
        for task in tasks:
            task.main = task is main
            task.id = 1 if task is main else _number(task, driver)
        self.tasks = sorted(tasks, key=lambda task: (not task.main, task.id))
        """Main first, then by number."""
        self.driver = driver


def running_world() -> World:
    """Of the loop that runs in this thread; RuntimeError when there is none."""
    # trio first: in its guest mode both run, and trio counts inside its own tasks only.
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return _trio_world()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if loop is not None:
        return World(list(_asyncio_tasks(loop)), driver_of(loop), loop.time)
    if trio is not None and trio.lowlevel.in_trio_run():
        return _trio_world()
    raise RuntimeError(
        "goroutines are those of the event loop that runs in this thread, and none does: ask in a task or a callback "
        "of the loop, from a thread through anyio.from_thread.run_sync"
    )


def _number(task: Task, driver: Driver | None) -> int:
    if task.goroutine is not None:
        return task.goroutine.id
    try:
        number = _numbers.get(task.native)
        if number is None and driver is not None:
            driver.goroutines += 1
            number = _numbers[task.native] = driver.goroutines
    except TypeError:  # somebody's own task class that cannot be hashed, or not weakly referred to
        number = None
    return number or 0


def _asyncio_tasks(loop: asyncio.AbstractEventLoop) -> Iterator[Task]:
    current = asyncio.current_task(loop)
    for native in asyncio.all_tasks(loop):
        name = native.get_name()
        made = re.fullmatch(_UNNAMED, name)
        task = _AsyncioTask(native, native.get_coro(), name, (float(made[1]) if made else float("inf"), name))
        task.current = native is current
        callbacks: Any = getattr(native, "_callbacks", None)
        for callback, _ in callbacks or ():
            if isinstance(callback, TaskGoroutine):
                task.goroutine = callback
            elif getattr(callback, "__qualname__", "").endswith(_RUNNERS):
                task.main = True
        yield task


def _trio_world() -> World:
    import trio

    from gochan._core import trio_driver

    root = trio.lowlevel.current_root_task()
    try:
        driver = trio_driver.running_driver() or trio_driver._driver.get()
    except LookupError:
        driver = None  # asked by a callback of the loop itself, where nobody has used gochan yet
    return World([] if root is None else list(_trio_tasks(root)), driver, trio.current_time)


def _trio_tasks(root: trio.lowlevel.Task) -> Iterator[Task]:
    import trio

    try:
        current = trio.lowlevel.current_task()
    except RuntimeError:
        current = None  # a callback of the loop itself
    # The nurseries of trio's own root task: its mailbox, the system tasks, main.
    mains = root.child_nurseries[2].child_tasks if len(root.child_nurseries) > 2 else frozenset[trio.lowlevel.Task]()
    todo = [task for nursery in root.child_nurseries for task in nursery.child_tasks]
    while todo:
        native = todo.pop()
        todo += (task for nursery in native.child_nurseries for task in nursery.child_tasks)
        nursery = native.parent_nursery
        system = nursery is not None and nursery.parent_task is root and native not in mains
        if system and package_in(native.coro) in ("trio", "gochan"):
            continue
        task = _TrioTask(native, native.coro, native.name, (getattr(native, "_counter", 0), native.name))
        task.current = native is current
        task.main = native in mains
        frame = frame_of(native.coro)
        if frame is not None and frame.f_code is _TRIO_MAIN:
            task.goroutine = frame.f_locals.get("goroutine")
        yield task
