"""``goroutines``: what every task of the running loop does.

Everything is read when somebody asks. What costs a program something is the loop's time that a parked operation
notes, and the place that ``go`` notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gochan._channel import Channel
from gochan._channel_state import ChannelState
from gochan._goroutine import Goroutine
from gochan._group import Group
from gochan._group_state import Pending

from ._coroutines import attribute, chain, frame_of, is_running
from ._foreign import asleep_since
from ._stack import CreatedBy, Frame, function_of, running_stack, suspended_stack
from ._tasks import Task, World, running_world
from ._waiting import Waiting


@dataclass(frozen=True, slots=True)
class GoroutineInfo:
    """What one goroutine does, at one moment."""

    id: int
    """Its number; main is 1."""
    name: str
    """The name it was given, or its function's; "main"; a foreign task's own name."""
    state: str
    """"running", "runnable", "chan receive", "select", "sleep", "IO wait", "await" …"""
    waiting_on: tuple[str, ...]
    """The primitives that it waits for: their names, or what ``repr`` says of them."""
    since: float
    """Seconds that it has waited, in the loop's time; 0 when it does not wait, or it is not known (foreign awaits)."""
    stack: tuple[Frame, ...]
    """Where it stands, innermost first, without the frames of gochan, anyio and the loop."""
    created_by: CreatedBy | None
    """Where it was made; ``None`` for main and for what ``go`` did not start."""
    labels: tuple[tuple[str, str], ...] = ()
    """What a dump shows behind the state, sorted."""


def goroutines() -> list[GoroutineInfo]:
    """All goroutines of the running loop, main first, then by number; its other tasks are shown, too.

    For a task that ``go`` did not start, less is known: its number was given to it when it was first seen here. A
    goroutine that waits for a place under its group's limit has not begun: it is in "semacquire", on its group.

    Raises:
        RuntimeError: no event loop runs in this thread.

    Go: ``runtime.Stack(buf, true)``, as objects.

    Example:
        >>> import gochan, gochan.diagnostics
        >>> async def main() -> None:
        ...     jobs = gochan.Channel[int](name="jobs")
        ...     gochan.go(jobs.receive, name="worker")
        ...     await gochan.sleep(0.01)
        ...     for g in gochan.diagnostics.goroutines():
        ...         print(g.id, g.name, g.state, *g.waiting_on)
        ...     jobs.send_nowait(1)
        >>> gochan.run(main)
        1 main running
        2 worker chan receive jobs
    """
    world = running_world()
    infos = [describe(task, world) for task in world.tasks]
    queued = [_not_begun(one, world) for one in _waiting_for_a_place(world)]
    mains = sum(task.main for task in world.tasks)
    return infos[:mains] + sorted(infos[mains:] + queued, key=lambda info: info.id)


def describe(task: Task, world: World) -> GoroutineInfo:
    """One task, in full."""
    found = task.waiting()
    links = list(chain(task.coroutine))
    if is_running(task.coroutine):
        stack = running_stack(task.coroutine, {id(frame_of(other.coroutine)) for other in world.tasks})
    else:
        stack = suspended_stack(links)
    name = task.goroutine.name if task.goroutine is not None else "main" if task.main else task.name
    return GoroutineInfo(
        id=task.id,
        name=name,
        state=found.word,
        waiting_on=tuple(map(_label, found.shown)),
        since=_waited(found, links, world),
        stack=stack,
        created_by=None if task.goroutine is None else _created_by(task.goroutine, world),
        labels=_labels(task, name, found.shown),
    )


def _waiting_for_a_place(world: World) -> Iterator[Pending]:
    """The goroutines that have no task yet, found through those of their group that have the places."""
    groups = dict[int, Group]()
    todo: list[Any] = [task.goroutine._group for task in world.tasks if task.goroutine is not None]
    while todo:
        group = todo.pop()
        if isinstance(group, Group) and id(group) not in groups:
            groups[id(group)] = group
            todo.append(group._parent)
    for group in groups.values():
        entry = group._queues.places.head
        while entry is not None:
            if isinstance(entry, Pending):
                yield entry
            entry = entry.next


def _not_begun(pending: Pending, world: World) -> GoroutineInfo:
    goroutine = pending.goroutine
    return GoroutineInfo(
        id=goroutine.id,
        name=goroutine.name,
        state="semacquire",
        waiting_on=(_label(pending.group),),
        since=0.0,
        stack=suspended_stack(list(chain(pending.coroutine))),
        created_by=_created_by(goroutine, world),
        labels=(("name", goroutine.name),),
    )


def _waited(found: Waiting, links: list[Any], world: World) -> float:
    if found.waiter is not None and world.driver is not None and found.word != "runnable":
        return max(0.0, world.driver.clock() - found.waiter.since)
    since = asleep_since(links) if found.word == "sleep" else None
    return 0.0 if since is None else max(0.0, world.clock() - since)


def _created_by(goroutine: Goroutine[Any], world: World) -> CreatedBy:
    code, parent = goroutine._code, goroutine._parent
    if parent == 1:
        # To a goroutine, main is who opened the outermost group; in a loop that gochan.run did not start, that may
        # be any task.
        outermost: Any = goroutine._group
        while attribute(outermost, "_parent") is not None:
            outermost = outermost._parent
        host = attribute(outermost, "_host")
        parent = next((task.id for task in world.tasks if id(task.native) == host), parent)
    return CreatedBy(function_of(code), code.co_filename, goroutine._line, parent)


def _label(thing: object) -> str:
    if isinstance(thing, Goroutine):
        return f"goroutine {thing.id} {thing.name}"
    name = attribute(thing, "name")
    if isinstance(name, str) and name:
        return name
    try:
        return repr(thing)
    except Exception as error:
        return f"<{type(thing).__name__}: its repr raised {type(error).__name__}>"


def _labels(task: Task, name: str, shown: tuple[object, ...]) -> tuple[tuple[str, str], ...]:
    labels = dict[str, str]()
    channels = [thing.name for thing in shown if isinstance(thing, Channel | ChannelState) and thing.name]
    if channels:
        labels["chan"] = ", ".join(dict.fromkeys(map(str, channels)))
    awaited = [str(thing.id) for thing in shown if isinstance(thing, Goroutine)]
    if awaited:
        labels["goroutine"] = ", ".join(dict.fromkeys(awaited))
    if task.named():
        labels["name"] = name
    return tuple(sorted(labels.items()))
