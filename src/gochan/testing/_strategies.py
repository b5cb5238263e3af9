"""Strategies: which schedules of a program are tried.

Shape
    A ``Run`` is the ``Schedule`` of one run. It puts the options of a choice in a normal order, lets a strategy pick
    one, and writes down what was asked and answered. The normal order is what makes a list of small numbers say
    something: 0 is always what a calm world would do.

        "task"   0 keeps the running task going; 1, 2, … are the other ready tasks, by number, beginning after it.
                 When it cannot go on, has just yielded, or has had ``FAIR`` steps in a row, 0 is the one after it.
        others   as the world gives them.

    So the number of answers other than 0 is about the number of preemptions, shrinking towards 0 takes preemptions
    away, and the schedule of all zeros is fair: a task that polls does not keep the others from running.

Invariants
    T1  The same answers to the same questions give the same run: nothing else that a strategy knows (seeds, clocks,
        priorities) reaches the world.
    T2  No task is ready for ever and never runs, under PCT's priorities neither.

Prior art
    CHESS (bounded preemptions; a switch where the running task blocks is free), PCT (Burckhardt et al. 2010), Coyote
    and Shuttle (fair PCT; its length learnt from the first run).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol, cast

from ._schedule import InOrder, Schedule, Seeded
from ._token import Token

FAIR: Final = 64  # steps that one task makes in a row before the others come first
SHOWN: Final = 32  # options that are kept; ten thousand ready tasks would be kept at ten thousand choices
STEPS: Final = 100_000  # of one run; more is a program that does not end


class Point(NamedTuple):
    """One question and its answer."""

    kind: str
    number: int  # of options
    options: tuple[str, ...]  # or the first of many
    total: int  # stands for all of them, in this process
    value: int  # the answer, in the normal order
    width: int  # how many answers make a difference
    costs: bool  # whether an answer other than 0 is a preemption
    step: int  # how many steps had been made before


class Endless(Exception):
    """A run that made more steps than any run should."""


class Strategy(Protocol):
    """Answers the questions of one run."""

    def pick(self, kind: str, options: Sequence[str], run: Run) -> int:
        """The answer, in the normal order; ``run.first`` is the index of the option that is 0 in it."""
        ...


class Run(Schedule):
    """One run under a strategy, written down."""

    def __init__(self, strategy: Strategy, limit: int = STEPS) -> None:
        self.strategy = strategy
        self.limit = limit
        self.points: list[Point] = []
        self.steps = 0
        self.current = ""  # the task that runs
        self.streak = 0  # for how many steps
        self.first = 0
        self.waited_outside: str | None = None
        self._numbers: dict[str, int] = {}
        self._yielded = False
        self._waited = False  # nobody could go on, since the last step
        self._chosen = False  # the step to come has been counted

    @property
    def values(self) -> list[int]:
        return [point.value for point in self.points]

    def choose(self, kind: str, options: Sequence[str]) -> int:
        number = len(options)
        width, costs, self.first = number, kind == "yield", 0
        if kind == "task":
            ready = self.current in options and not self._waited
            self.first = self._first(options, ready)
            costs = ready and not self._yielded
            if ready and self._yielded:
                width -= 1  # to yield and go on is as if nothing had been yielded
            self._yielded = False
        value = self.strategy.pick(kind, options, self)
        total = hash(tuple(options)) if number > SHOWN else 0
        self.points.append(Point(kind, number, tuple(options[:SHOWN]), total, value, width, costs, self.steps))
        index = (self.first + value) % number
        if kind == "task":
            self._step(options[index])
            self._chosen = True
        elif kind == "yield":
            self._yielded = value == 1
        return index

    def running(self, task: str, coroutine: Any) -> None:
        if self._chosen and task == self.current:
            self._chosen = False
        else:
            self._step(task)
        if self.steps >= self.limit and self.stop is None:
            self.stop = Endless(f"the program made {self.limit} steps and did not end")

    def moved(self, now: float) -> None:
        self._waited = True

    def outside(self, what: str) -> None:
        self.waited_outside = self.waited_outside or what

    def _step(self, task: str) -> None:
        self.steps += 1
        self.streak = self.streak + 1 if task == self.current else 1
        self.current = task
        self._yielded = self._waited = False

    def _first(self, options: Sequence[str], ready: bool) -> int:
        if ready and not self._yielded and self.streak < FAIR:
            return options.index(self.current)
        numbers = self._numbers
        for option in options:
            if option not in numbers:
                numbers[option] = len(numbers)
        current = numbers.get(self.current, -1)
        return next((i for i, option in enumerate(options) if numbers[option] > current), 0)


class Listed:
    """The answers of a list, then 0; the way back from a token."""

    def __init__(self, values: Sequence[int] = ()) -> None:
        self.values = values
        self.misfit: int | None = None  # the first answer that was not among the options

    def pick(self, kind: str, options: Sequence[str], run: Run) -> int:
        at = len(run.points)
        if at >= len(self.values):
            return 0
        value = self.values[at]
        if value < len(options):
            return value
        if self.misfit is None:
            self.misfit = at
        return 0


class Random:
    """Every answer drawn uniformly; how often ready operations yield differs from run to run."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.yields = self.random.choice((0.5, 0.1, 0.02))

    def pick(self, kind: str, options: Sequence[str], run: Run) -> int:
        drawn = self.random.random()
        return int(drawn < self.yields) if kind == "yield" else int(drawn * len(options))


