"""A program that stands still while it is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

import gochan
from gochan.diagnostics import GoroutineInfo, goroutines


async def turns(count: int = 10) -> None:
    """Let the others go as far as they can."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def standing(*fns: Callable[[], Awaitable[Any]], name: str = "it") -> AsyncIterator[list[gochan.Goroutine[Any]]]:
    """Goroutines that have gone as far as they can; they are cancelled at the end."""
    with anyio.fail_after(30):
        async with gochan.Group() as group:
            started = [group.go(fn, name=name) for fn in fns]
            await turns()
            yield started
            group.cancel()


def info(goroutine: gochan.Goroutine[Any]) -> GoroutineInfo:
    """What ``goroutines()`` says of one."""
    return next(one for one in goroutines() if one.id == goroutine.id)


async def seen(fn: Callable[[], Awaitable[Any]]) -> GoroutineInfo:
    """What ``goroutines()`` says of a goroutine that runs ``fn`` once it cannot go on."""
    async with standing(fn) as (goroutine,):
        return info(goroutine)
