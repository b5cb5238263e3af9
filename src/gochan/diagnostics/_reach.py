"""Which parked tasks somebody alive can still wake: a proof by reachability and reference counts.

Shape
    The idea is Go's leak profile: a parked task can be woken only by somebody who can reach a queue that it stands
    in; what it holds itself counts once it can wake. Repeat until nothing changes; the rest can never wake.
    Go starts from all roots. Python cannot name them all (a thread's stack, a callback inside a C extension), so
    this starts at the other end, as CPython's own cycle collector does:

    1  Survey: everything that can be reached *from* the parked tasks, with the number of references that come from
       within. Modules, classes and the event loop are not entered: they live, and are outside.
    2  Whatever has more references than that is held by somebody outside, seen or unseen: it lives.
    3  Mark from there. A parked task opens, and is marked through, when one of its doors is reached.

Invariants
    R1  A reference that cannot be explained counts as held by somebody alive. So an error of this file, or of an
        extension type that hides its references, silences a report and never makes one.
    R2  The doors of a parked task are its wait queues, the task itself (whoever holds it by other means than gochan
        or the library's own lists may cancel it), and the cancel scopes that it opened itself: a time-out for one.
    R3  What only could cancel the whole goroutine is no door: its handle, its group, the scopes around it.
    R4  The queue of those who wait for a goroutine's end, or for a group's, opens when it can end; not when its
        handle is held.
    R5  The survey and the marking see one moment: no other thread runs in between, nor the collector.
    R6  The callback of a weak reference can act as long as what it refers to lives, whoever holds the reference.

Why not
    Marking forwards from modules, frames and timers: misses what C holds, and marks the whole heap.

Prior art
    Go 1.26's goroutineleak profile; ``subtract_refs`` of CPython's gcmodule.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from threading import Lock, get_ident
from types import ModuleType
from typing import Any, Final
from weakref import CallableProxyType, ProxyType, ref

from gochan._core import scopes
from gochan._core.driver import Driver
from gochan._core.waiter import Waiter
from gochan._core.waitqueue import EMPTY, WaitQueue
from gochan._goroutine import Goroutine
from gochan._group import Group

resource: Any
try:
    import resource
except ImportError:
    resource = None
_THIS_THREAD: Final = getattr(resource, "RUSAGE_THREAD", None)  # on Linux and FreeBSD

_HAVE_GC: Final = 1 << 14  # Py_TPFLAGS_HAVE_GC: without it an object refers to nothing that could matter

# Seconds without a switch of threads. One that waits for the interpreter already gets it once nevertheless, and then
# keeps it as long: so not too much.
_ATTEMPTS: Final = (0.05, 0.05, 0.2, 0.8)
# Not what a subclass makes of them.
_callback_of: Final[Any] = vars(ref)["__callback__"].__get__
_referent_of: Final[Any] = vars(ref)["__call__"]
_values_of: Final[Any] = vars(dict)["values"]
_one_at_a_time: Final = Lock()  # what is set and restored here belongs to all threads


class Parked:
    """A task that waits on gochan's floor."""

    __slots__ = ("awake", "goroutine", "main", "task", "waiter")

    def __init__(self, task: Any, waiter: Waiter, goroutine: Goroutine[Any] | None, main: bool) -> None:
        self.task = task
        self.waiter = waiter
        self.goroutine = goroutine
        self.main = main
        self.awake = False


class _ByType(dict[type, str]):
    """What a type is to the survey. By type, since asking an instance may run its code (``__class__``)."""

    def __init__(self, trio: dict[type, str]) -> None:
        super().__init__(trio)

    def __missing__(self, kind: type) -> str:
        rest = "" if kind.__flags__ & _HAVE_GC else "outside"
        self[kind] = role = next((role for parents, role in _ROLES if issubclass(kind, parents)), rest)
        return role


_Scope: Any = getattr(scopes._backend, "CancelScope", None)
_TaskGroup: Any = getattr(scopes._backend, "TaskGroup", None)
_ROLES: Final[list[tuple[tuple[type, ...], str]]] = [
    ((type, ModuleType, asyncio.AbstractEventLoop, Driver), "outside"),
    ((WaitQueue,), "queue"),
    ((dict,), "dict"),
    ((ref,), "weak"),
    ((ProxyType, CallableProxyType), "proxy"),
    ((Goroutine,), "goroutine"),
    ((Group,), "group"),
    ((asyncio.Task,), "task"),
    ((asyncio.TaskGroup,) if _TaskGroup is None else (asyncio.TaskGroup, _TaskGroup), "task group"),
    (() if _Scope is None else (_Scope,), "scope"),
]


