"""Publications per second of the chat's brokers: ``python -m benchmarks.brokers [SECONDS]``.

What a commit costs is the disk's; so look at the ratio of the batched and the unbatched rows of one run.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import gochan
from examples.chat.broker import Broker, MemoryEngine
from examples.chat.broker.sqlite import SqliteEngine

PAYLOAD = b'{"from":"ann","body":"hello, everybody; this is a hundred bytes or so","ts":1763900000000,"id":12345}'
ROWS: list[tuple[str, int | None, int]] = [
    ("memory", None, 1),
    ("memory", None, 100),
    ("sqlite, batches of 256", 256, 100),
    ("sqlite, batches of 256", 256, 1000),
    ("sqlite, unbatched", 1, 100),
    ("sqlite, one publisher", 256, 1),
]


async def publish(broker: Broker, publisher: int, until: float) -> int:
    count = 0
    while time.perf_counter() < until:
        await broker.publish(f"room {publisher % 10}", PAYLOAD, key=f"{publisher}:{count}")
        count += 1
    return count


async def measure(batch: int | None, publishers: int, seconds: float) -> float:
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            engine: MemoryEngine | SqliteEngine = MemoryEngine()
            if batch is not None:
                engine = await stack.enter_async_context(SqliteEngine(Path(directory, "chat.db"), batch=batch))
            broker = engine.broker("node")
            began = time.perf_counter()
            async with gochan.Group() as group:
                running = [group.go(publish, broker, number, began + seconds) for number in range(publishers)]
                count = sum([await one.result() for one in running])
            return count / (time.perf_counter() - began)


def main(seconds: float) -> None:
    backends: tuple[Literal["asyncio", "trio"], ...] = ("asyncio", "trio")
    print(f"{'publications a second':<24} {'publishers':>10} " + " ".join(f"{backend:>10}" for backend in backends))
    for name, batch, publishers in ROWS:
        rates = [gochan.run(measure, batch, publishers, seconds, backend=backend) for backend in backends]
        print(f"{name:<24} {publishers:>10} " + " ".join(f"{rate:>10,.0f}" for rate in rates))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
