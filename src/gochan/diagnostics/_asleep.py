"""Noticing that all goroutines are asleep for ever, in a program that ``run`` runs.

Shape
    A loop that is about to wait without a time-out has nothing ready and no timer; only then does anybody look. On
    asyncio that moment is ``select(None)`` of the selector, on trio a question to the clock. The rest is a
    list of who could still act, cheapest question first. Where the loop cannot be watched (uvloop, a loop of the
    user's own), nothing is noticed.

Invariants
    Z1  No false alarm. Besides the tasks, each of these puts a deadlock off: a registered file descriptor, a thread
        that is not an idle worker, a signal handler written in Python, a live ``blocking()`` view. A task puts it
        off unless it waits on gochan's floor or for the end of tasks.
    Z2  With other threads about, one may be between two steps: the answer is asked for twice, a moment apart.
    Z3  The first time, everything is cancelled and cleans up. If that falls asleep as well, shields are taken away,
        as often as it happens.

Prior art
    ``checkdead`` of Go's runtime/proc.go.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import signal
import sys
import time
from functools import partial
from math import inf
from random import uniform
from threading import get_ident
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from gochan._blocking import BlockingChannel
from gochan._core import scopes
from gochan._core.waiter import PARKED

from ._coroutines import chain, frame_of
from ._dump import dump
from ._errors import Deadlock
from ._goroutines import GoroutineInfo, goroutines
from ._tasks import Task, World, running_world

if TYPE_CHECKING:
    from gochan._group import Group

_LOOK_AGAIN: Final = 0.05  # seconds (Z2)
_ASK_AGAIN: Final = 0.25  # seconds; whether a thread has become idle
_ASYNCIO_WAIT: Final = getattr(getattr(asyncio.tasks, "_wait", None), "__code__", None)


class Watch:
    """What one run's loop asks when it has nothing to do."""

    def __init__(self) -> None:
        self.deadlock: Deadlock | None = None
        self.group: Group | None = None  # of the program, while it runs
        self.leaked: list[GoroutineInfo] = []  # what main left behind when it returned

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """The options of the backend, with this watch in them."""
        raise NotImplementedError

    def threads_act(self) -> bool:
        """Whether a thread may act; one that no longer does tells nobody, so this is to be asked again."""
        return self.group is not None and not all(map(_idle, _other_threads().values()))

    def asleep(self) -> bool:
        """Whether nobody can act any more; the loop itself has nothing to do."""
        if self.group is None or self.threads_act() or _signals_are_handled():
            return False
        world = running_world()
        return all(map(_sleeps, world.tasks)) and not _has_views(world)

    def end(self) -> None:
        """Say so, and end it (Z3)."""
        group = self.group
        if group is None:
            return
        if self.deadlock is None:
            self.deadlock = Deadlock(goroutines(), dump())
            if not group._stopped:
                group.cancel()
                return
        else:
            self.deadlock.add_note(f"the clean-up fell asleep, too, and was given up:\n\n{dump()}")
        world = running_world()
        if world.driver is not None:
            world.driver.giving_up = True
        for task in world.tasks:
            _give_up(task)


class AsyncioWatch(Watch):
    """asyncio's own selector loop, told by its selector."""

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        ours = not given.get("use_uvloop") and given.get("loop_factory") is None and _plain_policy()
        return {**given, "loop_factory": self._loop} if ours else given

    def _loop(self) -> asyncio.AbstractEventLoop:
        selector = _Selector(self)
        loop = selector.loop = asyncio.SelectorEventLoop(selector)
        return loop


_select: Final = selectors.DefaultSelector.select


