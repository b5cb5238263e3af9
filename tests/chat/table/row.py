"""A row of the table: one scenario, what was measured in it, and the bounds that the measurements have to keep."""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, TypeAlias, TypeVar

T = TypeVar("T")
Loop: TypeAlias = Literal["asyncio", "uvloop", "trio"]
LOOPS: tuple[Loop, ...] = ("asyncio", "uvloop", "trio")


@dataclass(frozen=True, slots=True)
class Size:
    """How large a row is run, and on which loop."""

    full: bool
    loop: Loop

    def pick(self, small: T, full: T) -> T:
        return full if self.full else small

    @property
    def flags(self) -> tuple[str, ...]:
        """What tells a server in a process of its own to use the same loop."""
        return {"asyncio": (), "uvloop": ("--uvloop",), "trio": ("--backend", "trio")}[self.loop]


@dataclass(frozen=True, slots=True)
class Check:
    """One number of a row, and what it had to be."""

    what: str
    measured: str
    bound: str
    ok: bool


def at_most(what: str, measured: float, bound: float, unit: str = "") -> Check:
    return Check(what, f"{measured:,.4g} {unit}".strip(), f"≤ {bound:,.4g} {unit}".strip(), measured <= bound)


def at_least(what: str, measured: float, bound: float, unit: str = "") -> Check:
    return Check(what, f"{measured:,.4g} {unit}".strip(), f"≥ {bound:,.4g} {unit}".strip(), measured >= bound)


def exactly(what: str, measured: object, bound: object) -> Check:
    return Check(what, str(measured), f"= {bound}", measured == bound)


def told(what: str, measured: str) -> Check:
    """A number without a bound, for the reader."""
    return Check(what, measured, "", True)


@dataclass(frozen=True, slots=True)
class Row:
    """A row. ``run`` runs on the loop that ``Size.loop`` names; it raises if the scenario cannot be played at all."""

    number: str
    name: str
    run: Callable[[Size], Awaitable[Sequence[Check]]]
    loops: tuple[Loop, ...] = LOOPS
    small: bool = True
    """Whether the tests run it, at its small size; a row that needs another program or a quiet machine is for the
    table."""
    slow: bool = False
    """Whether it takes so long at its small size that only ``make stress`` runs it."""


def rows() -> list[Row]:
    """All of them, in order: each module here whose name begins with ``row_`` has one, ``ROW``."""
    package = __name__.rpartition(".")[0]
    names = [module.name for module in pkgutil.iter_modules(import_module(package).__path__)]
    found: list[Row] = [import_module(f"{package}.{name}").ROW for name in names if name.startswith("row_")]
    return sorted(found, key=lambda row: (int("".join(filter(str.isdigit, row.number))), row.number))
