"""What a known bug is, and how a module of them is written.

A kernel is one async function with a parameter ``fixed``: the bug and its repair stand side by side in it. It starts
goroutines, and returns (unless its very point is that it does not); what is then stuck is named in ``stuck``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gochan import Goroutine, go

Kernel = Callable[[bool], Coroutine[Any, Any, None]]
Program = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Bug:
    """One bug and its repair."""

    name: str
    source: str
    program: Program
    twin: Program
    deterministic: bool
    """The same goroutines are stuck under every schedule."""
    stuck: tuple[str, ...]
    """Which are: exactly these if it is deterministic; otherwise some of these under some schedule."""

    def __str__(self) -> str:
        return self.name


class Family:
    """The bugs of one module."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.bugs: list[Bug] = []

    def always(self, name: str, *stuck: str) -> Callable[[Kernel], Kernel]:
        """The kernel that leaves exactly these goroutines stuck."""
        return self._add(name, stuck, deterministic=True)

    def sometimes(self, name: str, *stuck: str) -> Callable[[Kernel], Kernel]:
        """The kernel that leaves some of these goroutines stuck, under some schedules."""
        return self._add(name, stuck, deterministic=False)

    def _add(self, name: str, stuck: tuple[str, ...], *, deterministic: bool) -> Callable[[Kernel], Kernel]:
        def add(kernel: Kernel) -> Kernel:
            async def program() -> None:
                await kernel(False)

            async def twin() -> None:
                await kernel(True)

            self.bugs.append(Bug(name, self.source, program, twin, deterministic, tuple(sorted(stuck))))
            return kernel

        return add


def spawn(fn: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Goroutine[Any]:
    """Starts a goroutine under the short name that a kernel is described with."""
    return go(fn, *args, name=fn.__name__)
