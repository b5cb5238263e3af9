"""What it costs that a chat is many nodes: the measurements behind ``python -m benchmarks.cluster``.

Shape
    publishers ──▸ broker of node 1, 2 … in turn ──▸ engine ──▸ every node hears every room ──▸ counted, timed

All nodes are in this process, so its CPU time is theirs together; the engine's is what the engine says of itself. No
sessions and no sockets of clients: only what a broker does. ``memory`` is the broker of a server by itself.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio

import gochan
from examples.chat.broker import Broker, Event, MemoryEngine, Unavailable, Window
from examples.chat.broker.redis import RedisBroker, open_broker
from examples.chat.broker.redis_scripts import PUBLISH
from examples.cluster.console import Console
from examples.cluster.options import from_command_line
from examples.cluster.programs import engine, free_port

PAYLOAD: Final = b'{"from":"ann","body":"hello, everybody; these are a hundred bytes","ts":1763900000000,"id":12345}'
WINDOW: Final = Window(1000, 3600, 7200)
BOUND: Final = 120.0
MEMORY: Final = "in-process"
ENGINE: Final = "Valkey"
DURABLE: Final = "Valkey, on disk at once"


class Valkey:
    """An engine of our own, and what it has used."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def seconds(self) -> float:
        """CPU time since its start."""
        stream = await anyio.connect_tcp("127.0.0.1", self.port)
        async with stream:
            await stream.send(b"INFO cpu\r\n")
            text = (await stream.receive()).decode()
        told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


@asynccontextmanager
async def valkey(durable: bool) -> AsyncGenerator[Valkey]:
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        options = from_command_line(["--data", directory] if durable else [])
        service = engine(options, Path(directory), port, Console(io.StringIO()))
        async with gochan.Group(errors="first") as group:
            running = group.go(service.run)
            await service.up.wait()
            yield Valkey(port)
            service.stop.set()
            await running.result()


@asynccontextmanager
async def nodes(
    kind: str, number: int, *, batch: int = 128, capacity: int = 20_000
) -> AsyncGenerator[tuple[list[Broker], Valkey | None]]:
    """So many brokers that are one chat, and the engine behind them if it has one."""
    async with AsyncExitStack() as stack:
        if kind == MEMORY:
            shared = MemoryEngine(WINDOW)
            yield [shared.broker(f"node-{n}", capacity=capacity) for n in range(number)], None
            return
        server = await stack.enter_async_context(valkey(kind == DURABLE))
        made: list[Broker] = [
            await stack.enter_async_context(
                open_broker(server.url, f"node-{n}", WINDOW, batch=batch, capacity=capacity)
            )
            for n in range(number)
        ]
        yield made, server


@dataclass
class Ear:
    """Counts what a node hears, and remembers when."""

    broker: Broker
    heard: int = 0
    at: dict[tuple[str, int], float] = field(default_factory=dict)
    timing: bool = False

    async def run(self) -> None:
        while True:
            for event in await self.broker.events.receive_many():
                if not isinstance(event, Event):  # a Resync
                    raise RuntimeError(f"{self.broker.node} lost events: the measurement is void")  # noqa: TRY004
                self.heard += 1
                if self.timing:
                    self.at[event.room, event.pos.off] = time.perf_counter()


# ---- publications a second ----


async def _publish_until(broker: Broker, room: str, until: float, way: str, turn: gochan.Semaphore) -> int:
    count = 0
    while True:
        try:
            if way == "side by side":
                await _by_itself(broker, room)
            else:
                async with turn.hold():
                    await broker.publish(room, PAYLOAD)
            count += 1
        except Unavailable:  # it took longer than a publication may: a client would be told to try again
            pass
        if time.perf_counter() >= until:
            return count


async def _by_itself(broker: Any, room: str) -> None:
    """As without the publisher goroutine: each publication is a call of its own, over the shared connection."""
    assert isinstance(broker, RedisBroker)
    window, keys = broker.window, broker.keys
    where = (keys.room(room, b"m"), keys.room(room, b"s"))
    limits = (window.messages, int(window.seconds * 1000), int(window.room_seconds * 1000), 300_000)
    await broker.engine.call(PUBLISH, where, PAYLOAD, keys.room(room, b"e"), *limits, room=True)


@dataclass(frozen=True)
class Rate:
    """What one turn of publishing as fast as can be found."""

    per_second: float
    node_cpu: float
    """Nanoseconds a publication, in this process."""
    engine_cpu: float
    """… and in the engine's."""


async def publishing(kind: str, way: str, publishers: int, seconds: float) -> Rate:
    """One node, as many publishers as said, each of which waits for its acknowledgement. Nobody listens."""
    alone = way == "one at a time"
    # So that none of those who wait for their turn waits longer than a publication may.
    turn = gochan.Semaphore(8 if alone else publishers)
    batch = 1 if alone else 128
    async with nodes(kind, 1, batch=batch) as (made, server):
        found: Rate | None = None
        for length in (seconds / 5, seconds):  # the first, short round is for caches and connections
            engine_began = await server.seconds() if server else 0.0
            began, cpu = time.perf_counter(), time.process_time()
            async with gochan.Group(errors="first") as group:
                running = [
                    group.go(_publish_until, made[0], f"room {n % 10}", began + length, way, turn)
                    for n in range(publishers)
                ]
                count = sum([await one.result() for one in running])
            took, cpu = time.perf_counter() - began, time.process_time() - cpu
            used = (await server.seconds() if server else 0.0) - engine_began
            if not count:
                raise RuntimeError(f"nothing was published within {length:g} s: the engine did not answer in time")
            found = Rate(count / took, cpu / count * 1e9, used / count * 1e9)
        assert found is not None
        return found


