"""How two contenders are compared: short turns, taken alternately, the best turn of each.

A *workload* is an async function of a number of operations that does its own timing and returns seconds. `Backend`
runs workloads: one asyncio loop for all turns (the loop the user gets by default, or uvloop's), one `trio.run` a turn
(start-up is outside of what a workload times).

A turn is measured in CPU time: no workload ever sleeps, so that is the work done, and a neighbour that takes the
processor away does not count.

Rejected: means and medians (on a shared machine they measure the neighbours), one long run each (drift lands on one
contender only).
"""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, TypeVar, cast

import trio

BackendName: TypeAlias = Literal["asyncio", "uvloop", "trio"]
BACKENDS: tuple[BackendName, ...] = ("asyncio", "uvloop", "trio")
Workload: TypeAlias = Callable[[int], Awaitable[float]]


T = TypeVar("T")


def _loop_factory(name: BackendName) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name != "uvloop":
        return None
    import uvloop

    return cast(Callable[[], asyncio.AbstractEventLoop], uvloop.new_event_loop)


class Backend:
    """Runs one workload after another; a context manager that owns the asyncio loop."""

    def __init__(self, name: BackendName) -> None:
        self.name: BackendName = name
        self._runner = None if name == "trio" else asyncio.Runner(loop_factory=_loop_factory(name))

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

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return trio.run(main) if self._runner is None else self._runner.run(main())

    def turn(self, workload: Workload, operations: int) -> float:
        """Seconds that one turn of `workload` took."""

        async def main() -> float:
            return await workload(operations)

        gc.disable()
        try:
            return self.run(main)
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
    needs: str | None = None  # a module, of another distribution, without which there is no contest

    @property
    def missing(self) -> str | None:
        """Why it cannot be held here."""
        return None if self.needs is None or find_spec(self.needs) else f"{self.needs} is not installed"

    def ratio(self, ours: float, theirs: float) -> float:
        return theirs / ours if self.direction == "faster" else ours / theirs


@dataclass
class Score:
    """The turns of each contender so far, in seconds an operation; the best of each are what is compared."""

    contest: Contest
    our_turns: list[float] = field(default_factory=list[float])
    their_turns: list[float] = field(default_factory=list[float])

    def take_turns(self, backend: Backend) -> None:
        """One turn each; who goes first alternates."""
        n = self.contest.operations
        for mine in (True, False) if len(self.our_turns) % 2 else (False, True):
            gc.collect()
            if mine:
                self.our_turns.append(backend.turn(self.contest.ours, n) / n)
            else:
                self.their_turns.append(backend.turn(self.contest.theirs, n) / n)

    @property
    def ours(self) -> float:
        return min(self.our_turns, default=math.inf)

    @property
    def theirs(self) -> float:
        return min(self.their_turns, default=math.inf)

    @property
    def ratio(self) -> float:
        return self.contest.ratio(self.ours, self.theirs)

    @property
    def met(self) -> bool | None:
        return None if self.contest.goal is None else self.contest.goal.met(self.ratio)


def hold(contest: Contest, turns: int) -> Score:
    """The contest, after a warm-up."""
    score = Score(contest)
    with Backend(contest.backend) as backend:
        backend.turn(contest.ours, 200)
        backend.turn(contest.theirs, 200)
        for _ in range(turns):
            score.take_turns(backend)
    return score
