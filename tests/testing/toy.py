"""A world without an event loop: tasks are generators, and the shared state is what they close over.

A task yields ``None`` where it could go on, a predicate where it waits for one, and ``["a", "b"]`` where it wants one
of these chosen for it. So strategies are tested by themselves, in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from gochan.testing._schedule import InOrder, Schedule

Task = Generator[Any, Any, None]
Program = Callable[[], list[Task]]


class Stuck(Exception):
    """Nobody can go on."""


def play(program: Program, schedule: Schedule) -> list[str]:
    """Run the program; who made the steps."""
    tasks: dict[str, Task] = {f"{number} {task.__name__}": task for number, task in enumerate(program(), 1)}
    waits: dict[str, Any] = dict.fromkeys(tasks)
    trace: list[str] = []
    while tasks:
        ready = [name for name in tasks if waits[name] is None or waits[name]()]
        if not ready:
            raise Stuck(", ".join(tasks))
        name = ready[0] if len(ready) == 1 else ready[schedule.choose("task", ready)]
        schedule.running(name, tasks[name])
        if schedule.stop is not None:
            raise schedule.stop
        trace.append(name)
        try:
            wanted = next(tasks[name])
            while isinstance(wanted, list):
                wanted = tasks[name].send(schedule.choose("case", wanted))
            waits[name] = wanted
        except StopIteration:
            del tasks[name]
    return trace


def steps(number: int) -> Task:
    for _ in range(number - 1):
        yield


def independent(tasks: int, each: int) -> Program:
    return lambda: [steps(each) for _ in range(tasks)]


class Always(InOrder):
    """One answer to one kind of question."""

    def __init__(self, kind: str, answer: int) -> None:
        super().__init__()
        self.kind = kind
        self.answer = answer
        self.asked = list[tuple[str, ...]]()

    def choose(self, kind: str, options: Sequence[str]) -> int:
        if kind == self.kind:
            self.asked.append(tuple(options))
            return self.answer % len(options)
        return super().choose(kind, options)
