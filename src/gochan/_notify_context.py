"""``notify_context``: signals of the operating system as the cancellation of a context.

Shape
    One handler for each signal, while anybody listens to it; all who do hear it. It is Python's own kind of handler
    (``signal.signal``), and only passes the word on to the loop.

Invariants
    L1  Our handler is installed exactly while somebody listens to that signal, unless somebody else replaced it.
    L2  The one that was there before comes back when the last listener leaves, in whatever order they do.

Why not
    ``loop.add_signal_handler``: takes SIGINT away from ``asyncio.run`` without giving it back, tells one listener only,
    and is not there on Windows, nor on trio.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import FrameType, TracebackType
from typing import Any, Final

from ._context import CancelContext, Context, background, check_context, derive
from ._core.driver import Driver, uninterruptible
from ._errors import Cancelled


def notify_context(*signals: int, parent: Context | None = None) -> AbstractAsyncContextManager[CancelContext]:
    """``async with notify_context() as ctx:`` a context that is cancelled by the first of these signals.

    Its cause is a ``Cancelled`` that names the signal, "interrupt signal received" for one. Further signals do nothing
    more until the block ends; then what handled them before is back, and the context is cancelled.

    Args:
        signals: of the module ``signal``; without any, SIGINT (Ctrl-C) and SIGTERM, by which programs are told to end.
        parent: the context from which it is derived; ``background()`` if there is none.

    Raises:
        RuntimeError: it is entered outside the main thread, where Python handles no signals.
        TypeError: something is no signal's number, or the parent is no context.
        ValueError: there is no such signal, or it cannot be handled.

    Go: ``signal.NotifyContext``; there, no signals are all of them.

    Example:
        >>> import signal, gochan
        >>> async def main() -> None:
        ...     async with gochan.notify_context(signal.SIGTERM) as ctx:
        ...         signal.raise_signal(signal.SIGTERM)
        ...         await ctx.done.wait()
        ...         print(ctx.cause)
        >>> gochan.run(main)
        terminated signal received
    """
    numbers = tuple(dict.fromkeys(map(_number, signals))) or (signal.SIGINT, signal.SIGTERM)
    if parent is not None:
        check_context(parent, "notify_context()")
    return _Notify(numbers, background() if parent is None else parent)


class _Notify(AbstractAsyncContextManager[CancelContext]):
    __slots__ = ("_context", "_driver", "_numbers", "_parent")

    def __init__(self, numbers: Sequence[int], parent: Context) -> None:
        self._numbers = numbers
        self._parent = parent
        self._context: CancelContext | None = None
        self._driver: Driver | None = None

    @uninterruptible
    async def __aenter__(self) -> CancelContext:
        if self._context is not None:
            raise RuntimeError("this notify_context() has been entered before: call it for each block")
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "notify_context() outside the main thread: Python handles signals in the main thread only, so run the "
                "event loop there, or cancel a context from there through anyio.from_thread.run_sync"
            )
        self._driver = driver = self._parent._node.enter()
        self._parent._node.own(driver)
        context = derive((self._parent,), f"notify_context({', '.join(map(_name, self._numbers))})")
        context._node.own(driver)
        listening: list[int] = []
        try:
            for number in self._numbers:
                _listen(number, self)
                listening.append(number)
        except BaseException:
            for number in listening:
                _leave(number, self)
            context.cancel()
            raise
        self._context = context
        return context

    @uninterruptible
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        context = self._context
        if context is None:
            raise RuntimeError("this notify_context() was never entered")
        for number in self._numbers:
            _leave(number, self)
        context.cancel()

    def heard(self, number: int) -> None:
        """A signal has come; we may be between any two steps of the main thread."""
        assert self._driver is not None
        try:
            self._driver.call_soon_threadsafe(self._cancel, number)
        except RuntimeError:  # the loop has just ended
            pass

    def _cancel(self, number: int) -> None:
        if self._context is not None:
            self._context.cancel(Cancelled(f"{_spoken(number)} signal received"))


# Who listens to which signal, and what handled it before; changed in the main thread only.
_listeners: Final[dict[int, dict[_Notify, None]]] = {}
_before: Final[dict[int, Any]] = {}


def _handler(number: int, _frame: FrameType | None) -> None:
    listeners = tuple(_listeners.get(number, ()))
    for listener in listeners:
        listener.heard(number)
    if not listeners:  # put back by somebody who had replaced it, after everybody has left
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.raise_signal(number)


def _listen(number: int, listener: _Notify) -> None:
    if number not in _listeners or signal.getsignal(number) is not _handler:
        try:
            before = signal.signal(number, _handler)
        except OSError as error:
            raise ValueError(f"{_name(number)} cannot be handled: {error.strerror}") from error
        _before[number] = before
    _listeners.setdefault(number, {})[listener] = None


def _leave(number: int, listener: _Notify) -> None:
    """L2."""
    listeners = _listeners[number]
    del listeners[listener]
    if not listeners:
        del _listeners[number]
        before = _before.pop(number)
        if signal.getsignal(number) is _handler:
            # None is a handler that was not installed by Python, and cannot be by it.
            signal.signal(number, signal.SIG_DFL if before is None else before)


def _number(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"notify_context() takes numbers of signals, as signal.SIGTERM, not {given!r}")
    if given not in signal.valid_signals():
        raise ValueError(f"there is no signal {given} on this system")
    return int(given)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _spoken(number: int) -> str:
    """As the system calls it: "interrupt", "terminated"; macOS adds the number."""
    text = signal.strsignal(number)
    return _name(number) if not text else text.partition(":")[0].lower()
