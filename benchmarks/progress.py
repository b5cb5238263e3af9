"""How far a run is, on stderr: rich's bar on a terminal where rich is installed, a line now and then otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol, TextIO

EVERY = 5.0  # seconds between plain lines


class Progress(Protocol):
    def step(self, title: str) -> None:
        """A job begins."""

    def say(self, line: str) -> None:
        """A line that stays."""


class PlainProgress:
    def __init__(self, total: int, file: TextIO) -> None:
        self._total = total
        self._file = file
        self._done = 0
        self._suite: str = ""
        self._last = float("-inf")

    def step(self, title: str) -> None:
        self._done += 1
        now, suite = time.monotonic(), title.partition(":")[0]
        if now - self._last >= EVERY or suite != self._suite or self._done == self._total:
            self._last, self._suite = now, suite
            self.say(f"{self._done}/{self._total} {title}")

    def say(self, line: str) -> None:
        print(line, file=self._file, flush=True)


@contextmanager
def _rich_progress(total: int) -> Generator[Progress, None, None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    # Not refreshed by a thread of its own, which would take turns from what is measured.
    with Bar(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        task = bar.add_task("", total=total)

        class RichProgress:
            begun = False

            def step(self, title: str) -> None:
                bar.update(task, advance=1 if self.begun else 0, description=title, refresh=True)
                self.begun = True

            def say(self, line: str) -> None:
                bar.console.print(line, markup=False, highlight=False)

        yield RichProgress()
        bar.update(task, completed=total, description="done", refresh=True)


@contextmanager
def progress(total: int, file: TextIO | None = None) -> Generator[Progress, None, None]:
    shown_on = sys.stderr if file is None else file
    if shown_on.isatty() and find_spec("rich"):
        with _rich_progress(total) as shown:
            yield shown
    else:
        yield PlainProgress(total, shown_on)
