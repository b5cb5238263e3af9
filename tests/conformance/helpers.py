"""What the conformance modules share: bounded waits and ways to see that an operation blocks."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.lowlevel

from gochan import Channel, Group

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 15.0
"""Seconds after which a wait that should have ended is a failure."""


def bounded(fn: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Fail a test that waits for ever instead of letting it hang."""

    @functools.wraps(fn)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with anyio.fail_after(PATIENCE):
            return await fn(*args, **kwargs)

    return wrapper


def patient(seconds: float) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Like `bounded`, for tests that are long by nature."""

    def decorate(fn: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @functools.wraps(fn)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            with anyio.fail_after(seconds):
                return await fn(*args, **kwargs)

        return wrapper

    return decorate


async def settle(rounds: int = 12) -> None:
    """Give every other goroutine several turns: what can still move has moved afterwards."""
    for _ in range(rounds):
        await anyio.lowlevel.checkpoint()


async def until(condition: Callable[[], bool], rounds: int = 10_000) -> None:
    """Yield until the condition holds; fail when it never does."""
    for _ in range(rounds):
        if condition():
            return
        await anyio.lowlevel.checkpoint()
    raise AssertionError("the awaited state never came")


async def receivers_parked(channel: Channel[Any], count: int = 1) -> None:
    """Wait until that many receivers queue on the channel."""
    await until(lambda: channel.statistics().receivers_waiting == count)


async def senders_parked(channel: Channel[Any], count: int = 1) -> None:
    """Wait until that many senders queue on the channel."""
    await until(lambda: channel.statistics().senders_waiting == count)


async def blocks(operation: Callable[[], Awaitable[object]]) -> bool:
    """Run the operation beside this goroutine and tell whether it is still waiting when all is quiet."""
    finished = False

    async def attempt() -> None:
        nonlocal finished
        await operation()
        finished = True

    async with Group() as group:
        group.go(attempt)
        await settle()
        still_waiting = not finished
        group.cancel()
    return still_waiting
