"""Mixed chaos, drawn from a seed: people who come, go, talk, stop reading, lose their lines; and some who are worse.

Shape
    Person     a real client over a ``Line`` that it breaks itself: cut, dead (nothing passes any more, without an end),
               or not read from for a while. It joins, leaves, talks, asks.
    witness    a client in all rooms on a good line; what it hears is held against what was acknowledged
    strangers  raw connections: some flood until they are sent away, some vanish in the middle of a word

    A world is a way to dial, and a node; sockets and memory are two of them. All times are the loop's.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import anyio
from anyio.abc import ByteStream
from tests.chat.talkers import Ended, TcpTalker

from examples.chat.client import Backoff, Client, Disconnected, Gap, Message, Refused
from examples.chat.node import Node
from gochan import Event, Group

Transport: TypeAlias = Literal["websocket", "tcp"]
ROOMS = ["kitchen", "garden", "attic"]
TOLD = {404, 429}
"""Refusals that are as they should be: a direct message to who is not here, and too much talk."""


class Line(ByteStream):
    """A stream that can be made bad."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._dead = False
        self._gate = Event()
        self._gate.set()

    def die(self) -> None:
        """Pass nothing on any more, in either direction, without an end."""
        self._dead = True
        self.pause()

    def pause(self) -> None:
        """Read nothing, until ``resume``."""
        if self._gate.is_set():
            self._gate = Event()

    def resume(self) -> None:
        if not self._dead:
            self._gate.set()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while True:
            await self._gate.wait()
            data = await self._stream.receive(max_bytes)
            if self._gate.is_set() or not self._dead:
                return data

    async def send(self, item: bytes) -> None:
        if not self._dead:
            await self._stream.send(item)

    async def send_eof(self) -> None:
        if not self._dead:
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {}


@dataclass
class World:
    """Where it happens."""

    node: Node
    dial: Callable[[str], Awaitable[ByteStream]]
    """A connection for a user."""
    transports: tuple[Transport, ...]
    seconds: float
    people: int
    pause: float
    """Seconds between two acts of a person, on average."""
    heartbeat: float
    seed: int = 22


@dataclass
class Account:
    """What came of it."""

    acts: Counter[str] = field(default_factory=Counter[str])
    acked: Counter[str] = field(default_factory=Counter[str])
    doubtful: Counter[str] = field(default_factory=Counter[str])
    """Refused when it was said again: it may have been said the first time."""
    heard: Counter[str] = field(default_factory=Counter[str])
    """By the witness, of each speaker."""
    faults: list[str] = field(default_factory=list[str])

    @property
    def unlike(self) -> list[str]:
        """Of whom the witness has not heard what was acknowledged."""
        names = self.acked.keys() | self.heard.keys()
        return [n for n in names if not self.acked[n] <= self.heard[n] <= self.acked[n] + self.doubtful[n]]


class Person:
    """One of those who talk."""

    def __init__(self, world: World, account: Account, number: int) -> None:
        self.name = f"person {number}"
        self._world = world
        self._account = account
        self._chance = random.Random(f"{world.seed} {number}")
        self._transport: Transport = world.transports[number % len(world.transports)]
        self._line: Line | None = None
        self._last: dict[str, int] = {}
        self._said = 0

    async def live(self) -> None:
        """Come, act, and go at the end."""
        world, chance = self._world, self._chance
        end = anyio.current_time() + world.seconds
        backoff = Backoff(first=0.02, limit=0.2, random=random.Random(chance.random()))
        client = Client.connect(
            "localhost", 0, user=self.name, transport=self._transport, heartbeat=world.heartbeat, timeout=5.0,
            backoff=backoff, dial=self._dial,
        )  # fmt: skip
        async with client, Group() as group:
            listening = group.go(self._listen, client)
            while anyio.current_time() < end:
                await anyio.sleep(chance.uniform(0, 2 * world.pause))
                await self._act(client)
            if self._line is not None:
                self._line.resume()
            for room in list(client.rooms):
                await client.leave(room)
            listening.cancel()

    async def _dial(self) -> ByteStream:
        self._line = Line(await self._world.dial(self.name))
        return self._line

    async def _act(self, client: Client) -> None:
        chance, rooms = self._chance, list(client.rooms)
        (act,) = chance.choices(["say", "join", "leave", "ask", "dm", "cut", "die", "pause"], [40, 8, 3, 3, 5, 3, 1, 2])
        self._account.acts[act] += 1
        try:
            if act == "join" or not rooms:
                await self._join(client)
            elif act == "say":
                await self._say(client, chance.choice(rooms))
            elif act == "leave":
                await client.leave(chance.choice(rooms))
            elif act == "ask":
                await client.who(chance.choice(rooms))
                await client.history(chance.choice(rooms), limit=5, newest=True)
            elif act == "dm":
                with contextlib.suppress(Disconnected):  # it is not said twice, so it may be lost
                    await client.tell(f"person {chance.randrange(self._world.people)}", "psst")
            elif self._line is not None:
                await self._break(self._line, act)
        except Refused as refused:
            if refused.code not in TOLD:
                self._account.faults.append(f"{self.name} was refused to {act}: {refused}")

    async def _join(self, client: Client) -> None:
        elsewhere = [room for room in ROOMS if room not in client.rooms]
        if elsewhere:
            await client.join(self._chance.choice(elsewhere))

    async def _say(self, client: Client, room: str) -> None:
        self._said += 1
        body = f"{self._said} {'x' * self._chance.choice((10, 100, 2000))}"
        try:
            await client.say(room, body)
            self._account.acked[self.name] += 1
        except Refused:
            self._account.doubtful[self.name] += 1
            raise

    async def _break(self, line: Line, act: str) -> None:
        if act == "cut":
            await line.aclose()
        elif act == "die":
            line.die()
        else:
            line.pause()
            await anyio.sleep(self._chance.uniform(0, self._world.heartbeat))
            line.resume()

    async def _listen(self, client: Client) -> None:
        async for event in client.events:
            match event:
                case Message(room=room, position=position) if position is not None:
                    if position.off <= self._last.get(room, 0):
                        self._account.faults.append(f"{self.name} heard {position} of {room} after {self._last[room]}")
                    self._last[room] = position.off
                case Gap():
                    self._account.faults.append(f"{self.name} missed something: {event}")
                case _:
                    pass