def wakeable(parked: list[Parked]) -> None:
    """Set ``awake`` of every parked task that somebody alive may wake.

    The caller must hold these tasks and waiters in ``parked`` only.
    """
    if not _undisturbed(_mark, parked):
        for one in parked:
            one.awake = True


def _undisturbed(look: Callable[[list[Parked]], None], parked: list[Parked]) -> bool:
    """Run ``look`` while no other thread does (R5); False if that cannot be had."""
    with _one_at_a_time:
        return _alone(look, parked)


def _alone(look: Callable[[list[Parked]], None], parked: list[Parked]) -> bool:
    collecting, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    try:
        for seconds in _ATTEMPTS:
            sys.setswitchinterval(seconds)
            before = _moment()
            for one in parked:
                one.awake = False
            look(parked)
            if before == _moment():
                return True
        return False
    finally:
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()


def _moment() -> tuple[dict[int, tuple[int, int]], int]:
    """What another thread would change if it ran: where it stands, and how often this one had to wait."""
    frames = sys._current_frames()
    del frames[get_ident()]
    waits = 0 if _THIS_THREAD is None else resource.getrusage(_THIS_THREAD).ru_nvcsw
    return {thread: (id(frame), frame.f_lasti) for thread, frame in frames.items()}, waits


def _survey(seed: list[Any], role: _ByType, cut: set[int]) -> tuple[dict[int, Any], list[int]]:
    """Everything that ``seed`` reaches, and which of that is held from outside."""
    members: dict[int, Any] = {}
    explained = Counter[int]()
    frontier: dict[int, Any] = {id(seed): seed}
    while frontier:
        members |= frontier
        found: list[Any] = gc.get_referents(*frontier.values())
        explained.update(map(id, found))
        frontier = {
            key: one
            for key, one in zip(map(id, found), found, strict=True)
            if key not in members and key not in cut and role[type(one)] != "outside"
        }
        found.clear()
    members[0] = object()  # what an object that nobody refers to counts here
    counts = dict(zip(members, map(sys.getrefcount, members.values()), strict=True))
    del members[0]
    nothing = counts.pop(0)
    return members, [key for key, count in counts.items() if count - nothing > explained[key]]


