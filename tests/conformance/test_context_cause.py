"""The error and the cause of a context, after Go's TestCause in src/context/context_test.go.

Time is virtual.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gochan import (
    CancelContext,
    Cancelled,
    Context,
    DeadlineExceeded,
    background,
    todo,
)

virtual = pytest.mark.gochan(virtual_time=True)


# -- TestCause --------------------------------------------------------------------------------------------------------

PARENT, CHILD, TOO_SOON, FINISHED = (Exception(name) for name in ("parent", "child", "too soon", "finished early"))


def timed(parent: Context, seconds: float, cause: Exception | None = None) -> CancelContext:
    return parent.with_timeout(seconds, cause=cause)


def ended(ctx: CancelContext, *causes: Exception | None) -> CancelContext:
    for cause in causes:
        ctx.cancel(cause)
    return ctx


def below(*causes: tuple[int, Exception | None]) -> CancelContext:
    """Parent and child, cancelled in this order; the child."""
    pair = [background().with_cancel()]
    pair.append(pair[0].with_cancel())
    for which, cause in causes:
        pair[which].cancel(cause)
    return pair[1]


CAUSES: dict[str, tuple[Callable[[], Context], type[Exception] | None, Exception | None]] = {
    "background": (background, None, None),
    "todo": (todo, None, None),
    "with_cancel, live": (lambda: background().with_cancel(), None, None),
    "with_cancel, cancelled": (lambda: ended(background().with_cancel(), None), Cancelled, None),
    "with_cancel, cause": (lambda: ended(background().with_cancel(), PARENT), Cancelled, PARENT),
    "with_cancel, the first cause counts": (
        lambda: ended(background().with_cancel(), PARENT, CHILD),
        Cancelled,
        PARENT,
    ),
    "with_cancel, no cause is one, too": (lambda: ended(background().with_cancel(), None, CHILD), Cancelled, None),
    "parent, then child": (lambda: below((0, PARENT), (1, CHILD)), Cancelled, PARENT),
    "child, then parent": (lambda: below((1, CHILD), (0, PARENT)), Cancelled, CHILD),
    "parent without cause, then child": (lambda: below((0, None), (1, CHILD)), Cancelled, None),
    "child without cause, then parent": (lambda: below((1, None), (0, PARENT)), Cancelled, None),
    "child of a cancelled one": (lambda: ended(background().with_cancel(), PARENT).with_cancel(), Cancelled, PARENT),
    "value of a cancelled one": (
        lambda: ended(background().with_cancel(), PARENT).with_value("k", "v"),
        Cancelled,
        PARENT,
    ),
    "without_cancel of a cancelled one": (
        lambda: ended(background().with_cancel(), PARENT).without_cancel(),
        None,
        None,
    ),
    "cancelled below without_cancel": (
        lambda: ended(background().with_cancel().without_cancel().with_cancel(), CHILD),
        Cancelled,
        CHILD,
    ),
    "timeout, passed": (lambda: timed(background(), 0), DeadlineExceeded, None),
    "timeout, passed, cause": (lambda: timed(background(), 0, TOO_SOON), DeadlineExceeded, TOO_SOON),
    "timeout, cancelled before": (lambda: ended(timed(background(), 99), None), Cancelled, None),
    "timeout with a cause, cancelled before": (lambda: ended(timed(background(), 99, TOO_SOON), None), Cancelled, None),
    "timeout with a cause, cancelled with one before": (
        lambda: ended(timed(background(), 99, TOO_SOON), FINISHED),
        Cancelled,
        FINISHED,
    ),
    "timeout, cancelled after": (lambda: ended(timed(background(), 0, TOO_SOON), FINISHED), DeadlineExceeded, TOO_SOON),
    "timeout below a cancelled one": (
        lambda: timed(ended(background().with_cancel(), PARENT), 0, TOO_SOON),
        Cancelled,
        PARENT,
    ),
    "child of a timeout that passed": (
        lambda: timed(background(), 0, TOO_SOON).with_cancel(),
        DeadlineExceeded,
        TOO_SOON,
    ),
}


@pytest.mark.parametrize("case", CAUSES)
@virtual
async def test_the_error_and_the_cause(case: str) -> None:
    """Who came first decides both; without a cause it is the error itself."""
    make, kind, cause = CAUSES[case]
    ctx = make()
    assert ctx.done.is_set() == (kind is not None)
    assert (None if ctx.err is None else type(ctx.err)) is kind
    assert ctx.cause is (cause or ctx.err)


@virtual
async def test_the_cause_of_an_earlier_deadline_above() -> None:
    """The later one below is no deadline of its own, so its cause never counts."""
    above = background().with_timeout(1)
    lower = above.with_timeout(5, cause=TOO_SOON)
    await lower.done.wait()
    assert lower.err is above.err is lower.cause
    above = background().with_timeout(5, cause=PARENT)
    lower = above.with_timeout(1, cause=TOO_SOON)
    await lower.done.wait()
    assert lower.cause is TOO_SOON
    assert above.err is None
