"""What is said about goroutines that leaked, or that are all asleep for ever."""

from __future__ import annotations

from collections.abc import Sequence

from ._goroutines import GoroutineInfo


class Deadlock(BaseException):
    """All goroutines are asleep for ever.

    Its text is the dump of all goroutines. It is no ``Exception``: a program that swallows errors and goes on must not
    swallow this one.

    Go: ``fatal error: all goroutines are asleep - deadlock!``.
    """

    def __init__(self, goroutines: list[GoroutineInfo], dump: str) -> None:
        super().__init__(goroutines, dump)  # what pickle and copy make it from again
        self.goroutines = goroutines
        """All that were alive, main first."""
        self._dump = dump

    def __str__(self) -> str:
        return f"all goroutines are asleep - deadlock!\n\n{self._dump}"


class LeakWarning(RuntimeWarning):
    """At the end of a program, goroutines were left that could never have woken."""


class LeakError(Exception):
    """Goroutines leaked."""

    def __init__(self, message: str, goroutines: Sequence[GoroutineInfo]) -> None:
        super().__init__(message, goroutines)
        self.goroutines = list(goroutines)
        """Those that leaked."""

    def __str__(self) -> str:
        return str(self.args[0])


def leak_text(what: str, leaked: Sequence[GoroutineInfo]) -> str:
    """Which goroutines these are: what each waits for, where, and where it was made."""
    number = f"{len(leaked)} goroutine{'' if len(leaked) == 1 else 's'}"
    return "\n".join((f"{number} {what}:", *map(_line, leaked)))


def _line(info: GoroutineInfo) -> str:
    on = f" on {', '.join(info.waiting_on)}" if info.waiting_on else ""
    at = f" at {info.stack[0].file}:{info.stack[0].line}" if info.stack else ""
    by = info.created_by
    made = "" if by is None else f", created by {by.function} at {by.file}:{by.line} in goroutine {by.goroutine}"
    return f"    goroutine {info.id} {info.name!r} [{info.state}]{on}{at}{made}"
