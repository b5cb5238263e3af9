"""How a context, and its error, are shown."""

from __future__ import annotations

import reprlib
import sys
from typing import TYPE_CHECKING, Final

from ._core.driver import current_driver
from ._errors import ContextError

if TYPE_CHECKING:
    from ._context import Context

DEEPEST: Final = 4  # merges within merges that are shown


def text_of(context: Context, depth: int = 0) -> str:
    """The calls by which it was made: ``background().with_cancel()``."""
    parts: list[str] = []
    while len(context._parents) == 1:
        parts.append(_last(context))
        context = context._parents[0]
    if context._parents:
        inside = ", ".join(text_of(parent, depth + 1) for parent in context._parents) if depth < DEEPEST else "..."
        parts.append(f"merge_contexts({inside})")
    else:
        parts.append(context._added)
    return ".".join(reversed(parts))


def _last(context: Context) -> str:
    """What was added to the parent."""
    if context._key is not None:
        return f"with_value({reprlib.repr(context._key)}, {reprlib.repr(context._value)})"
    deadline = context.deadline
    if context._added != "with_deadline()" or deadline is None:
        return context._added
    driver = current_driver()
    left = "" if driver is None or context._node.fired else f" [{deadline - driver.clock():.3g} s]"
    return f"with_deadline({deadline:.9g}{left})"


def light(err: ContextError) -> ContextError:
    """Without its traceback, unless it is being handled.

    Users do ``raise ctx.err``, and each time its traceback would grow, with all the frames in it.
    """
    if err.__traceback__ is not None:
        handled = sys.exception()
        while handled is not None:
            if handled is err or isinstance(handled, BaseExceptionGroup):
                return err
            handled = handled.__context__
        err.__traceback__ = None
    return err
