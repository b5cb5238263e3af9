"""Where a task stands: the frames from the innermost outwards, as a dump shows them.

The frames of gochan, anyio and the event loops are left out, as Go leaves out its runtime's: what counts is the line
of the user's code that waits. Where nothing would be left (``go(channel.send, 1)``), the outermost of them stands.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, Final

from gochan._group_tasks import trio_main

from ._coroutines import attribute, frame_of, package_of

# Below these there is nothing to see: what starts goroutines and programs.
_STARTERS: Final = ("gochan._run", "gochan.testing", "anyio._backends")
_TRIO_MAIN: Final = trio_main.__code__
_HIDDEN: Final = frozenset({"anyio", "asyncio", "gochan", "outcome", "sniffio", "trio", "uvloop"})


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on a stack."""

    function: str
    """With its module: ``server.Hub.serve``."""
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class CreatedBy(Frame):
    """Where a goroutine was made."""

    goroutine: int
    """The number of the goroutine that made it; 0 if it is not known."""


def suspended_stack(links: list[Any]) -> tuple[Frame, ...]:
    """Of a chain of awaits."""
    frames = list[FrameType | Frame]()
    for link in reversed(links):
        frame = frame_of(link)
        if frame is not None:
            frames.append(frame)
        elif isinstance(name := attribute(link, "__qualname__"), str):
            frames.append(_compiled(link, name))
    return _shown(frames)


def running_stack(coroutine: object, others: set[int]) -> tuple[Frame, ...]:
    """Of a coroutine that this thread runs: from here to where it begins, without the tasks that run on top of it.

    ``others`` are the ids of the frames in which other tasks begin.
    """
    first = frame_of(coroutine)
    frames = list[FrameType | Frame]()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if id(frame) in others and frame is not first:
            frames.clear()
        else:
            frames.append(frame)
        if frame is first:
            return _shown(frames)
        frame = frame.f_back
    # Its beginning is not on this thread's stack, or is no frame of Python.
    return _shown(frames) if first is None else _shown([first])


def function_of(code: CodeType) -> str:
    """A function with its module, found by the file that it stands in."""
    module = _module_in(code.co_filename)
    return code.co_qualname if module is None else f"{module}.{code.co_qualname}"


@lru_cache(maxsize=1024)
def _module_in(file: str) -> str | None:
    for name, module in list(sys.modules.items()):
        if attribute(module, "__file__") == file:
            return name
    return None


def _shown(frames: list[FrameType | Frame]) -> tuple[Frame, ...]:
    shown = [frame for frame in frames if isinstance(frame, Frame) or package_of(frame) not in _HIDDEN]
    if not shown:
        shown = [frame for frame in frames if not _starts(frame)][-1:] or frames[-1:]
    return tuple(map(_summary, shown))


def _starts(frame: FrameType | Frame) -> bool:
    if isinstance(frame, Frame):
        return False
    return frame.f_code is _TRIO_MAIN or str(frame.f_globals.get("__name__")).startswith(_STARTERS)


def _summary(frame: FrameType | Frame) -> Frame:
    if isinstance(frame, Frame):
        return frame
    code = frame.f_code
    module = frame.f_globals.get("__name__")
    function = f"{module}.{code.co_qualname}" if isinstance(module, str) else code.co_qualname
    return Frame(function, code.co_filename, frame.f_lineno or code.co_firstlineno)


def _compiled(link: object, name: str) -> Frame:
    code = attribute(link, "cr_code", "gi_code")
    file, line = attribute(code, "co_filename"), attribute(code, "co_firstlineno")
    return Frame(name, file if isinstance(file, str) else "?", line if isinstance(line, int) else 0)