class _Selector(selectors.DefaultSelector):
    """A selector that knows when it is asked to wait for ever."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None or len(self.get_map()) > 1:  # the loop's own wake-up is always there
            return _select(self, timeout)  # super() would cost as much again, on every turn of the loop
        watch = self.watch
        while watch.threads_act():
            found = _select(self, _ASK_AGAIN)
            if found:
                return found
        if watch.asleep():
            # Whoever woke the loop by its own means (a thread, a signal) is heard first.
            found = _select(self, _LOOK_AGAIN if _other_threads() else 0)
            if found:
                return found
            if watch.asleep():
                self.loop.call_soon(watch.end)
                return []
        return _select(self, timeout)


class TrioWatch(Watch):
    """trio, told by its clock, which it asks only when nothing is ready; with a clock of the user's, by an instrument.

    (An instrument is called on every turn. The clock is trio's own in all else.)
    """

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("clock") is None:
            return {**given, "clock": self}
        return {**given, "instruments": (*given.get("instruments", ()), self)}

    def start_clock(self) -> None:
        """Begin anywhere, as trio's: a time is no date."""
        self.offset = uniform(10_000, 1_000_000)

    def current_time(self) -> float:
        """Seconds."""
        return self.offset + time.perf_counter()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Nothing is ready, and the next deadline is this."""
        if deadline == inf:
            if self.threads_act():
                return _ASK_AGAIN
            self._look()
        return deadline - self.current_time()

    def before_io_wait(self, timeout: float) -> None:
        """Whether anything is ready or not."""
        if timeout >= 1:
            self._look()

    def _look(self) -> None:
        if self.group is None:
            return
        import trio

        seen = trio.lowlevel.current_statistics()
        if seen.seconds_to_next_deadline != inf or seen.run_sync_soon_queue_size:
            return
        if self.asleep():
            if _other_threads():
                time.sleep(_LOOK_AGAIN)
            # What threads have posted meanwhile runs first.
            trio.lowlevel.current_trio_token().run_sync_soon(self._end_if_asleep)

    def _end_if_asleep(self) -> None:
        if self.asleep():
            self.end()


def watch_for(backend: str) -> Watch:
    """What watches a run on this backend."""
    return TrioWatch() if backend == "trio" else AsyncioWatch()


def _plain_policy() -> bool:
    """Whether asyncio would make its own selector loop."""
    if sys.platform == "win32":
        return False
    # Asking is deprecated from 3.14 on, where the private name is there.
    names = "_get_event_loop_policy", "get_event_loop_policy"
    ask: Any = next((getattr(asyncio.events, name) for name in names if hasattr(asyncio.events, name)), None)
    return ask is None or type(ask()).__module__.partition(".")[0] == "asyncio"


# Tasks.


def _sleeps(task: Task) -> bool:
    found = task.waiting()
    if found.waiter is not None:
        return found.waiter.state == PARKED
    return found.word == "await" and _awaits_tasks(task)


def _awaits_tasks(task: Task) -> bool:
    """Whether it waits for the end of other tasks, each of which is asked, too."""
    if _waits_for_tasks(getattr(task.native, "_fut_waiter", None)):
        return True
    frames = [frame for frame in map(frame_of, chain(task.coroutine)) if frame is not None]
    if frames and frames[-1].f_code is _ASYNCIO_WAIT:
        return all(map(_waits_for_tasks, frames[-1].f_locals["fs"]))
    return any(frame.f_code in _hosts() for frame in frames[-3:])


def _waits_for_tasks(future: Any) -> bool:
    if isinstance(future, asyncio.Task):
        return True
    children: Any = getattr(future, "_children", None)  # of a gather
    return bool(children) and all(map(_waits_for_tasks, children))


def _hosts() -> set[CodeType]:
    """The functions in which the host of a task group waits for its end, and for nothing else."""
    functions: list[Any] = [asyncio.TaskGroup.__aexit__]
    anyio_group: Any = getattr(scopes._backend, "TaskGroup", None)
    if anyio_group is not None:
        functions.append(anyio_group.__aexit__)
    if "trio" in sys.modules:
        import trio

        functions.append(getattr(trio.Nursery, "_nested_child_finished", None))
    return {function.__code__ for function in functions if hasattr(function, "__code__")}


def _give_up(task: Task) -> None:
    """Let the cancellation reach a task in spite of its shields."""
    native = task.native
    if isinstance(native, asyncio.Task):
        states: Any = scopes._task_states
        scope: Any = None if states is None else getattr(states.get(native), "cancel_scope", None)
        if scope is None and not task.main:
            native.cancel()
        while scope is not None:
            if scope.shield:
                scope.shield = False
            scope = scope._parent_scope
        return
    status = getattr(native, "_cancel_status", None)
    while status is not None:
        if status._scope.shield:
            status._scope.shield = False
        status = status._parent


# Everything else.


def _has_views(world: World) -> bool:
    bridge = None if world.driver is None else world.driver.bridge
    return bridge is not None and any(type(one) is BlockingChannel for one in gc.get_referrers(bridge))


def _signals_are_handled() -> bool:
    return any(map(_acts_on, signal.valid_signals()))


def _acts_on(number: int) -> bool:
    handler: Any = signal.getsignal(number)
    if not callable(handler) or handler is signal.default_int_handler or isinstance(handler, signal.Handlers):
        return False
    function: Any = handler.func if isinstance(handler, partial) else handler  # asyncio's runner has a partial
    module: str = getattr(function, "__module__", None) or ""
    if number == signal.SIGINT and module.startswith(("asyncio.runners", "anyio._backends", "trio._core")):
        return False
    return not (module.startswith("gochan.diagnostics.") or module == _ENDS_THE_PROGRAM)


# Its alarm fails the test that runs too long; it wakes nobody.
_ENDS_THE_PROGRAM: Final = "pytest_timeout"


def _other_threads() -> dict[int, FrameType]:
    frames = sys._current_frames()
    del frames[get_ident()]
    return frames


def _has_no_work(names: dict[str, Any]) -> bool:
    """Of a worker of ``concurrent.futures``, by its locals."""
    queue, reference = names.get("work_queue"), names.get("executor_reference")
    if queue is not None and not queue.empty():
        return False
    # One that has taken its work and not begun stands as one that waits; but the pool counts who is idle.
    executor = None if reference is None else reference()
    idle = getattr(getattr(executor, "_idle_semaphore", None), "_value", None)
    return idle is None or idle >= len(getattr(executor, "_threads", ()))


def _idle(frame: FrameType) -> bool:
    """Whether a thread is a worker of a known pool that waits for work; ``frame`` is its innermost one.

    One that has been given work still stands there, until it has its turn.
    """
    inner: FrameType | None = None
    here: FrameType | None = frame
    while here is not None and here.f_globals.get("__name__") in ("threading", "queue"):
        inner, here = here, here.f_back
    if here is None:
        return False
    match here.f_globals.get("__name__"), here.f_code.co_name:
        case ("concurrent.futures.thread", "_worker"):
            return inner is None and _has_no_work(here.f_locals)
        case ("trio._core._thread_cache", "_work"):
            worker: Any = here.f_locals.get("self")
            return inner is None and getattr(worker, "_job", None) is None
        case ("anyio._backends._asyncio", "run"):
            worker = here.f_locals.get("self")
            return inner is not None and inner.f_code.co_name == "get" and not worker.queue.unfinished_tasks
        case _:
            return False
