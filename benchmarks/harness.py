"""How two contenders are compared: short turns, taken alternately, the best turn of each.

A *workload* is an async function of a number of operations that does its own timing and returns seconds. `Backend`
runs workloads: one asyncio loop for all turns (the loop the user gets by default), one `trio.run` a turn (start-up is
outside of what a workload times).

A turn is measured in CPU time: no workload ever sleeps, so that is the work done, and a neighbour that takes the
processor away does not count.

Rejected: means and medians (on a shared machine they measure the neighbours), one long run each (drift lands on one
contender only).
"""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeAlias

import trio

BackendName: TypeAlias = Literal["asyncio", "trio"]
Workload: TypeAlias = Callable[[int], Awaitable[float]]


class Backend:
    """Runs one workload after another; a context manager that owns the asyncio loop."""

    def __init__(self, name: BackendName) -> None:
        self.name: BackendName = name
        self._runner = asyncio.Runner() if name == "asyncio" else None

    def __enter__(self) -> Self:
        gc.collect()
        gc.freeze()  # what was there before is no turn's garbage, and need not be looked through before each
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        gc.unfreeze()
        if self._runner is not None:
            self._runner.close()

    def turn(self, workload: Workload, operations: int) -> float:
        """Seconds that one turn of `workload` took."""

        async def main() -> float:
            return await workload(operations)

        gc.disable()
        try:
            return trio.run(main) if self._runner is None else self._runner.run(main())
        finally:
            gc.enable()


@dataclass(frozen=True)
class Goal:
    """A bound on a row's number, in the row's own unit."""

    kind: Literal["at least", "at most", "below"]
    bound: float

    def met(self, number: float) -> bool:
        if self.kind == "at least":
            return number >= self.bound
        return number <= self.bound if self.kind == "at most" else number < self.bound

    def __str__(self) -> str:
        sign = {"at least": ">=", "at most": "<=", "below": "<"}[self.kind]
        return f"{sign} {self.bound:g}"


@dataclass(frozen=True)
class Contest:
    """One row: our workload, theirs, and what the ratio shall be.

    The ratio says how many times faster we are (their time by ours), or how many times dearer (ours by theirs).
    """

    name: str
    title: str
    backend: BackendName
    ours: Workload
    theirs: Workload
    goal: Goal | None
    direction: Literal["faster", "dearer"]
    operations: int = 2_000

    def ratio(self, ours: float, theirs: float) -> float:
        return theirs / ours if self.direction == "faster" else ours / theirs


@dataclass
class Score:
    """The best turn of each contender so far, in seconds an operation."""

    contest: Contest
    ours: float = math.inf
    theirs: float = math.inf
    turns: int = 0

    def take_turns(self, backend: Backend) -> None:
        """One turn each; who goes first alternates."""
        n = self.contest.operations
        for mine in (True, False) if self.turns % 2 else (False, True):
            gc.collect()
            if mine:
                self.ours = min(self.ours, backend.turn(self.contest.ours, n) / n)
            else:
                self.theirs = min(self.theirs, backend.turn(self.contest.theirs, n) / n)
        self.turns += 1

    @property
    def ratio(self) -> float:
        return self.contest.ratio(self.ours, self.theirs)

    @property
    def met(self) -> bool | None:
        return None if self.contest.goal is None else self.contest.goal.met(self.ratio)