# ---- what grows with nodes and rooms ----


@dataclass
class Growth:
    """What was found for so many nodes and rooms."""

    node_cpu: list[float] = field(default_factory=list)
    """Nanoseconds a message, of all nodes together, a value for each round."""
    engine_cpu: list[float] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    """Milliseconds from the publication to its acknowledgement, a value for each message."""
    heard: list[float] = field(default_factory=list)
    """… until the last node had it."""


async def growing(kind: str, number: int, rooms: int, *, rounds: int, messages: int, paced: int) -> Growth:
    """All nodes hear all rooms; messages go in turn to each room, through each node.

    First as many as can be, by 64 publishers, for the CPU time of each; then one every ten milliseconds, for the time
    that it takes when nothing waits.
    """
    found = Growth()
    names = [f"room {n}" for n in range(rooms)]
    with anyio.fail_after(BOUND):
        async with nodes(kind, number) as (made, server), gochan.Group(errors="first") as group:
            await _subscribe(made, names)
            ears = [Ear(broker) for broker in made]
            for ear in ears:
                group.go(ear.run)
            for turn in range(rounds + 1):
                engine_began = await server.seconds() if server else 0.0
                cpu = time.process_time()
                await _crowd(made, names, messages)
                await _all_heard(ears, messages * (turn + 1))
                cpu = time.process_time() - cpu
                used = (await server.seconds() if server else 0.0) - engine_began
                if turn:
                    found.node_cpu.append(cpu / messages * 1e9)
                    found.engine_cpu.append(used / messages * 1e9)
            await _paced(made, names, ears, paced, messages * (rounds + 1), found)
            group.cancel()
            for broker in made:
                await broker.aclose()
    return found


async def _subscribe(made: list[Broker], names: list[str]) -> None:
    for broker in made:
        async with gochan.Group(errors="first", limit=64) as group:
            for name in names:
                await group.go_when_free(broker.subscribe, name)


_rounds = count(1)


async def _crowd(made: list[Broker], names: list[str], messages: int) -> None:
    numbers = iter(range(messages))
    round_ = next(_rounds)

    async def publish() -> None:
        for n in numbers:
            while True:
                try:
                    await made[n % len(made)].publish(names[n % len(names)], PAYLOAD, key=f"{round_}:{n}")
                    break
                except Unavailable:  # a machine that stands still for a second; the key makes it safe
                    await gochan.sleep(0.1)

    async with gochan.Group(errors="first") as group:
        for _ in range(64):
            group.go(publish)


async def _all_heard(ears: list[Ear], messages: int) -> None:
    while any(ear.heard < messages for ear in ears):
        await gochan.sleep(0.001)


async def _paced(made: list[Broker], names: list[str], ears: list[Ear], paced: int, before: int, found: Growth) -> None:
    for ear in ears:
        ear.timing = True
    begun: dict[tuple[str, int], float] = {}
    for n in range(paced):
        room = names[n * 7 % len(names)]
        began = time.perf_counter()
        published = await made[n % len(made)].publish(room, PAYLOAD)
        found.acknowledged.append((time.perf_counter() - began) * 1e3)
        begun[room, published.pos.off] = began
        await gochan.sleep(0.01)
    await _all_heard(ears, before + paced)
    found.heard += [(max(ear.at[where] for ear in ears) - began) * 1e3 for where, began in begun.items()]


# ---- who is there ----


@dataclass
class Presences:
    """Nanoseconds of the node and of the engine, a pair for each round."""

    renewal: list[tuple[float, float]] = field(default_factory=list)
    """Of one session in one room."""
    entry: list[tuple[float, float]] = field(default_factory=list)
    """Of one session in the list of a room."""


async def presences(rounds: int, sessions: int) -> Presences:
    """As a node does it: renewals a hundred at a time, and a look at a room of so many sessions."""
    found = Presences()
    async with nodes(ENGINE, 1) as (made, server):
        assert server is not None
        broker = made[0]

        async def renew(first: int) -> None:
            async with gochan.Group(errors="first") as group:
                for n in range(first, first + 100):
                    group.go(partial(broker.presence_add, "room", f"node-0/{n}", f"user {n}", ttl=600))

        async def look() -> None:
            assert len(await broker.presence_list("room")) == sessions

        for turn in range(rounds + 1):
            engine_began, cpu = await server.seconds(), time.process_time()
            for first in range(0, sessions, 100):
                await renew(first)
            middle, cpu_middle = await server.seconds(), time.process_time()
            for _ in range(20):
                await look()
            ended, cpu_ended = await server.seconds(), time.process_time()
            if turn:
                found.renewal.append(((cpu_middle - cpu) / sessions * 1e9, (middle - engine_began) / sessions * 1e9))
                listed = 20 * sessions
                found.entry.append(((cpu_ended - cpu_middle) / listed * 1e9, (ended - middle) / listed * 1e9))
    return found
