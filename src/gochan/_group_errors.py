"""What a group raises at its end, of all that went wrong in it.

Invariants
    X1  An error is told once. Who waits for the ``result()`` of a goroutine that failed raises its very error again.
    X2  That a group's own context is done is no failure beside what ended it: Go's functions return ``ctx.Err()``, and
        these raise it, where a cancelled one would just end. So do groups within, under the same context.
    X3  What ends the program is never dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, cast

from ._errors import ContextError
from ._group_context import GroupContext


def failure_of(
    errors: Iterable[BaseException], mode: Literal["all", "first"], contexts: GroupContext
) -> BaseException | None:
    """The one to raise, if any; ``errors`` are in the order in which they came."""
    above, own = contexts.error, contexts.own_err()
    failures = [error for error in errors if error is not above]
    if own is not None:
        failures = list(_without(own, failures))
    if above is not None:  # it came first, or would not be there
        failures.insert(0, above)
    if not failures:
        return None
    if mode == "first":
        return next((error for error in failures if ending(error) is not None), failures[0])
    if above is not None and len(failures) == 1:
        return above
    return BaseExceptionGroup("unhandled errors in a Group", failures)


def ending(error: BaseException) -> BaseException | None:
    """The SystemExit or KeyboardInterrupt that this is, or that is in this group."""
    if not isinstance(error, BaseExceptionGroup):
        return error if isinstance(error, SystemExit | KeyboardInterrupt) else None
    inner = cast("Any", error.exceptions)  # pyright: ignore[reportUnknownMemberType]  # groups of anything
    return next((found for one in inner if (found := ending(one)) is not None), None)


def _without(own: ContextError, errors: Iterable[BaseException]) -> Iterable[BaseException]:
    """X2."""

    def tells_of_it(error: BaseException) -> bool:
        return isinstance(error, ContextError) and (error is own or error._original is own)

    for error in errors:
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            rest = group.split(tells_of_it)[1]
            if rest is not None:
                yield rest
        elif not tells_of_it(error):
            yield error
