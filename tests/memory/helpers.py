"""What the tests of memory make and wait with."""

from __future__ import annotations

import anyio


class Value:
    """Something that can be watched."""


async def settle() -> None:
    for _ in range(5):
        await anyio.sleep(0)
