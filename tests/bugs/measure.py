"""Whether the library finds a known bug: at once by ``find_leaks``, or under some schedule by ``explore``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from gochan import Event, Group, sleep
from gochan.diagnostics import Deadlock, find_leaks
from gochan.testing import ScheduleFailure, explore, run, wait_idle

from .bug import Bug, Program

Backend = Literal["asyncio", "trio"]

BACKENDS: tuple[Backend, ...] = ("asyncio", "trio")
MOST_SCHEDULES = 1000
TWIN_SCHEDULES = 200
REPLAYS = 20
LONG = 1000.0
"""Seconds of virtual time, after which every timer of a program has fired."""


def leaked(program: Program, backend: Backend, seed: int | None = None) -> tuple[str, ...]:
    """Who is provably stuck when a program has come to rest, while its main function still lives."""
    names: list[str] = []

    async def main() -> None:
        looked = Event()

        async def look() -> None:
            await sleep(LONG)
            await wait_idle()
            names.extend(info.name for info in find_leaks())
            looked.set()
            group.cancel()

        async with Group() as group:
            group.go(look)
            await program()
            await looked.wait()

    run(main, backend=backend, seed=seed)
    return tuple(sorted(names))


def asleep(error: BaseException | None) -> tuple[str, ...]:
    """Who a deadlock's report names, besides main."""
    if not isinstance(error, Deadlock):
        return ()
    return tuple(sorted(info.name for info in error.goroutines if info.id != 1))


@dataclass(frozen=True)
class Failure:
    """A schedule that shows a bug."""

    schedules: int
    stuck: tuple[str, ...]
    token: str


def explored(program: Program, backend: Backend, seed: int | str = 0, runs: int = MOST_SCHEDULES) -> Failure | None:
    """The first schedule that fails, if any does."""
    try:
        explore(program, backend=backend, runs=runs, seed=seed)
    except ScheduleFailure as failure:
        return Failure(failure.runs, asleep(failure.__cause__), failure.token)
    return None


def is_expected(bug: Bug, stuck: tuple[str, ...]) -> bool:
    """Whether the goroutines that were found stuck are those of the bug."""
    if bug.deterministic:
        return stuck == bug.stuck
    return bool(stuck) and not Counter(stuck) - Counter(bug.stuck)
