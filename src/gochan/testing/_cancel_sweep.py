"""``cancel_sweep``: cancel an operation at every point where that is possible, and look whether all is well after each.

Shape
    One run without a cancellation counts the points; then there is one run per point. Every run is a world of its own
    (``_world.py``), with one plain order of tasks, so the n-th suspension is the same place in each.

    A suspension has two points. "waiting": before anything else happens. "woken": what it waited for has happened,
    and the task is about to go on; who hands values over is most easily wrong there.

    Every operation of the library yields once in a while before it tries, and may be cancelled there. So there are
    two sweeps, one in which the operation under test never yields so, and one in which it always does.

What is demanded besides the caller's own check
    A cancellation is not lost: the operation ends by it, or the next suspension after the operation does. It comes
    once: nothing is left behind for later.

Prior art
    The tests of trio, which shut a stream down in every state by hand; crash tests of databases.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar, cast

import anyio
import anyio.lowlevel

from gochan._core.driver import Driver
from gochan._group import Group

from ._idle import wait_idle
from ._schedule import InOrder
from ._world import World, execute, world_here

S = TypeVar("S")

Kind = Literal["scope", "native"]

_VICTIM: Final = "operation under test"
_ROOT: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = ("anyio", "asyncio", "trio")


@dataclass(frozen=True, slots=True)
class CancelPoint:
    """Where a cancellation comes."""

    suspension: int
    """The operation's how manyeth suspension, from 1."""
    moment: Literal["waiting", "woken"]
    yields: bool
    """In the sweep in which every channel operation yields before it tries."""

    def __str__(self) -> str:
        where = " when every operation yields first" if self.yields else ""
        return f"suspension {self.suspension}{where}, {self.moment}"


