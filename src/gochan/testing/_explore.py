"""``explore``: run a program under many schedules, and show the first one that fails.

Shape
    One loop: a strategy makes a run, the world runs the program under it, and what came out is judged. The first run
    is always the calm one (all answers 0). A failing run is run again from its answers, which must fail in the same
    way at the same questions; then it is shrunk, and run once more for the table.

Why "random" is two strategies
    Each is weak where the other is strong. Over the 52 programs of tests/bugs that need a schedule, thirty seeds each,
    choices drawn one by one needed up to 123 runs (two locks, taken in two orders), priorities up to 76 (a timer
    beside a queue), both in turn 55; in the mean 5.0, 3.2 and 3.2.

A run checked against itself
    What is not drawn from the schedule (a clock, ``random``, the order of a set of objects, what an earlier run left
    behind) makes a seed worthless. So the first run and every ``CHECK``-th are repeated from their answers, and must
    ask the same questions again; so must the failing one.

What is not a failure
    KeyboardInterrupt, SystemExit and a skipped test are no verdict on the program: they come out bare.
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable, Coroutine, Iterator
from time import perf_counter
from typing import Any, Final, Literal, TypeVar, cast

from typing_extensions import TypeVarTuple, Unpack

from gochan._callables import refuse_plain
from gochan._core.driver import current_driver

from ._report import NondeterminismError, Report, ScheduleFailure
from ._shrink import TRIES, shrink
from ._strategies import STEPS, Endless, Listed, Pct, Point, Random, Run, Search, Strategy
from ._table import WatchedRun, table
from ._token import Backend, Token, shape_of, trimmed
from ._world import execute

T = TypeVar("T")
Args = TypeVarTuple("Args")

CHECK: Final = 64  # costs 2 %
_SHRINKING_STEPS: Final = 200_000  # in all; a schedule of many steps gets fewer tries
_STRATEGIES: Final = ("random", "pct", "exhaustive")


def explore(
    fn: Callable[[Unpack[Args]], Coroutine[Any, Any, object]],
    *args: *Args,
    backend: Backend = "asyncio",
    runs: int = 1000,
    strategy: Literal["random", "pct", "exhaustive"] = "random",
    seed: int | str | None = None,
    preemptions: int | None = 2,
    steps: int = STEPS,
) -> Report:
    """Run ``fn(*args)`` under many schedules, in virtual time; raise on the first that fails.

    A schedule fails on an exception, on a deadlock, and on a goroutine that is left behind and can never wake. Drawn
    from the seed are: which ready task runs, which ready case a select takes, which of equal deadlines comes first,
    and whether an operation that need not wait yields. ``fn`` is called once a run and must not keep anything from
    one run to the next.

    Args:
        runs: how many schedules to try at most.
        strategy: ``"pct"`` gives tasks random priorities, which finds bugs that need a few events in a rare order;
            ``"random"`` does so in every second run, and draws every choice by itself in the others;
            ``"exhaustive"`` takes every schedule with at most ``preemptions`` preemptions, those with fewer first, for
            small programs.
        seed: another number gives other schedules, None is 0: a test fails today as it does tomorrow. A token, the
            ``seed`` of a ``ScheduleFailure``, runs that one schedule again.
        preemptions: how often an exhaustive schedule may take the turn from a task that could go on; None is any
            number. Most bugs need one or two.
        steps: a run that makes more steps than this fails: it does not end.

    Returns:
        What was tried.

    Raises:
        ScheduleFailure: a schedule failed; ``__cause__`` is the program's error, ``seed`` runs the schedule again.
        NondeterminismError: the program depends on something that no schedule controls.
        RuntimeError: called inside a running event loop.
        TypeError: ``fn`` is not an async function, or a number is none.
        ValueError: an unknown strategy or backend, ``runs`` below 1, a token that is broken or of another backend.

    Go: nothing alike; ``go test -race -count=1000`` hopes for the best.

    Example:
        >>> import gochan, gochan.testing
        >>> async def main() -> None:
        ...     numbers = gochan.Channel[int]()
        ...     async with gochan.Group() as group:
        ...         group.go(numbers.send, 1)
        ...         assert await numbers.receive() == 1
        >>> gochan.testing.explore(main, strategy="exhaustive").exhausted
        True
    """
    _check_arguments(fn, backend, runs, strategy, seed, preemptions, steps)
    explorer = _Explorer(fn, args, backend, steps)
    if isinstance(seed, str):
        return explorer.replay(Token.parse(seed, backend))
    return explorer.explore(strategy, runs, seed or 0, preemptions)


def replay(
    fn: Callable[[Unpack[Args]], Coroutine[Any, Any, T]],
    *args: *Args,
    token: str,
) -> T:
    """Run ``fn(*args)`` once, under the schedule of a token, and come out as the program does.

    Raises what the program raises, bare: for a debugger.

    Returns:
        What ``fn`` returned.

    Raises:
        BaseException: what ``fn`` raised.
        RuntimeError: called inside a running event loop.
        TypeError: ``fn`` is not an async function, or the token no text.
        ValueError: the token is broken or of another version.
    """
    refuse_plain(fn, "replay()")
    parsed = Token.parse(token)
    run = Run(Listed(parsed.values))
    return execute(fn, args, parsed.backend, run)


class _Explorer:
    """One exploration of one program."""

    def __init__(self, fn: Any, args: tuple[Any, ...], backend: Backend, limit: int) -> None:
        self.fn = fn
        self.args = args
        self.backend: Backend = backend
        self.limit = limit
        self.began = perf_counter()
        self.runs = self.steps = self.longest = 0
        self.schedules = set[int]()
        self.strategy = "token"
        self.origin = ""

    def explore(self, strategy: str, runs: int, seed: int, preemptions: int | None) -> Report:
        self.strategy = strategy
        self.origin = f"{runs} runs, strategy {strategy}" + ("" if strategy == "exhaustive" else f", seed {seed}")
        search = Search(preemptions) if strategy == "exhaustive" else None
        exhausted = False
        while self.runs < runs:
            chosen = self._next(strategy, seed, search)
            if chosen is None:
                exhausted = True
                break
            run = Run(chosen, self.limit)
            error = self._attempt(run)
            if search is not None:
                if isinstance(chosen, Listed) and chosen.misfit is not None:
                    raise self._no_such_choice(run, chosen.misfit)
                search.ran(run)
            self.runs += 1
            self.steps += run.steps
            self.longest = max(self.longest, sum(point.kind in ("task", "yield") for point in run.points))
            self.schedules.add(hash(tuple(trimmed(run.values))))
            if error is not None:
                self._fail(run, error)
            if self.runs % CHECK == 1:
                self._check(run)
        if search is not None and not exhausted:
            exhausted = search.next() is None
        return self._report(exhausted, None if search is None or not search.cut else preemptions)

    def replay(self, token: Token) -> Report:
        self.origin = "replay of a token"
        listed = Listed(token.values)
        run = WatchedRun(listed, self.limit)
        error = self._attempt(run)
        self.runs, self.steps = 1, run.steps
        self.schedules.add(0)
        if error is not None:
            raise self._failure(run, error, shrunk_from=None) from error
        return self._report(exhausted=False, preemptions=None, fits=self._shape(run) == token.shape)

    def _next(self, strategy: str, seed: int, search: Search | None) -> Strategy | None:
        number = self.runs
        if search is not None:
            prefix = search.next()
            return None if prefix is None else Listed(prefix)
        if not number:
            return Listed()
        source = f"{seed}/{number}"
        if strategy == "pct" or number % 2:
            return Pct(source, 2 + number // 2 % 2, self.longest)
        return Random(source)

    def _attempt(self, run: Run) -> BaseException | None:
        """Run the program; its error, if it failed."""
        error: BaseException | None = None
        try:
            execute(self.fn, self.args, self.backend, run)
        except BaseException as raised:
            for leaf in _leaves(raised):
                if _is_no_verdict(leaf):
                    raise leaf  # noqa: B904  # bare, also out of a goroutine
            error = raised
        if run.waited_outside is not None:
            raise NondeterminismError(
                f"the program waited for {run.waited_outside}: explore() controls tasks, timers and channels, but no "
                "threads and no real input or output; put something in memory in its place"
            ) from error
        return error

    def _again(self, run: Run, watched: bool = False) -> tuple[Run, BaseException | None]:
        listed = Listed(run.values)
        again = WatchedRun(listed, self.limit, run.steps) if watched else Run(listed, self.limit)
        return again, self._attempt(again)

    def _check(self, run: Run) -> None:
        again, error = self._again(run)
        self._compare(run, again, None, error)

    def _compare(self, run: Run, again: Run, error: BaseException | None, error_again: BaseException | None) -> None:
        """Refuse a program that does not do the same under the same schedule."""
        different = next((i for i, (a, b) in enumerate(zip(run.points, again.points, strict=False)) if a != b), None)
        if different is None and len(run.points) != len(again.points):
            different = min(len(run.points), len(again.points))
        if different is not None:
            raise self._nondeterminism(
                f"at choice {different + 1} it was asked {_question(run.points, different)}, and the next time "
                f"{_question(again.points, different)}"
            ) from (error or error_again)
        if _kind(error) != _kind(error_again):
            raise self._nondeterminism(
                f"after {run.steps} steps it {_outcome(error)}, and the next time it {_outcome(error_again)}"
            ) from (error or error_again)

    def _nondeterminism(self, what: str) -> NondeterminismError:
        return NondeterminismError(
            f"the program does not do the same twice under one schedule (run {self.runs}): {what}. Something that no "
            "schedule controls has a say: what an earlier run left behind (a global, an argument), the order of a set, "
            "random, a real clock, a thread"
        )

    def _no_such_choice(self, run: Run, at: int) -> NondeterminismError:
        return self._nondeterminism(
            f"at choice {at + 1} it was asked {_question(run.points, at)}, with more options before"
        )

    def _fail(self, run: Run, error: BaseException) -> None:
        """Show a failing run as small as it gets."""
        again, error_again = self._again(run, watched=isinstance(error, Endless))
        self._compare(run, again, error, error_again)
        if isinstance(error, Endless):
            # Smaller schedules of a program that does not end do not end either, and take as long.
            raise self._failure(again, error, shrunk_from=None) from error
        kind = _kind(error)

        def attempt(values: list[int]) -> list[int] | None:
            smaller = Run(Listed(values), self.limit)
            return smaller.values if _kind(self._attempt(smaller)) == kind else None

        tries = max(20, min(TRIES, _SHRINKING_STEPS // max(run.steps, 1)))
        smallest = WatchedRun(Listed(shrink(run.values, attempt, tries, self._simple())), self.limit)
        last = self._attempt(smallest)
        if last is None or _kind(last) != kind:
            raise self._nondeterminism(
                f"a smaller schedule {_outcome(error)}, and the next time it {_outcome(last)}"
            ) from error
        raise self._failure(smallest, last, shrunk_from=run) from last

    def _simple(self) -> Iterator[list[int]]:
        """The calm schedule, and those in which one choice is another."""
        yield []
        calm = Run(Listed(), self.limit)
        self._attempt(calm)
        for at, point in enumerate(calm.points):
            for value in range(1, point.width):
                yield [0] * at + [value]

    def _failure(self, run: Run, error: BaseException, shrunk_from: Run | None) -> ScheduleFailure:
        token = str(Token(self.backend, tuple(trimmed(run.values)), self._shape(run)))
        return ScheduleFailure(
            error=error,
            token=token,
            backend=self.backend,
            runs=self.runs,
            origin=self.origin,
            choices=(_loud(shrunk_from or run), _loud(run)),
            steps=run.steps,
            table=table(run) if isinstance(run, WatchedRun) else "",
        )

    def _shape(self, run: Run) -> int:
        return shape_of((point.kind, point.number) for point in run.points)

    def _report(self, exhausted: bool, preemptions: int | None, fits: bool = True) -> Report:
        return Report(
            runs=self.runs,
            distinct=len(self.schedules),
            exhausted=exhausted,
            steps=self.steps,
            seconds=perf_counter() - self.began,
            backend=self.backend,
            strategy=self.strategy,
            preemptions=preemptions,
            fits=fits,
        )


def _check_arguments(fn: Any, backend: Any, runs: Any, strategy: Any, seed: Any, preemptions: Any, steps: Any) -> None:
    refuse_plain(fn, "explore()")
    if backend not in ("asyncio", "trio"):
        raise ValueError(f"backend is 'asyncio' or 'trio', not {backend!r}")
    if strategy not in _STRATEGIES:
        raise ValueError(f"strategy is 'random', 'pct' or 'exhaustive', not {strategy!r}")
    for name, value, least in (("runs", runs, 1), ("steps", steps, 1), ("preemptions", preemptions, 0)):
        if value is None and name == "preemptions":
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} is a number, not {value!r}")
        if value < least:
            raise ValueError(f"{name} is {least} or more, not {value}")
    if not isinstance(seed, int | str | None) or isinstance(seed, bool):
        raise TypeError(f"seed is a number, a token or None, not {seed!r}")
    if current_driver() is not None:
        raise RuntimeError(
            "explore() runs event loops of its own and cannot be called inside one: call it from a plain function, "
            "such as `def test_…` without async"
        )


def _is_no_verdict(error: BaseException) -> bool:
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | unittest.SkipTest):
        return True
    outcomes: Any = sys.modules.get("_pytest.outcomes")
    return outcomes is not None and isinstance(error, (outcomes.Skipped, outcomes.Exit))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("Any", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _kind(error: BaseException | None) -> object:
    """What two errors have in common that come from the same bug: type and place."""
    if error is None:
        return None
    return type(error), frozenset(map(_type_and_place, _leaves(error)))


def _type_and_place(error: BaseException) -> tuple[type[BaseException], object]:
    traceback = error.__traceback__
    place = None
    while traceback is not None:
        place = traceback.tb_frame.f_code, traceback.tb_lineno
        traceback = traceback.tb_next
    return type(error), place


def _outcome(error: BaseException | None) -> str:
    return "succeeded" if error is None else f"failed with {type(error).__name__}"


def _loud(run: Run) -> int:
    return sum(map(bool, run.values))


def _question(points: list[Point], at: int) -> str:
    if at >= len(points):
        return "nothing more"
    point = points[at]
    more = point.number - len(point.options)
    options = ", ".join(point.options) + (f" and {more} more" if more else "")
    return f"which {point.kind} of {options} (in step {point.step + 1})"
