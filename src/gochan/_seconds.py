"""What counts as a duration."""

from __future__ import annotations

from math import inf, isnan
from numbers import Real
from typing import cast


def duration(seconds: float, what: str) -> float:
    """``seconds`` as a float, or a TypeError or ValueError that names what they were meant for."""
    if type(seconds) is not float:  # asking an abstract class takes longer than all the rest
        if not isinstance(cast("object", seconds), Real) or isinstance(seconds, bool):
            raise TypeError(f"{what} is a number of seconds, not {seconds!r}")
        try:
            seconds = float(seconds)
        except OverflowError:  # of an int or a fraction; no shorter for being so long
            seconds = inf if seconds > 0 else -inf
    if isnan(seconds):
        raise ValueError(f"{what} is a number of seconds, not {seconds!r}")
    return seconds


def period(seconds: float, what: str) -> float:
    """The same for what must be longer than no time."""
    seconds = duration(seconds, what)
    if seconds <= 0:
        raise ValueError(f"{what} is a positive number of seconds, not {seconds!r}")
    return seconds
