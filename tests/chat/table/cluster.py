"""A chat of several server processes over one engine, and people in it who speak, hear, and come back when cut off.

Shape
    Each person is a whole client. It says one thing after the other, each until it is acknowledged, always with the
    same id; it hears one room, and keeps what it hears. Its connections go to its node, or to the next one that
    answers. Witnesses are plain connections, which see what a server says in which order: a client could hide what a
    server forgot to tell.

    In the end what everybody heard is compared with the history, which an observer reads: a broker of this process.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import anyio
from tests.chat.broker.engine import Engine
from tests.chat.table.instruments import Meter
from tests.chat.table.process import Process, serving
from tests.chat.table.row import Check, Size, exactly
from tests.chat.talkers import BOUND, Ended, fetch, running, tcp, until

from examples.chat.broker import Broker, Event, Unavailable, Window
from examples.chat.broker.redis import open_broker
from examples.chat.client import Backoff, Client, Disconnected, Gap, Joined, Message, Refused
from examples.chat.config import Settings
from examples.chat.node import assemble
from examples.chat.server import Server
from examples.chat.telemetry import NULL, Telemetry
from examples.chat.wire import Pos
from gochan import Event as Happening
from gochan import Group

KEPT = 100_000
_FLAGS = (
    *("--rate", "1e6", "--burst", "1000000", "--ping-interval", "3600", "--drain-spread", "0.1"),
    *("--history", str(KEPT), "--accept-rate", "1e6", "--metrics"),
)
_AGAIN = 0.05
_BREAKER = re.compile(r"^(\S+)Z .*the breaker of \S+ is (\S+)", re.MULTILINE)


class Node:
    """A place among the nodes: a process, and the next one on the same port when that was killed."""

    def __init__(self, name: str, url: str, *flags: str) -> None:
        self.name = name
        self.port = 0
        self.lives = 0
        self.process: Process
        self._flags = ("--broker", url, *_FLAGS, *flags)
        self._life = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """As a container is: each life has a name of its own."""
        self.lives += 1
        where = ("--node", f"{self.name}-{self.lives}", "--port", str(self.port))
        self.process = await self._life.enter_async_context(serving(*self._flags, *where))
        self.port = self.process.port

    async def kill(self) -> None:
        """kill -9"""
        self.process.send(signal.SIGKILL)
        await self.process.ended()

    async def aclose(self) -> None:
        await self._life.aclose()

    def breaker(self, state: str, since: float) -> list[float]:
        """How many seconds after that time (of the clock) its breaker came into the state, each time that it did."""
        found = ((datetime.fromisoformat(f"{at}+00:00").timestamp(), to) for at, to in _BREAKER.findall(self.log))
        return [at - since for at, to in found if to == state and at >= since - 0.001]

    @property
    def log(self) -> str:
        return self.process.log

    async def counted(self, name: str) -> float:
        """A metric of its own."""
        server: Any = self
        _, _, page = await fetch(server, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        found = re.search(rf"^{re.escape(name)} (\S+)\r?$", page.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextlib.asynccontextmanager
async def nodes(size: Size, url: str, *names: str, flags: Sequence[str] = ()) -> AsyncGenerator[list[Node], None]:
    """Nodes at the engine."""
    made = [Node(name, url, *size.flags, *flags) for name in names]
    try:
        async with Group() as group:
            for node in made:
                group.go(node.start)
        yield made
    finally:
        with anyio.CancelScope(shield=True):
            for node in made:
                await node.aclose()


@contextlib.asynccontextmanager
async def inside(url: str, name: str, meter: Meter | None = None, **settings: Any) -> AsyncGenerator[Server, None]:
    """A node in this process: for what is small, and kills nobody."""
    async with open_broker(url, name, Window(KEPT)) as broker:

        def make(settings_: Settings) -> Server:
            telemetry = Telemetry(metrics=meter.metrics) if meter else NULL
            return Server(settings_, assemble(settings_, broker, telemetry))

        async with running(make, 120, **settings) as server:
            yield server


@dataclass
class Failure:
    """A command that was refused."""

    at: float
    took: float
    code: int
    temporary: bool


@dataclass(eq=False)
class Person:
    """A client in a room, with what it was told."""

    name: str
    room: str
    ports: Sequence[Node]
    at: int
    """The node that it tries first."""
    chat: Client = field(init=False)
    heard: list[tuple[Pos, str]] = field(default_factory=list[tuple[Pos, str]])
    acknowledged: dict[str, Pos] = field(default_factory=dict[str, Pos])
    failures: list[Failure] = field(default_factory=list[Failure])
    gaps: int = 0
    silent: int = 0
    returned: float = 0.0
    """When it was last in its room again, by the loop's clock."""
    slowest: float = 0.0
    asking: float | None = None
    """Since when it waits for an answer."""
    start: Pos = field(default=Pos(0, ""))
    _stream: Any = None
    _told: bool = False

    def __post_init__(self) -> None:
        # A row's faults are independent of each other: none is the next in a row of failures of the same client.
        backoff = Backoff(limit=1.0, healthy_after=1.0)
        self.chat = Client.connect(
            "127.0.0.1", 0, user=self.name, transport="tcp", dial=self._dial, backoff=backoff,
            timeout=BOUND, heartbeat=1000.0, backlog=KEPT,
        )  # fmt: skip

    async def _dial(self) -> Any:
        for _ in self.ports:
            try:
                self._stream = await anyio.connect_tcp("127.0.0.1", self.ports[self.at].port)
                return self._stream
            except OSError:
                self.at = (self.at + 1) % len(self.ports)
        raise ConnectionError("no node answers")

    async def move(self, to: int) -> None:
        """Lose the connection, and come back at another node."""
        self.at = to
        await anyio.aclose_forcefully(self._stream)

    async def enter(self) -> None:
        joined = await self.chat.join(self.room)
        assert joined.position is not None
        self.start = joined.position

    async def hear(self) -> None:
        async for event in self.chat.events:
            match event:
                case Message(position=Pos() as here, id=id_):
                    last = self.heard[-1][0] if self.heard else self.start
                    self.silent += not self._told and (here.ep != last.ep or here.off != last.off + 1)
                    self._told = False
                    self.heard.append((here, str(id_)))
                case Gap():
                    self.gaps += 1
                    self._told = True
                case Joined():
                    self.returned = anyio.current_time()
                case _:
                    pass

    async def speak(self, period: float, over: Happening, first: float = 0.0) -> None:
        """Say something each so many seconds."""
        due, number = anyio.current_time() + first, 0
        while not over.is_set():
            await anyio.sleep_until(due)
            due = max(due + period, anyio.current_time())
            number += 1
            await self.say(f"{self.name} {number}")

    async def say(self, id_: str) -> None:
        """Say something until it is acknowledged."""
        while True:
            began = self.asking = anyio.current_time()
            try:
                place = await self.chat.say(self.room, f"this is {id_}", id=id_)
            except Refused as error:
                now = anyio.current_time()
                self.failures.append(Failure(now, now - began, error.code, error.temporary))
                await anyio.sleep(_AGAIN)
                continue
            except Disconnected:  # for good: whoever counts will miss what it does not say
                return
            finally:
                self.asking = None
                self.slowest = max(self.slowest, anyio.current_time() - began)
            assert place is not None
            self.acknowledged[id_] = place
            return


