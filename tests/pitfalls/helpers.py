"""What the tests of the pitfalls wait with."""

from __future__ import annotations

import anyio


async def turns(number: int) -> None:
    for _ in range(number):
        await anyio.sleep(0)
