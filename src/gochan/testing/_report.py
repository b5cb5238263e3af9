"""What an exploration comes to: a ``Report``, or an error that says how to see the failure again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, repr=False)
class Report:
    """What ``explore`` has tried without finding a failure."""

    runs: int
    """Schedules that were run."""
    distinct: int
    """How many of them were different from all before."""
    exhausted: bool
    """An exhaustive search came to its end: there is no other schedule with so few preemptions."""
    steps: int
    """Steps of tasks, in all runs."""
    seconds: float
    """Real time."""
    backend: str
    strategy: str
    preemptions: int | None = None
    """The bound, if it kept an exhaustive search from schedules with more; None if it did not."""
    fits: bool = True
    """False if a token was replayed that was made by a program that made other choices."""

    def __repr__(self) -> str:
        what = f"{self.runs} run{'s' * (self.runs != 1)} on {self.backend}, {self.distinct} distinct"
        if self.strategy != "token":
            what += f", {self.strategy}"
        if self.strategy == "exhaustive":
            most = "every schedule" if self.preemptions is None else f"all with at most {self.preemptions} preemptions"
            what += f": exhausted, {most}" if self.exhausted else ": not exhausted"
        if not self.fits:
            what += "; the program has changed since the token was made"
        return f"<Report: {what}; {self.steps} steps in {self.seconds:.2f} s>"


class NondeterminismError(RuntimeError):
    """The program did not do the same twice under one schedule, so that no schedule can be replayed."""


class ScheduleFailure(Exception):
    """A schedule under which the program fails; ``__cause__`` is the program's own error.

    Pass ``seed`` to ``explore`` to run exactly this schedule again, on the same backend, as often as needed.
    """

    def __init__(
        self,
        *,
        error: BaseException,
        token: str,
        backend: str,
        runs: int,
        origin: str,
        choices: tuple[int, int],
        steps: int,
        table: str,
    ) -> None:
        self.token = token
        """The schedule, as a text."""
        self.backend = backend
        self.runs = runs
        """How many schedules were run until this one was found."""
        self.table = table
        """Who ran when."""
        found, left = choices
        what = _in_a_line(error)
        other = "" if backend == "asyncio" else f", backend={backend!r}"
        lines = [
            f"{what} (schedule {runs} of {origin}; {backend})",
            f"run it again:  explore(…, seed={token!r}{other})",
        ]
        if found != left:
            lines.append(f"shrunk from {found} unforced choices to {left}")
        if table:
            lines += [f"who ran when, {steps} steps:", table]
        super().__init__("\n".join(lines))

    @property
    def seed(self) -> str:
        """The same as ``token``, by the name under which ``explore`` takes it."""
        return self.token


def _in_a_line(error: BaseException) -> str:
    """The error as a traceback's last line has it; the one inside, of a group of one."""
    inner: Any = error
    while isinstance(inner, BaseExceptionGroup) and len(cast("Any", inner).exceptions) == 1:
        inner = cast("Any", inner).exceptions[0]
    text = str(cast("Any", inner))
    return type(cast("Any", inner)).__name__ + (f": {text.splitlines()[0]}" if text else "")
