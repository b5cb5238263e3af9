"""What a channel, a parked goroutine and a parked task weigh."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gochan import Channel, Group

from .conftest import Scale
from .helpers import settle

ROOT = Path(__file__).parents[2]
CROWD = 10_000


@pytest.mark.parametrize("row", ["idle-channel", "parked-goroutine", "parked-task"])
def test_goals(row: str) -> None:
    """An idle channel takes less than 500 bytes, a parked goroutine at most 1,600, parking below 1,000."""
    # In a process of its own: asyncio's and anyio's tables of tasks weigh what earlier tests made of them.
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    command = [sys.executable, "-m", "benchmarks.ratios", "--json", row]
    printed = subprocess.check_output(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, timeout=50)
    (found,) = json.loads(printed)["rows"]
    assert found["met"], found


def test_queues_give_their_memory_back(scale: Callable[[], Scale]) -> None:
    """What thousands of waiters took is free again when they have left, though the channel lives on."""

    async def crowd(ch: Channel[int]) -> None:
        async with Group() as group:
            for _ in range(CROWD):
                group.go(ch.receive)
            await settle()
            assert ch.statistics().receivers_waiting == CROWD
            group.cancel()

    async def main() -> int:
        ch = Channel[int]()
        empty = scale()
        await crowd(ch)
        tables = empty.read()  # asyncio's and anyio's own tables of tasks, which grow once and stay
        await crowd(ch)
        left = empty.read() - tables
        assert ch.statistics().receivers_waiting == 0
        return left

    assert asyncio.run(main()) / CROWD < 20