class _Marking:
    """The fix-point over one survey."""

    def __init__(self, parked: list[Parked], role: _ByType) -> None:
        self.role = role
        self.closed = set[int]()  # may be reached, but is not followed: the edges that lead nowhere
        self.doors: dict[int, list[Parked]] = {}
        self.gates: dict[int, list[Parked]] = {}  # R4: queues that only the end of one of these opens
        self.opens: dict[int, list[int]] = {}
        self.watchers: dict[int, list[Any]] = {}  # R6
        self.marked = set[int]()
        self.todo: list[Any] = []
        self.members: dict[int, Any] = {}
        for one in parked:
            self._close(one)

    def _close(self, one: Parked) -> None:
        waiter = one.waiter
        entries = waiter.entries or ()
        self.closed.update(map(id, (one, one.task, waiter, waiter.entries, *entries)))
        for door in (waiter, *entries) if one.main else (waiter, one.task, *entries):
            self.doors.setdefault(id(door), []).append(one)
        if one.main:  # whoever runs the loop has it on the stack, and its task
            self.closed.add(id(_coroutine_of(one.task)))
        signal = None if one.goroutine is None else one.goroutine._signal
        if signal is not None and signal._state.waiters is not EMPTY:
            self._gate(signal._state.waiters, [one])

    def _gate(self, queue: WaitQueue, keys: list[Parked]) -> None:
        self.gates[id(queue)] = keys
        for key in keys:
            self.opens.setdefault(id(key), []).append(id(queue))

    def run(self, members: dict[int, Any], held: Iterable[int], parked: list[Parked]) -> None:
        self.members = members
        excluded = {id(one.goroutine._task) for one in parked if one.goroutine is not None}
        tasks = {id(one.task): one for one in parked}
        roots = list(held)
        own = list[tuple[Any, Parked]]()
        for key, member in members.items():
            match self.role[type(member)]:
                case "task" if key not in tasks and not _done(member):
                    roots.append(key)
                case "scope":
                    self.closed.add(key)
                    host = tasks.get(id(member._host_task))
                    if host is not None:
                        own.append((member, host))
                case "status":
                    self.closed.add(key)
                case "nursery":
                    self.closed.add(id(member._children))
                case "trio scope":
                    self.closed.add(key)
                case "task group":
                    self.closed.add(id(member._tasks))
                case "weak":
                    referent: Any = None if _callback_of(member) is None else _referent_of(member)
                    if id(referent) in members:
                        self.watchers.setdefault(id(referent), []).append(member)
                    elif referent is not None:
                        roots.append(key)
                case "proxy" if gc.get_referents(member):  # a callback; what for cannot be asked
                    roots.append(key)
                case "group":
                    self.closed.add(id(member._unadopted))
                    if member._parent is None:
                        excluded.update(_scopes_of(member))
                    inside = [one for one in parked if one.goroutine is not None and one.goroutine._group is member]
                    if inside and len(inside) == member._active:
                        self._gate(member._queues.host, inside)
                case _:
                    pass
        for one in parked:
            own.extend((scope, one) for scope in _trio_scopes(one.task))
        for scope, host in own:
            if id(scope) not in excluded:
                self.doors.setdefault(id(scope), []).append(host)
        for key in roots:
            self.gates.pop(key, None)
            self.mark(members[key])
        while self.todo:
            for reached in self._led_to(self.todo.pop()):
                self.mark(reached)

    def mark(self, thing: Any) -> None:
        key = id(thing)
        if key in self.marked or key in self.gates or key not in self.members:
            return
        self.marked.add(key)
        for one in self.doors.get(key, ()):
            self.wake(one)
        self.todo += self.watchers.get(key, ())
        if key not in self.closed:
            self.todo.append(thing)

    def wake(self, one: Parked) -> None:
        if one.awake:
            return
        one.awake = True
        self.todo += (one.task, _coroutine_of(one.task), one.waiter, *(one.waiter.entries or ()))
        for queue in self.opens.get(id(one), ()):
            if self.gates.pop(queue, None) is not None and queue in self.members:
                self.mark(self.members[queue])

    def _led_to(self, thing: Any) -> Iterator[Any]:
        match self.role[type(thing)]:
            case "queue":
                entry = thing.head
                while entry is not None:
                    yield entry
                    entry = entry.next
            case "goroutine":
                for held in gc.get_referents(thing):
                    if held is not thing._task:
                        yield held
            case "nursery":
                yield thing.cancel_scope
            case "dict":
                yield from gc.get_referents(thing)
                # From 3.13 on, the dictionary of an object may leave it to the object to name its values.
                yield from _values_of(thing)
            case _:
                yield from gc.get_referents(thing)


def _coroutine_of(task: Any) -> Any:
    return getattr(task, "coro", None) or task.get_coro()  # of trio, of asyncio


def _done(task: Any) -> bool:
    return bool(task.done()) if hasattr(task, "done") else False


def _scopes_of(group: Any) -> Iterator[int]:
    """The scopes of a group, by id: of the outermost one, that of ``run`` for one, they are no door (R3)."""
    yield id(group._scope)
    yield id(getattr(group._scope, "_CancelScope__original", None))
    yield id(getattr(group._nursery, "cancel_scope", None))


def _trio_scopes(task: Any) -> Iterator[Any]:
    """The scopes that a task of trio has opened itself."""
    if not hasattr(task, "_cancel_status"):
        return
    outside = getattr(task.parent_nursery, "_cancel_status", None)
    status = task._cancel_status
    while status is not None and status is not outside:
        yield status._scope
        status = status._parent


def _mark(parked: list[Parked]) -> None:
    marking, seed, cut = _prepare(parked)
    members, held = _survey(seed, marking.role, cut)
    marking.run(members, held, parked)


def _prepare(parked: list[Parked]) -> tuple[_Marking, list[Any], set[int]]:
    """A marking, where its survey starts and what that leaves out. (No local of a live frame may name any of it.)"""
    seed: list[Any] = [parked]
    closed: list[Any] = [seed, parked]
    cut = {id(vars(module)) for module in list(sys.modules.values()) if type(module) is ModuleType}
    trio_roles: dict[type, str] = {}
    for one in parked:
        task = one.task
        if isinstance(task, asyncio.Task):
            state = None if scopes._task_states is None else scopes._task_states.get(task)
            seed.append(state)
            closed.append(state)
            continue
        runner = task._runner
        cut.add(id(runner))
        trio_roles[type(task)] = "task"
        trio_roles[type(task._cancel_status)] = "status"
        trio_roles[type(task._cancel_status._scope)] = "trio scope"
        trio_roles[type(task.parent_nursery)] = "nursery"
        seed.append(runner.tasks)
        closed += (runner.tasks, task._abort_func)
    marking = _Marking(parked, _ByType(trio_roles))
    marking.closed.update(map(id, closed))
    return marking, seed, cut