async def witness(world: World, account: Account, over: Event, ready: Event) -> None:
    """Hear everything on a good line; until it is over, and nothing more comes."""
    last = dict.fromkeys(ROOMS, 0)
    numbers: dict[tuple[str, str], int] = {}
    client = Client.connect(
        "localhost", 0, user="witness", transport=world.transports[0], heartbeat=1000.0, timeout=5.0,
        dial=lambda: world.dial("witness"), backlog=100_000,
    )  # fmt: skip
    async with client, Group() as group:
        for room in ROOMS:
            await client.join(room)
        ready.set()

        async def listen() -> None:
            async for event in client.events:
                match event:
                    case Message(room=room, sender=sender, body=body, position=position) if position is not None:
                        number = int(body.split()[0])
                        if position.off != last[room] + 1 or number <= numbers.get((room, sender), 0):
                            account.faults.append(f"the witness heard {position}, {number} of {sender} in {room}")
                        last[room], numbers[room, sender] = position.off, number
                        account.heard[sender] += 1
                    case Gap():
                        account.faults.append(f"the witness missed something: {event}")
                    case _:
                        pass

        group.go(listen)
        await over.wait()
        await client.ping()  # whatever was said before has been sent before its answer, or waits
        await anyio.sleep(0.2)
        group.cancel()


async def strangers(world: World, account: Account) -> None:
    """One after the other: a flood, or somebody who vanishes; until cancelled."""
    chance = random.Random(f"{world.seed} strangers")
    number = 0
    while True:
        await anyio.sleep(chance.uniform(0, 10 * world.pause))
        number += 1
        line: Any = await world.dial(f"stranger {number}")
        async with line:
            if chance.random() < 0.5:
                account.acts["flood"] += 1
                await _flood(TcpTalker(line), number, account)
            else:
                account.acts["vanish"] += 1
                hello = _bytes(
                    {"t": "hello", "v": 1, "user": f"stranger {number}"}, {"t": "join", "id": 1, "room": "attic"}
                )
                with contextlib.suppress(anyio.BrokenResourceError):
                    await line.send(hello[: chance.randrange(1, len(hello) + 1)])
                    await anyio.sleep(chance.uniform(0, world.pause))


async def _flood(talker: TcpTalker, number: int, account: Account) -> None:
    async with Group() as group:

        async def push() -> None:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await talker.stream.send(_bytes({"t": "hello", "v": 1, "user": f"stranger {number}"}))
                while True:
                    await talker.stream.send(_bytes(*({"t": "ping", "n": n} for n in range(20))))

        pushing = group.go(push)
        try:
            while True:
                await talker.receive()
        except Ended as ended:
            if ended.code != 4013:
                account.faults.append(f"a flood ended with {ended.code}")
        pushing.cancel()


def _bytes(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


async def soak(world: World) -> Account:
    """Let all of it happen."""
    account, over, ready = Account(), Event(), Event()
    async with Group() as group:
        group.go(witness, world, account, over, ready)
        await ready.wait()
        bad = group.go(strangers, world, account)
        async with Group() as people:
            for number in range(world.people):
                people.go(Person(world, account, number).live, name=f"person {number}")
        bad.cancel()
        over.set()
    return account
