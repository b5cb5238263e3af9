"""What goes wrong, in one place; every message says what happened, to which object, and what to do."""

from __future__ import annotations

from typing import Any

import anyio


class ChannelClosed(anyio.EndOfStream, anyio.ClosedResourceError):
    """The channel is closed: a send cannot be accepted, or a receive found it closed and drained.

    One error for both ends, and anyio's two: ``except anyio.EndOfStream`` around a receive and
    ``except anyio.ClosedResourceError`` around a send both catch it. ``__cause__`` is what was given to ``close()``.

    Go: a panic on send, the ``ok`` flag on receive.
    """

    channel: Any
    """The channel that is closed."""

    def __init__(self, message: str = "the channel is closed", channel: Any = None) -> None:
        super().__init__(message)
        self.channel = channel


class Lagged(Exception):
    """Values of a ``Broadcast`` went by before this subscription received them; the next receive goes on after them.

    Go: nothing alike.
    """

    missed: int
    """How many, since the last value that was received."""
    channel: Any
    """The subscription."""

    def __init__(self, message: str = "values were missed", missed: int = 0, channel: Any = None) -> None:
        super().__init__(message)
        self.missed = missed
        self.channel = channel


class ContextError(Exception):
    """Why a context, or a goroutine, ended before its time."""

    _original: ContextError | None = None  # that of the context, of which this was made to be raised


def check_cause(cause: object) -> None:
    """Raise a TypeError unless this can be the cause of a cancellation or a close."""
    if cause is not None and not isinstance(cause, BaseException):
        raise TypeError(f"the cause is an exception or None, not {cause!r}")


class Cancelled(ContextError):
    """It was cancelled.

    Go: ``context.Canceled``.
    """


class DeadlineExceeded(ContextError, TimeoutError):
    """Its deadline passed.

    Go: ``context.DeadlineExceeded``.
    """