@dataclass(eq=False)
class Witness:
    """A plain connection: what the server says, in order."""

    room: str
    messages: int = 0
    resyncs: int = 0
    silent: int = 0
    """How often what came did not follow on what came before, and no ``resync`` stood between."""
    ended: bool = False

    async def run(self, node: Any, ready: Happening) -> None:
        async with tcp(node) as talker:
            await talker.hello("witness")
            await talker.send({"t": "join", "id": 1, "room": self.room})
            joined = await talker.find("joined", id=1)
            last: tuple[str, int] | None = (joined["ep"], joined["off"])
            ready.set()
            with contextlib.suppress(Ended):
                while True:
                    message = await talker.receive()
                    if message["t"] == "resync":
                        self.resyncs += 1
                        last = None
                    elif message["t"] == "msg":
                        here = message["ep"], message["off"]
                        self.silent += last is not None and here != (last[0], last[1] + 1)
                        self.messages += 1
                        last = here
            self.ended = True


@contextlib.asynccontextmanager
async def crowd(places: Sequence[Node], people: int, rooms: int) -> AsyncGenerator[tuple[list[Person], Group], None]:
    """People in rooms, at the nodes in turn; and a group for what they are to do."""
    # Not in turn with the rooms: every room has people at every node.
    crowd_ = [
        Person(f"p{number}", f"room-{number % rooms}", places, number // rooms % len(places))
        for number in range(people)
    ]
    async with Group() as group, contextlib.AsyncExitStack() as stack:
        for each in crowd_:
            await stack.enter_async_context(each.chat)
            await each.enter()
            group.go(each.hear)
        yield crowd_, group
        group.cancel()


@contextlib.asynccontextmanager
async def observing(url: str) -> AsyncGenerator[Broker, None]:
    """One who can read everything."""
    async with open_broker(url, "observer", Window(KEPT)) as broker:
        yield broker


async def history(broker: Broker, rooms: Iterable[str]) -> dict[str, list[Event]]:
    """What the engine has of each room."""
    found: dict[str, list[Event]] = {}
    for room in set(rooms):
        while room not in found:
            try:
                page = await broker.history(room, None, KEPT)
            except Unavailable:  # the observer has not found the engine again
                await anyio.sleep(_AGAIN)
                continue
            assert not page.events or page.events[-1].pos == page.top
            found[room] = list(page.events)
    return found


async def settled(people: Sequence[Person], broker: Broker) -> dict[str, list[Event]]:
    """The history, once everybody has had time to hear the end of it."""
    kept = await history(broker, (person.room for person in people))
    with anyio.move_on_after(BOUND):
        await until(lambda: all(_at_the_end(person, kept[person.room]) for person in people))
    return kept


def _at_the_end(person: Person, kept: Sequence[Event]) -> bool:
    return not kept or (person.heard[-1][0] if person.heard else person.start) == kept[-1].pos


def nothing_lost(people: Sequence[Person], kept: Mapping[str, Sequence[Event]]) -> list[Check]:
    """Everything acknowledged stands in the history, once, and everybody in the room heard all of that, in order."""
    lost = 0
    for person in people:
        places = {event.pos: _id(event) for event in kept[person.room]}
        lost += sum(places.get(place) != id_ for id_, place in person.acknowledged.items())
    twice = sum(n - 1 for room in kept.values() for n in Counter(map(_id, room)).values())
    wrong = doubled = 0
    for person in people:
        after = [(event.pos, _id(event)) for event in kept[person.room] if event.pos.off > person.start.off]
        wrong += person.heard != after
        doubled += len(person.heard) - len({id_ for _, id_ in person.heard})
    return [
        exactly("acknowledged messages that are lost", lost, 0),
        exactly("messages that stand in the history twice", twice, 0),
        exactly("messages that somebody heard twice", doubled, 0),
        exactly("gaps that clients were told of", sum(person.gaps for person in people), 0),
        exactly("clients that did not hear all, in order", wrong, 0),
    ]


def _id(event: Event) -> str:
    return str(json.loads(event.payload)["id"])


@contextlib.asynccontextmanager
async def bounded(valkey: Engine, seconds: float) -> AsyncGenerator[None, None]:
    """An end in any case, for the engine as well: one that is stopped would never hear of it."""
    try:
        with anyio.fail_after(seconds):
            yield
    finally:
        valkey.kill()