class Pct:
    """The ready task of the highest priority always runs; priorities are random, and change ``depth - 1`` times.

    A bug that needs ``depth`` events in a certain order is found with a probability of at least one in
    (tasks x steps ** (depth - 1)), in every run.
    """

    def __init__(self, seed: str, depth: int, steps: int) -> None:
        self.random = random.Random(seed)
        self.changes = set(self.random.sample(range(1, steps + 1), min(depth - 1, steps)))
        self.eager = self.random.random() < 0.5  # yield at every operation, or at the changes only
        self.priorities: dict[str, float] = {}
        self.lowest = 0.0
        self.steps = 0

    def pick(self, kind: str, options: Sequence[str], run: Run) -> int:
        if kind not in ("task", "yield"):
            return int(self.random.random() * len(options))
        self.steps += 1
        change = self.steps in self.changes
        # T2: to poll at a high priority would keep everybody else from running.
        if change or run.streak >= FAIR:
            self.lowest -= 1
            self.priorities[run.current] = self.lowest
        if kind == "yield":
            return int(change or self.eager)
        for option in options:
            if option not in self.priorities:
                self.priorities[option] = self.random.random()
        best = max(range(len(options)), key=lambda i: self.priorities[options[i]])
        return (best - run.first) % len(options)


class Search:
    """Every schedule with at most ``bound`` preemptions, those with fewer first, each once.

    A run that follows a prefix and then answers 0 has as many preemptions as its prefix; its alternatives are one
    answer changed after the prefix. They are taken depth first, so that few of them are remembered.
    """

    def __init__(self, bound: int | None) -> None:
        self.bound = bound
        self.cut = False  # whether there are schedules with more preemptions
        self._waiting: list[list[Iterator[list[int]]]] = [[iter([list[int]()])]]
        self._level = 0
        self._prefix = 0

    def next(self) -> list[int] | None:
        """The prefix of a schedule that has not been run yet."""
        while self._level < len(self._waiting):
            waiting = self._waiting[self._level]
            while waiting:
                prefix = next(waiting[-1], None)
                if prefix is not None:
                    self._prefix = len(prefix)
                    return prefix
                waiting.pop()
            self._level += 1
        return None

    def ran(self, run: Run) -> None:
        """Remember the alternatives of the run of the last prefix."""
        start, values = self._prefix, run.values
        points = [(point.width, point.costs) for point in run.points[start:]]
        self._waiting[self._level].append(self._alternatives(start, values, points, costing=False))
        if not any(costs and width > 1 for width, costs in points):
            return
        if self._level == self.bound:
            self.cut = True
            return
        if self._level + 1 == len(self._waiting):
            self._waiting.append([])
        self._waiting[self._level + 1].append(self._alternatives(start, values, points, costing=True))

    @staticmethod
    def _alternatives(
        start: int, values: list[int], points: list[tuple[int, bool]], *, costing: bool
    ) -> Iterator[list[int]]:
        for at in range(len(points) - 1, -1, -1):
            width, costs = points[at]
            if costs is costing:
                for value in range(1, width):
                    yield [*values[: start + at], value]


def schedule_of(seed: int | str | None, backend: str) -> Schedule:
    """The schedule that a user's ``seed`` asks for: none, a number, or a token of ``explore``.

    Raises:
        TypeError: it is none of these.
        ValueError: the token is broken, of another version, or of another backend.
    """
    if not isinstance(cast("object", seed), int | str | None) or isinstance(seed, bool):
        raise TypeError(f"seed is a number, a token or None, not {seed!r}")
    if seed is None:
        return InOrder()
    if isinstance(seed, str):
        return Run(Listed(Token.parse(seed, backend).values))
    return Seeded(seed)
