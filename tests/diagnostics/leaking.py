"""Goroutines in a group, and what ``find_leaks`` says of them."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.lowlevel

from gochan import Channel, Group
from gochan.diagnostics import find_leaks


async def settle() -> None:
    """Let everybody get as far as they can."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def leaks_of(start: Callable[[Group], object]) -> list[str]:
    """The names of what leaks of what ``start`` starts; what it returns is held meanwhile."""
    async with Group() as group:
        kept = start(group)
        await settle()
        found = sorted(info.name for info in find_leaks())
        group.cancel()
    del kept
    return found


def channel_that_leaks_unless_held(group: Group) -> Channel[int]:
    channel = Channel[int]()
    group.go(channel.receive_ok, name="held")
    return channel