@dataclass(slots=True)
class CancelOutcome:
    """How the operation ended, for ``check``."""

    kind: Kind | None
    """How it was cancelled; None in the run without a cancellation."""
    points: tuple[CancelPoint, ...]
    returned: bool = False
    """It returned, in spite of the cancellation if there was one; otherwise it was cancelled."""
    result: Any = None


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep went through without finding anything."""

    suspensions: int
    """Of the operation when it is not cancelled, in both sweeps together."""
    points: int
    """Runs with a cancellation, in all kinds."""
    returned: int
    """In so many of them the operation had happened already, and returned."""


class CancelSweepFailure(AssertionError):
    """Cancelled at ``points``, the operation or the check failed; ``__cause__`` says how."""

    def __init__(self, message: str, kind: Kind | None, points: tuple[CancelPoint, ...]) -> None:
        super().__init__(message)
        self.kind = kind
        self.points = points


def cancel_sweep(
    setup: Callable[[], Awaitable[S]],
    operation: Callable[[S], Awaitable[Any]],
    check: Callable[[S, CancelOutcome], Any],
    *,
    kinds: Collection[Kind] = ("scope", "native"),
    backend: Literal["asyncio", "trio"] = "asyncio",
    depth: Literal[1, 2] = 1,
) -> SweepReport:
    """Run ``operation``, cancelled once at each point where it may be, and ``check`` after each run.

    Args:
        setup: makes what a run works on; goroutines that it starts are the operation's partners. Called for each run.
        operation: gets what setup returned. It must end when nobody cancels it. The suspensions of its own task are
            swept; tasks that it starts are partners, too.
        check: gets what setup returned, and the outcome, when everything has come to rest; plain or async. It raises
            if something is wrong. It is called for the run without a cancellation, too.
        kinds: ``"scope"`` is anyio's and trio's cancellation, ``"native"`` is ``task.cancel()``, on asyncio only.
        depth: 2 cancels once more, at each point of the clean-up; natively, since a scope cancels once.

    Returns:
        How many points there were.

    Raises:
        CancelSweepFailure: something was wrong after a cancellation; it names the point.
        BaseException: what went wrong without one, bare.

    Example:
        >>> import gochan
        >>> from gochan.testing import CancelOutcome, cancel_sweep
        >>> async def setup() -> gochan.Channel[int]:
        ...     numbers = gochan.Channel[int]()
        ...     gochan.go(numbers.send, 1)
        ...     return numbers
        >>> async def operation(numbers: gochan.Channel[int]) -> int:
        ...     return await numbers.receive()
        >>> def check(numbers: gochan.Channel[int], outcome: CancelOutcome) -> None:
        ...     assert numbers.statistics().received == outcome.returned
        >>> cancel_sweep(setup, operation, check).points > 2
        True
    """
    if not set(kinds) <= {"scope", "native"}:
        raise ValueError(f"kinds are 'scope' and 'native', not {kinds!r}")
    if depth not in (1, 2):
        raise ValueError(f"depth is 1 or 2, not {depth!r}")
    sweep = _Sweep(setup, operation, check, backend)
    suspensions = 0
    for yields in (False, True):
        plain = sweep.run(None, (), yields)
        suspensions += plain.suspensions
        for kind in kinds:
            if kind == "native" and backend == "trio":
                continue
            for point in _points(1, plain.suspensions, yields):
                run = sweep.run(kind, (point,), yields)
                if depth == 2 and kind == "native":
                    for second in _points(point.suspension + 1, run.suspensions, yields):
                        sweep.run(kind, (point, second), yields)
    return SweepReport(suspensions, sweep.points, sweep.returned)


def _points(first: int, last: int, yields: bool) -> Sequence[CancelPoint]:
    return [CancelPoint(n, moment, yields) for n in range(first, last + 1) for moment in ("waiting", "woken")]


class _Sweep(Generic[S]):
    def __init__(
        self,
        setup: Callable[[], Awaitable[S]],
        operation: Callable[[S], Awaitable[Any]],
        check: Callable[[S, CancelOutcome], Any],
        backend: Literal["asyncio", "trio"],
    ) -> None:
        self.setup = setup
        self.operation = operation
        self.check = check
        self.backend: Literal["asyncio", "trio"] = backend
        self.points = 0
        self.returned = 0

    def run(self, kind: Kind | None, points: tuple[CancelPoint, ...], yields: bool) -> _Watch:
        """One run."""
        watch = _Watch(points, yields)
        outcome = CancelOutcome(kind, points)
        try:
            execute(self.program, (watch, outcome), self.backend, watch)
            if watch.left:
                raise RuntimeError("the point was not reached: the operation does not do the same in each run")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if kind is None:
                raise
            cause = _only(error)
            where = "".join(f"\n  {point}: {place}" for point, place in zip(points, watch.places, strict=False))
            raise CancelSweepFailure(
                f"cancelled by {'a scope' if kind == 'scope' else 'task.cancel()'}: {type(cause).__name__}: {cause}"
                f"{where}",
                kind,
                points,
            ) from cause
        if kind is not None:
            self.points += 1
            self.returned += outcome.returned
        return watch

    async def program(self, watch: _Watch, outcome: CancelOutcome) -> None:
        watch.world, driver = world_here("cancel_sweep()")
        async with Group(errors="first") as group:
            state = await self.setup()
            await group.go(self.victim, state, watch, outcome, driver, name=_VICTIM).done.wait()
            await wait_idle()
            checked = self.check(state, outcome)
            if inspect.isawaitable(checked):
                await checked
            group.cancel()

    async def victim(self, state: S, watch: _Watch, outcome: CancelOutcome, driver: Driver) -> None:
        if outcome.kind != "native":
            with anyio.CancelScope() as scope:
                await self._attempt(state, watch, outcome, scope.cancel)
                if watch.fired:
                    await anyio.lowlevel.checkpoint()
            if watch.fired and not scope.cancelled_caught:
                raise RuntimeError("the cancellation was lost: the suspension after the operation was not cancelled")
        else:
            task = cast("asyncio.Task[Any]", driver.task())
            try:
                await self._attempt(state, watch, outcome, task.cancel)
                if watch.fired:
                    await anyio.lowlevel.checkpoint()
                    raise RuntimeError("the cancellation was lost: it came neither in the operation nor right after it")
            except asyncio.CancelledError:
                if not watch.fired:
                    raise
                while task.cancelling():
                    task.uncancel()
        try:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            raise RuntimeError("a cancellation nobody asked for came later") from None

    async def _attempt(self, state: S, watch: _Watch, outcome: CancelOutcome, cancel: Callable[[], object]) -> None:
        awaitable = self.operation(state)
        watch.begin(awaitable, cancel)
        try:
            outcome.result = await awaitable
            outcome.returned = True
        finally:
            watch.end()


@dataclass
class _Watch(InOrder):
    """The schedule of a run: it sees each step of the operation, and cancels before or after one."""

    every_yield = True

    left: tuple[CancelPoint, ...]
    yields: bool
    places: list[str] = field(default_factory=list[str])
    suspensions: int = 0
    fired: int = 0
    world: World | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.awaitable: Any = None
        self.cancel: Callable[[], object] | None = None
        self.current = ""

    def begin(self, awaitable: Any, cancel: Callable[[], object]) -> None:
        self.awaitable, self.cancel = awaitable, cancel
        self._suspending()

    def end(self) -> None:
        self.cancel = None

    def choose(self, kind: str, options: Sequence[str]) -> int:
        if kind == "yield" and self.cancel is not None and self.current.endswith(_VICTIM):
            return int(self.yields)
        return super().choose(kind, options)

    def running(self, task: str, coroutine: Any) -> None:
        super().running(task, coroutine)
        self.current = task
        self._fire("waiting", self.suspensions + 1)
        if self.cancel is not None and task.endswith(_VICTIM):
            self.suspensions += 1
            self._fire("woken", self.suspensions)
            self._suspending()

    def _suspending(self) -> None:
        """The operation makes a step, and may suspend after it."""
        if self._next(self.suspensions + 1, "waiting"):
            # If no other task runs next, this does.
            assert self.world is not None
            assert self.world.backend is not None
            self.world.backend.soon(lambda: self._fire("waiting", self.suspensions + 1))

    def _next(self, suspension: int, moment: Literal["waiting", "woken"]) -> bool:
        return bool(self.left) and self.left[0] == CancelPoint(suspension, moment, self.yields)

    def _fire(self, moment: Literal["waiting", "woken"], suspension: int) -> None:
        if self.cancel is not None and self._next(suspension, moment):
            self.left = self.left[1:]
            self.fired += 1
            self.places.append(_place(self.awaitable))
            self.cancel()


def _only(error: Any) -> BaseException:
    """What is in a group of one."""
    while isinstance(error, BaseExceptionGroup):
        inner = cast("tuple[BaseException, ...]", cast("Any", error).exceptions)
        if len(inner) != 1:
            break
        error = inner[0]
    return cast("BaseException", error)


def _place(awaitable: Any) -> str:
    """The innermost line of the user's code in which a coroutine is suspended."""
    from gochan.diagnostics._coroutines import chain, frame_of

    place = "in the operation"
    for one in chain(awaitable):
        frame = frame_of(one)
        if frame is not None:
            module: str = frame.f_globals.get("__name__", "")
            file = frame.f_code.co_filename
            if not file.startswith(_ROOT) and module.partition(".")[0] not in _LIBRARIES:
                place = f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
    return place
