"""Waiting, and giving up, for so many turns of the loop: no clock, and so not the machine's speed, decides when."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import anyio


def after(turns: int, fn: Callable[[], object]) -> None:
    """Call it in the loop, outside of any task."""

    def turn() -> None:
        nonlocal turns
        turns -= 1
        if turns:
            soon(turn)
        else:
            fn()

    soon: Callable[[Callable[[], object]], object]
    try:
        soon = asyncio.get_running_loop().call_soon
    except RuntimeError:
        import trio

        soon = trio.lowlevel.current_trio_token().run_sync_soon
    soon(turn)


def given_up(turns: int = 3) -> anyio.CancelScope:
    """A scope, to be entered at once, that is cancelled after so many turns, when what is inside it waits."""
    scope = anyio.CancelScope()
    after(turns, scope.cancel)
    return scope


async def parked(turns: int = 3) -> None:
    """Wait for what comes so many turns later, as one waits for a timer."""
    event = anyio.Event()
    after(turns, event.set)
    await event.wait()


def expire(scope: Any, turns: int = 5) -> None:
    """Let the deadline of a scope pass after so many turns."""
    after(turns, lambda: setattr(scope, "deadline", -math.inf))


def timeout(turns: int = 5) -> asyncio.Timeout:
    """``asyncio.timeout()`` that passes after so many turns."""
    limit = asyncio.timeout(None)
    after(turns, lambda: limit.reschedule(0))
    return limit
