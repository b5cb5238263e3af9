"""Row 22: minutes of mixed chaos leave nothing behind: no error, no loss, no goroutine, no memory that grows.

Shape
    full     sockets, WebSocket and JSON lines, in this process; five minutes on asyncio, one on the other loops
    small    pipes in memory and virtual time, in a thread of its own, since a world needs a loop of its own
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import anyio
from anyio.abc import ByteStream
from tests.chat.heart import Heart, beating
from tests.chat.table.instruments import errors, own_rss, slope
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.table.soak import Account, World, soak
from tests.chat.talkers import BOUND, running, until

import gochan.testing
from examples.chat.heartbeat import Heartbeat
from examples.chat.limits import Limits, Rate
from gochan import Group
from gochan.diagnostics import find_leaks

MIB = 1 << 20


async def run(size: Size) -> Sequence[Check]:
    with errors() as logged:
        if size.full:
            account, leaks, left, memory = await with_sockets(300.0 if size.loop == "asyncio" else 60.0)
        else:
            backend: Literal["asyncio", "trio"] = "trio" if size.loop == "trio" else "asyncio"
            world = functools.partial(gochan.testing.run, in_memory, backend=backend)
            account, leaks, left, memory = await anyio.to_thread.run_sync(world)
    acts = ", ".join(f"{count} {act}" for act, count in sorted(account.acts.items()))
    return [
        exactly("errors logged", logged[:3], []),
        exactly("promises broken", account.faults[:3], []),
        exactly("people of whom not all was heard, or more", account.unlike, []),
        at_least("messages acknowledged", sum(account.acked.values()), size.pick(20, 500)),
        exactly("goroutines that leaked", leaks, []),
        exactly("sessions and rooms left", left, (0, 0)),
        *([at_most("memory grows by", slope(memory) / MIB * 60, 1.0, "MiB a minute")] if size.full else []),
        told(
            "memory, when it began to count and at the end", f"{memory[0][1] / MIB:.0f}, {memory[-1][1] / MIB:.0f} MiB"
        ),
        told("acts", acts),
    ]


Result = tuple[Account, list[str], tuple[int, int], list[tuple[float, float]]]


async def with_sockets(seconds: float) -> Result:
    memory: list[tuple[float, float]] = []
    settings: dict[str, Any] = {"rate": 20.0, "burst": 40, "ping_interval": 2.0, "pong_timeout": 1.0}
    # What is kept on purpose has to be full before it is measured what else grows. Ids of messages are kept for five
    # minutes, so they do grow for as long as this takes: by half a MiB a minute.
    settings["history"] = 200
    async with running(bound=seconds + 3 * BOUND, write_timeout=3.0, **settings) as server:

        async def dial(_: str) -> ByteStream:
            return await anyio.connect_tcp("127.0.0.1", server.port)

        async def measure() -> None:
            began = anyio.current_time()
            while True:
                await anyio.sleep(1.0)
                if (now := anyio.current_time() - began) > 0.3 * seconds:
                    memory.append((now, own_rss()))

        async with Group() as group:
            group.go(measure)
            account = await soak(World(server.node, dial, ("websocket", "tcp"), seconds, 20, 0.3, 2.0))
            group.cancel()
        await until(lambda: not server.sessions and not server.hub.rooms)
        leaks = [repr(leak) for leak in find_leaks()]
        left = len(server.sessions), len(server.hub.rooms)
    return account, leaks, left, memory


async def in_memory() -> Result:
    async with beating(write_timeout=3.0, outbox=64, linger=0.5) as heart:
        node = heart.node
        node.heartbeat = Heartbeat(interval=2.0, floor=1.0)
        rate = Rate(20.0, 40)
        node.limits = Limits(connection=rate, user=rate)
        async with Group() as group:
            group.go(node.heartbeat.run)
            world = World(node, functools.partial(_dial, heart), ("tcp",), 6.0, 6, 0.2, 1.0)
            account = await soak(world)
            await gochan.sleep(10.0)
            heart.check()
            node.heartbeat._check()
            node.limits._check()
            left = len(node.registry.sessions), len(node.hub.rooms)
            group.cancel()
        leaks = [repr(leak) for leak in find_leaks()]
    return account, leaks, left, [(0.0, own_rss())]


async def _dial(heart: Heart, user: str) -> ByteStream:
    return heart.connect(user, capacity=8192, slow=True).stream


ROW = Row("22", "soak", run)
