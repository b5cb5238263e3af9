"""How things look in a terminal: plain lines, or rich's where that is installed and there is somebody to see it.

Whatever people wrote goes through ``safe`` before it comes here, and reaches rich as ``Text``, never as its markup.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, TextIO

DIM, BOLD, RED, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[0m"
_COLOURS = ("green", "yellow", "blue", "magenta", "cyan", "bright_green", "bright_blue", "bright_magenta")
_CODES = (32, 33, 34, 35, 36, 92, 94, 95)


class Look(Protocol):
    """Prints whole lines."""

    def message(self, clock: str, room: str, name: str, text: str, *, own: bool) -> None:
        """What somebody said; ``room`` is empty where there is only one."""
        ...

    def note(self, clock: str, text: str, *, bad: bool) -> None:
        """What the program says."""
        ...

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """A few short lines with a heading."""
        ...


def choose(output: TextIO, *, plain: bool) -> Look:
    """The look for this output."""
    if not plain and output.isatty() and os.environ.get("TERM") != "dumb":
        try:
            return Rich(output)
        except ImportError:  # an extra
            pass
    return Plain(output)


class Plain:
    """Lines, with colours where the output is a terminal."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._colours = output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def message(self, clock: str, room: str, name: str, text: str, *, own: bool) -> None:
        # Whoever writes several lines must not be able to invent somebody else's.
        text = text.replace("\n", "\n      | ")
        colour = BOLD if own else f"\x1b[{_CODES[_shade(name)]}m"
        place = f"{self._styled(DIM, f'#{room}')} " if room else ""
        self._write(f"{self._styled(DIM, clock)} {place}{self._styled(colour, name)}: {text}")

    def note(self, clock: str, text: str, *, bad: bool) -> None:
        self._write(self._styled(RED if bad else DIM, f"{clock} * {text}"))

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        width = max((len(left) for left, _ in rows), default=0)
        self._write(self._styled(BOLD, title))
        for left, right in rows:
            self._write(f"  {left:{width}}  {right}".rstrip())

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{PLAIN}" if self._colours else text

    def _write(self, line: str) -> None:
        self._output.write(line + "\n")
        self._output.flush()


class Rich:
    """The same with rich: long messages are wrapped below their beginning, names are badges, tables are tables."""

    def __init__(self, output: TextIO) -> None:
        # By name, so that the type checkers need not have it either.
        console: Any = import_module("rich.console")
        self._table: Any = import_module("rich.table").Table
        self._text: Any = import_module("rich.text").Text
        self._console: Any = console.Console(file=output, highlight=False, markup=False, emoji=False)

    def message(self, clock: str, room: str, name: str, text: str, *, own: bool) -> None:
        grid = self._table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, max_width=24, overflow="ellipsis")
        grid.add_column(ratio=1, overflow="fold")
        label = self._text(name, style="bold reverse" if own else f"bold {_COLOURS[_shade(name)]}")
        if room:
            label = self._text.assemble((f"#{room} ", "dim"), label)
        grid.add_row(self._text(clock, style="dim"), label, self._text(text))
        self._console.print(grid)

    def note(self, clock: str, text: str, *, bad: bool) -> None:
        line = self._text(f"{clock} ", style="dim")
        line.append("● " if bad else "· ", style="red" if bad else "dim")
        line.append(text, style="red" if bad else "dim italic")
        self._console.print(line)

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        table = self._table(title=self._text(title), title_justify="left", show_header=False, title_style="bold")
        table.add_column(style="cyan", no_wrap=True)
        table.add_column()
        for left, right in rows:
            table.add_row(self._text(left), self._text(right))
        self._console.print(table)


def _shade(name: str) -> int:
    return zlib.crc32(name.encode()) % len(_CODES)
