"""The dump on SIGQUIT, as Go's programs print it; the program goes on."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from ._dump import dump


@contextmanager
def dumps_on_quit() -> Generator[None, None, None]:
    """While this is open, SIGQUIT writes all goroutines to stderr; only in the main thread, and not on Windows."""
    number: int | None = getattr(signal, "SIGQUIT", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.getsignal(number)
    if former is None or former is signal.SIG_IGN:  # not Python's to put back; or started with nohup
        yield
        return
    signal.signal(number, _dump)
    try:
        yield
    finally:
        if signal.getsignal(number) is _dump:
            signal.signal(number, former)


def _dump(_number: int, _frame: FrameType | None) -> None:
    try:
        text = dump()
    except RuntimeError:  # before the loop runs, or after
        text = "SIGQUIT: no event loop runs\n"
    sys.stderr.write(f"SIGQUIT: quit\n\n{text}")
    sys.stderr.flush()
