"""What the suite needs of a broker besides the protocol: nodes, time that passes, and a restart.

To have another broker tested, write a ``Cluster`` for it and add it to ``KINDS``; in ``REAL`` are those that need real
time, since another program is part of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol, Self, TypeVar

import anyio

import gochan
from examples.chat.broker import Broker, Event, MemoryEngine, Published, Resync, Window
from examples.chat.broker.sqlite import SqliteEngine

T = TypeVar("T")

WINDOW = Window(messages=5, seconds=600, room_seconds=1200)


class Cluster(Protocol):
    """Nodes that share one broker; ``async with`` is its time of life."""

    window: Window
    durable: bool
    """Whether messages outlive a restart."""

    async def node(self, name: str, *, capacity: int = 1000) -> Broker: ...

    async def restart(self) -> None:
        """Everything ends, orderly, and begins again; the nodes have to be made anew."""
        ...

    async def pass_time(self, seconds: float) -> None: ...

    async def heard(self, broker: Broker, limit: int = 10_000) -> list[Event | Resync]:
        """What is unread at a node, after all that was published until now has arrived there."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exception: object) -> None: ...


class _Local:
    """Nodes in this process, in virtual time."""

    durable = False

    def __init__(self, path: Path, window: Window = WINDOW) -> None:
        self.path = path
        self.window = window
        self.stack = AsyncExitStack()
        self.engine: MemoryEngine | SqliteEngine

    async def open(self) -> MemoryEngine | SqliteEngine:
        return MemoryEngine(self.window)

    async def node(self, name: str, *, capacity: int = 1000) -> Broker:
        return self.engine.broker(name, capacity=capacity)

    async def restart(self) -> None:
        for broker in list(self.engine.brokers.values()):
            await broker.aclose()
        await self.stack.aclose()
        self.engine = await self.open()

    async def pass_time(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def heard(self, broker: Broker, limit: int = 10_000) -> list[Event | Resync]:
        return pending(broker, limit)

    async def __aenter__(self) -> Self:
        self.engine = await self.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        if isinstance(self.engine, MemoryEngine):
            self.engine._check()
        for broker in list(self.engine.brokers.values()):
            await broker.aclose()
        assert not self.engine.listeners, "a closed broker listens"
        assert not self.engine.presences.rooms, "a closed broker is present"
        await self.stack.aclose()


class Memory(_Local):
    pass


class Sqlite(_Local):
    durable = True

    async def open(self) -> SqliteEngine:
        return await self.stack.enter_async_context(
            SqliteEngine(self.path / "chat.db", self.window, clock=anyio.current_time)
        )


class ExploredSqlite(Sqlite):
    """Without a thread, which no schedule controls: what blocks is a step of the program instead."""

    async def open(self) -> SqliteEngine:
        return await self.stack.enter_async_context(
            SqliteEngine(":memory:", self.window, clock=anyio.current_time, offload=in_a_step)
        )


def _redis(path: Path) -> Cluster:
    from tests.chat.broker.redis_cluster import Redis

    return Redis()


async def in_a_step(work: Callable[[], T], /) -> T:
    await gochan.sleep(0)
    result = work()
    await gochan.sleep(0)
    return result


KINDS: dict[str, Callable[[Path], Cluster]] = {"memory": Memory, "sqlite": Sqlite, "redis": _redis}
REAL = {"redis"}
EXPLORED: dict[str, Callable[[Path], Cluster]] = {"memory": Memory, "sqlite": ExploredSqlite}


def pending(broker: Broker, limit: int = 10_000) -> list[Event | Resync]:
    """What has come out at a node and is unread, as far as the limit."""
    got: list[Event | Resync] = []
    try:
        while len(got) < limit:
            got.append(broker.events.receive_nowait())
    except anyio.WouldBlock:
        pass
    return got


def offsets(events: Sequence[Event | Resync]) -> list[int]:
    """The offsets of events, none of which is a Resync."""
    got = [event.pos.off for event in events if isinstance(event, Event)]
    assert len(got) == len(events), f"there is a Resync among {events}"
    return got


async def publish(broker: Broker, count: int, room: str = "lobby") -> list[Published]:
    return [await broker.publish(room, b"%d" % number) for number in range(1, count + 1)]
