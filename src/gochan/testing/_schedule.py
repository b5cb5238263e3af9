"""What a controlled run asks: of all that may happen next, what does?

Shape
    A world (an event loop whose order is ours) asks one ``Schedule`` per run. It asks only where there is a choice,
    and always in the same way: the kind of choice, and the options as labels that are equal in every run of the same
    program ("3 worker"), in the order in which the tasks were made. So a run is a list of small numbers, and the same
    list gives the same run.

        "task"    which of the ready tasks makes the next step
        "case"    which of the ready cases a select commits
        "timer"   which of equal deadlines fires first
        "draw"    the random number of anybody else who asks the driver for one, in eighths
        "yield"   whether an operation that need not wait goes on (0) or yields (1) before it tries

Why the world tells who runs, too
    "Keep running the same task" is what strategies count preemptions from. A step that was no choice, because one
    task only was ready, changes who that is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any


class Schedule:
    """Decides one run."""

    stop: BaseException | None = None
    """Set when the run should end now: the world cancels everything, and raises this."""
    every_yield = False
    """Ask "yield" also where no other task is ready: the answer changes only where a cancellation may come."""

    in_turn = False
    """Of the ready tasks the one goes that has not had a step for the longest time; a world need not ask."""

    def choose(self, kind: str, options: Sequence[str]) -> int:
        """The index of the option that happens; there are two or more. Never raises."""
        raise NotImplementedError

    def running(self, task: str, coroutine: Any) -> None:
        """``task`` makes its next step, chosen or because it is the only one. Never raises.

        Args:
            coroutine: what the task runs, suspended where it goes on from, for the table of who ran when.
        """

    def moved(self, now: float) -> None:
        """Every task waited, and the clock has moved to ``now``. Never raises."""

    def ending(self) -> None:
        """The world gives the program up, for a deadlock or for ``stop``: what follows is clean-up. Never raises."""

    def outside(self, what: str) -> None:
        """The world waits for real, for something that no schedule controls: "a thread", "a socket". Never raises."""


class InOrder(Schedule):
    """What a plain run does: every ready task in its turn, the first of everything else.

    Turns, not always the lowest number: a task that polls with ``sleep(0)`` would keep all others from running.
    """

    in_turn = True

    def __init__(self) -> None:
        self.turns = 0
        self.last: dict[str, int] = {}

    def choose(self, kind: str, options: Sequence[str]) -> int:
        if kind != "task":
            return 0
        last = self.last
        return min(range(len(options)), key=lambda i: last.get(options[i], 0))

    def running(self, task: str, coroutine: Any) -> None:
        self.turns += 1
        self.last[task] = self.turns


class Seeded(Schedule):
    """Everything drawn from ``seed``, uniformly; the same in every process."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def choose(self, kind: str, options: Sequence[str]) -> int:
        return int(self.random.random() * len(options))
