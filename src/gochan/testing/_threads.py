"""Whether a thread is at work that may still do something to a world."""

from __future__ import annotations

import sys
import threading
from collections.abc import Set as AbstractSet
from typing import Final

# Threads of a pool are looked at where their work is waited for: they stay when it is done.
_POOLS: Final = {"concurrent.futures.thread", "trio._core._thread_cache"}


def busy_thread(before: AbstractSet[threading.Thread]) -> bool:
    """Whether a thread other than an idle worker runs that was not there ``before``."""
    if threading.active_count() == 1:
        return False
    here = threading.current_thread()
    for thread in threading.enumerate():
        work = getattr(getattr(thread, "queue", None), "unfinished_tasks", None)
        if isinstance(work, int):  # anyio's worker: given out in the loop, counted off after it has reported
            if work and thread not in before:
                return True
        elif thread is not here and thread not in before and not _of_a_pool(thread):
            return True
    return False


def _of_a_pool(thread: threading.Thread) -> bool:
    """Whether the function that the thread was started with is a worker's."""
    frame = sys._current_frames().get(thread.ident or 0)
    module = ""
    while frame is not None:
        if frame.f_globals.get("__name__") != "threading":
            module = frame.f_globals.get("__name__", "")
        frame = frame.f_back
    return module in _POOLS
