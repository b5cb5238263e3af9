"""What the tests of the model draw, and how they wait."""

from __future__ import annotations

import math

import anyio
import anyio.lowlevel
from hypothesis import strategies as st

channel_numbers = st.integers(0, 1)
capacities = st.sampled_from([0, 0, 1, 2, math.inf])


async def settle() -> None:
    for _ in range(6):
        await anyio.lowlevel.checkpoint()
