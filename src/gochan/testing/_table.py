"""The table of a failing schedule: who ran when, and how far.

    step  1 2 3  who
       4  * . .  1 main    to bank.py:31 async with Group() as group: (goroutine wait)
       5  . * .  2 payer   to bank.py:12 await sleep(0)
    !  6  . . *  3 payer   to bank.py:12 await sleep(0)
       7  . . *  3 payer   ends

One line a step, that is, from one suspension of a task to its next; loops are folded. "!" marks where the schedule
took the turn from a task that could have gone on. What is not the user's (gochan, anyio, the event loop) is left out
of the places.
"""

from __future__ import annotations

import asyncio
import contextlib
import linecache
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any, Final

import anyio

import gochan
from gochan.diagnostics._coroutines import chain, frame_of
from gochan.diagnostics._waiting import waiting

from ._strategies import STEPS, Run, Strategy

_HEAD: Final = 8  # lines at the beginning of a long table …
_TAIL: Final = 48  # … and at its end
_LOOKED_AT: Final = 400  # steps at the end of a long run, which may fold into fewer lines
_LANES: Final = 16  # more tasks than this are not drawn as columns
_WIDTH: Final = 60  # of a line of source

_OURS: Final = tuple(folder + "/" for folder in (*gochan.__path__, *anyio.__path__, *asyncio.__path__))
_LIBRARIES: Final = ("/trio/", "/outcome/")


class WatchedRun(Run):
    """A run that also writes down where every step ended.

    Args:
        length: how many steps it will have, if that is known; of very many those in the middle are not looked at,
            which takes longer than to run them.
    """

    def __init__(self, strategy: Strategy, limit: int = STEPS, length: int = 0) -> None:
        super().__init__(strategy, limit)
        self.unseen = range(_HEAD + 1, length - _LOOKED_AT)
        self.rows: list[tuple[int, str, str]] = []  # the step, the task, what it did
        self._open: tuple[int, str, Any] | None = None

    def running(self, task: str, coroutine: Any) -> None:
        self.close()
        super().running(task, coroutine)
        if self.steps not in self.unseen:
            self._open = (self.steps, task, coroutine)

    def moved(self, now: float) -> None:
        self.close()
        super().moved(now)
        self.rows.append((self.steps, "", f"time moves to {now:g} s"))

    def ending(self) -> None:
        self.close()

    def close(self) -> None:
        """The last step has ended."""
        if self._open is not None:
            step, task, coroutine = self._open
            self._open = None
            self.rows.append((step, task, _place(coroutine)))


def table(run: WatchedRun) -> str:
    """Who ran when in this run, in lines of text."""
    run.close()
    lanes = list(dict.fromkeys(task for _, task, _ in run.rows if task))
    lanes.sort(key=_number)
    preempted, notes = _remarks(run)
    names = {task: _short(task) for task in lanes} | {"": ""}
    width = max(map(len, names.values()), default=0)
    drawn = 0 < len(lanes) <= _LANES
    columns = [task.partition(" ")[0] for task in lanes] if drawn else []
    header = f"  step  {' '.join(columns)}{'  ' if drawn else ''}who"
    lines = list[tuple[int, str]]()
    for step, task, place, repeated in _folded(run.rows, preempted | notes.keys()):
        marks = " ".join(
            ("*" if lane == task else ".").rjust(len(column)) for lane, column in zip(lanes, columns, strict=False)
        )
        mark = "!" if step in preempted and task else " "
        remarks = "".join(f"; {note}" for note in notes.get(step, ()) if task)
        if repeated:
            remarks += f" (and {repeated} more such step{'s' * (repeated > 1)})"
        line = f"{mark} {step:4}  {marks}{'  ' if drawn else ''}{names[task].ljust(width)}  {place}{remarks}"
        lines.append((step, line))
    if len(lines) > _HEAD + _TAIL:
        head, tail = lines[:_HEAD], lines[-_TAIL:]
        left_out = tail[0][0] - head[-1][0] - 1
        lines = [*head, (0, f"        … {left_out} more steps …"), *tail]
    return "\n".join([header, *(line for _, line in lines)])


def _folded(rows: list[tuple[int, str, str]], apart: set[int]) -> list[tuple[int, str, str, int]]:
    """Steps of one task that went round the same loop in one line, except those of which more is to be said."""
    folded = list[tuple[int, str, str, int]]()
    for step, task, place in rows:
        if task and folded and step not in apart and folded[-1][1:3] == (task, place) and place != "ends":
            folded[-1] = (*folded[-1][:3], folded[-1][3] + 1)
        else:
            folded.append((step, task, place, 0))
    return folded


def _remarks(run: Run) -> tuple[set[int], defaultdict[int, list[str]]]:
    """The steps that took another's turn, and what else was chosen during a step."""
    preempted, notes = set[int](), defaultdict[int, list[str]](list)
    yielded = False
    for point in run.points:
        if point.kind == "task":
            if yielded or (point.costs and point.value):
                preempted.add(point.step + 1)
            yielded = False
        elif point.kind == "yield":
            yielded = point.value == 1
        else:
            options = [option.removeprefix(point.kind).split()[0] for option in point.options]
            chosen = options[point.value] if point.value < len(options) else f"at {point.value}"
            more = " …" if point.number > len(options) else ""
            notes[point.step].append(f"{point.kind} {chosen} of {', '.join(options)}{more}")
    return preempted, notes


def _short(task: str) -> str:
    number, _, name = task.partition(" ")
    return f"{number} {name.rpartition('<locals>.')[2]}"


def _number(task: str) -> tuple[int, str]:
    number = task.partition(" ")[0]
    return (int(number) if number.isdigit() else 0, task)


def _place(coroutine: Any) -> str:
    links = list(chain(coroutine))
    frames = [frame for link in links if (frame := frame_of(link)) is not None]
    if not frames:
        return "ends"
    theirs = [frame for frame in frames if _is_users(frame)]
    word = waiting(coroutine).word
    waits = "" if word in ("runnable", "running", "await") else f" ({word})"
    if not theirs:
        return f"waits{waits}"
    frame = theirs[-1]
    file, line = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(file, line).strip()
    if len(source) > _WIDTH:
        source = source[: _WIDTH - 1] + "…"
    return f"to {Path(file).name}:{line} {source}".rstrip() + waits


def _is_users(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not (
        file.startswith((*_OURS, contextlib.__file__, "<frozen")) or any(library in file for library in _LIBRARIES)
    )
