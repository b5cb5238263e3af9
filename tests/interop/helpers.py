"""What the interoperability tests share: bounded waits, and ways to know who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import anyio

from gochan import Channel

P = ParamSpec("P")
LIMIT = 10


def bounded(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Coroutine[Any, Any, None]]:
    """No wait of the test is longer than LIMIT."""

    @wraps(test)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        with anyio.fail_after(LIMIT):
            await test(*args, **kwargs)

    return wrapper


async def settle() -> None:
    """Let everybody run until they wait."""
    for _ in range(10):
        await anyio.sleep(0)


async def wait_parked(ch: Channel[Any], *, senders: int = 0, receivers: int = 0) -> None:
    while True:
        statistics = ch.statistics()
        if (statistics.senders_waiting, statistics.receivers_waiting) == (senders, receivers):
            return
        await anyio.sleep(0)


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


class Oops(Exception):
    pass
