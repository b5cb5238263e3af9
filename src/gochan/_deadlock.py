"""``Deadlock``: all goroutines wait, and nobody is left who could wake one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .diagnostics._goroutines import GoroutineInfo


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
