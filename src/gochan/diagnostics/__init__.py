"""Seeing what a program does: its goroutines, what each waits for, and which of them can never go on."""

from __future__ import annotations

from ._dump import dump as dump
from ._errors import Deadlock as Deadlock
from ._errors import LeakError as LeakError
from ._errors import LeakWarning as LeakWarning
from ._goroutines import GoroutineInfo as GoroutineInfo
from ._goroutines import goroutines as goroutines
from ._leaks import find_leaks as find_leaks
from ._no_leaks import no_leaks as no_leaks
from ._stack import CreatedBy as CreatedBy
from ._stack import Frame as Frame

__all__ = [
    "CreatedBy",
    "Deadlock",
    "Frame",
    "GoroutineInfo",
    "LeakError",
    "LeakWarning",
    "dump",
    "find_leaks",
    "goroutines",
    "no_leaks",
]
