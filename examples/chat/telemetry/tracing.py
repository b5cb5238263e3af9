"""Which session and which trace the code that runs now works for: context variables, and W3C's ``traceparent``.

A goroutine takes over the context variables of whoever starts it, on asyncio and trio alike; so one ``with bound(...)``
in the reader is enough for the log records of everything that it starts.

Prior art: https://www.w3.org/TR/trace-context/ (version 00; a later version is read as far as this one goes).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from typing import Final

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?"
)
_LONGEST: Final = 128
_NOTHING: Final[Mapping[str, str]] = {}

# One variable that holds a mapping: a record is made with one look-up, not with one for each field.
_fields: Final[ContextVar[Mapping[str, str]]] = ContextVar("gochat_fields", default=_NOTHING)


@contextlib.contextmanager
def bound(**fields: str) -> Generator[None]:
    """Log records that are made inside carry these fields: ``session``, ``user``, ``trace``, ``span``."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        try:
            _fields.reset(token)
        except ValueError:  # the end is in another context than the beginning, as for a generator that is thrown away
            pass


def current() -> Mapping[str, str]:
    """The fields that are bound here."""
    return _fields.get()


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace that a ``traceparent`` names; None if it is not one.

    It comes from clients: what does not match is no trace, and goes nowhere.
    """
    ids = ids_of(traceparent)
    return None if ids is None else ids[0]


def ids_of(traceparent: str | None) -> tuple[str, str] | None:
    """The trace and the span that a ``traceparent`` names."""
    if traceparent is None or len(traceparent) > _LONGEST:
        return None
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (traceparent.startswith("00") and len(traceparent) != 55):
        return None
    return match[1], match[2]
