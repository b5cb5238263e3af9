"""Row 18: a server that is told to stop lets everybody go, and keeps what it acknowledged.

Shape
    busy       SIGTERM to a server with a file, in a process of its own, while a thousand clients talk. Then another
               server on the same file: what was acknowledged is there, once; what was not is said again, and is there
               once, too. Clients of the library come back to it by themselves, not all at once.
    stubborn   SIGTERM while some read nothing, some are in the middle of a message, and some have said nothing.
    forced     the same, with deadlines of a minute; a second SIGTERM ends it.
    sluggish   a server whose broker does not answer: it stops as soon as that does, or gives up on it.
"""

from __future__ import annotations

import contextlib
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
from tests.chat.pb_talkers import PB_TALKERS, tcp_pb
from tests.chat.table.process import serving
from tests.chat.table.row import Check, Row, Size, at_least, at_most, exactly, told
from tests.chat.talkers import BOUND, TALKERS, Ended, Talker, running, tcp, ws

from examples.chat import wire
from examples.chat.broker import MemoryEngine, Window
from examples.chat.broker.sqlite import SqliteEngine
from examples.chat.client import Client, Reconnected
from examples.chat.config import Settings
from examples.chat.node import assemble
from examples.chat.server import Server
from gochan import Event, Group, sleep

KINDS: list[Any] = [*TALKERS.values(), *PB_TALKERS.values()]
ROOM = 10
"""Clients in each room."""
EXIT, FORCED, SPREAD = 10.0, 1.0, 1.0
FULL = Window(100_000)


class Busy:
    """A client that talks until it is told to go."""

    def __init__(self, number: int, talker: Talker) -> None:
        self.user = f"user {number}"
        self.room = f"room-{number // ROOM}"
        self.said: list[str] = []
        self.acked: dict[str, tuple[str, int]] = {}
        self.code: int | None = None
        self.after: int | None = None
        self._talker = talker
        self._news = Event()

    async def enter(self) -> None:
        await self._talker.hello(self.user)
        await self._talker.send({"t": "join", "id": 0, "room": self.room})
        await self._talker.find("joined", id=0)

    async def read(self) -> None:
        try:
            while True:
                message = await self._talker.receive()
                if message["t"] == "ack":
                    self.acked[message["id"]] = message["ep"], message["off"]
                    self._news.set()
                elif message["t"] == "goaway":
                    self.after = message["after_ms"]
        except Ended as ended:
            self.code = ended.code
            self._news.set()
        await self._talker.stream.aclose()

    async def speak(self, pause: float) -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while self.code is None:
                self._news = Event()
                self.said.append(f"{self.user}: {len(self.said)}")
                await self._talker.send(say(self.said[-1], self.room))
                await self._news.wait()
                await sleep(random.uniform(0, 2 * pause))


def say(id_: str, room: str) -> dict[str, Any]:
    return {"t": "say", "id": id_, "room": room, "body": id_}


async def busy(size: Size, data: str) -> list[Check]:
    count, pause, library = size.pick((30, 0.1, 0), (1000, 2.0, 50))
    people: list[Busy] = []
    back: list[float] = []
    late = [0.0]
    flags = (*size.flags, "--data", data, "--accept-rate", "100000", "--history", "100000", "--log-level", "warning")
    async with Group() as guests:
        async with serving(*flags) as server, contextlib.AsyncExitStack() as talkers:
            inside = [Event() for _ in range(library)]
            for number, entered in enumerate(inside):
                guests.go(guest, number, server.port, entered, back)
            for number in range(count):
                talker = await talkers.enter_async_context(KINDS[number % len(KINDS)](server))
                people.append(Busy(number, talker))
                await people[-1].enter()
            for entered in inside:
                await entered.wait()
            async with Group() as talking:
                for one in people:
                    talking.go(one.read)
                    talking.go(one.speak, pause)
                await sleep(size.pick(0.15, 3.0))
                watching = talking.go(lag, late)
                began = time.perf_counter()
                server.send(signal.SIGTERM)
                code = await server.ended()
                ended = time.perf_counter() - began
                watching.cancel()
            checks = [*judge(people, ended, code), exactly("errors in the log", complaints(server.log), 0)]
            checks.append(told("seconds that the clients' own loop was late", f"{late[0]:.3f}"))
        settings: dict[str, Any] = {"port": server.port, "accept_rate": 1e6}
        async with SqliteEngine(data, FULL) as engine:
            node = engine.broker("here")
            async with running(lambda settings: Server(settings, assemble(settings, node)), 120, **settings) as again:
                checks += await kept(people, again)
                if library:
                    with anyio.fail_after(BOUND * 2):
                        while len(back) < library:
                            await sleep(0.05)
                    checks.append(at_least("seconds over which clients come back", max(back) - min(back), SPREAD, "s"))
    return checks


async def lag(late: list[float]) -> None:
    """How late the loop gets round to things: a client that is a second late may miss the goodbye."""
    while True:
        due = time.perf_counter() + 0.01
        await sleep(0.01)
        late[0] = max(late[0], time.perf_counter() - due)


async def guest(number: int, port: int, entered: Event, back: list[float]) -> None:
    """Somebody with the library's client, which comes back by itself."""
    async with Client.connect("127.0.0.1", port, user=f"guest {number}") as client:
        await client.join("guests")
        entered.set()
        async for event in client.events:
            if isinstance(event, Reconnected):
                back.append(time.perf_counter())
                return


def complaints(log: str) -> int:
    return log.count(" ERROR ") + log.count("Traceback")


def judge(people: Sequence[Busy], seconds: float, code: int) -> list[Check]:
    codes = Counter(one.code for one in people)
    waits = [one.after / 1000 for one in people if one.after is not None]
    return [
        exactly("exit code", code, 0),
        at_most("seconds to the exit", seconds, EXIT, "s"),
        exactly("clients that got a goaway, and 4001", (len(waits), codes[4001]), (len(people),) * 2),
        at_least("seconds over which they are asked back", max(waits) - min(waits) if waits else 0, SPREAD, "s"),
        at_least("acknowledged messages", sum(len(one.acked) for one in people), len(people)),
    ]


async def kept(people: Sequence[Busy], again: Server) -> list[Check]:
    """Another server has it all; what was not acknowledged is said to it again."""
    lost = 0
    rooms: dict[str, list[str]] = {}
    for room in {one.room for one in people}:
        page = await again.node.broker.history(room, None, 1_000_000)
        rooms[room] = [wire.loads(event.payload)["id"] for event in page.events]
        places = {wire.loads(event.payload)["id"]: (event.pos.ep, event.pos.off) for event in page.events}
        lost += sum(places.get(id_) != at for one in people if one.room == room for id_, at in one.acked.items())
    unsure = [one for one in people if len(one.said) > len(one.acked)]
    known = 0
    for one in unsure:
        async with tcp(again) as talker:
            await talker.hello(one.user)
            await talker.send({"t": "join", "id": 0, "room": one.room})
            await talker.find("joined")
            for id_ in set(one.said) - one.acked.keys():
                await talker.send(say(id_, one.room))
                known += (await talker.find("ack", id=id_)).get("dup") is True
    wrong = 0
    for room in rooms:
        page = await again.node.broker.history(room, None, 1_000_000)
        found = Counter(wire.loads(event.payload)["id"] for event in page.events)
        wrong += found != Counter(id_ for one in people if one.room == room for id_ in one.said)
    return [
        exactly("acknowledged messages that are lost, or elsewhere", lost, 0),
        exactly("rooms where something is missing or there twice", wrong, 0),
        told("said, not acknowledged; of them kept all the same", f"{len(unsure)}; {known}"),
    ]


# ---- clients that do not go along ----


@contextlib.asynccontextmanager
async def stubborn(server: Any, each: int) -> Any:
    """So many that read nothing though much is said, that are in the middle of something, that have said nothing."""
    async with contextlib.AsyncExitStack() as stack:
        for number in range(each):
            deaf = await stack.enter_async_context(tcp(server))
            await deaf.join(f"deaf {number}")
            line = await stack.enter_async_context(tcp(server))
            await line.join(f"line {number}")
            await line.raw(b'{"t":"say","id":9,"room":"lobby","bo')
            length = await stack.enter_async_context(tcp_pb(server))
            await length.join(f"length {number}")
            await length.raw(b"\0\0\1")
            frame = await stack.enter_async_context(ws(server))
            await frame.join(f"frame {number}")
            await frame.raw(frame.frame(b'{"t":"say","id":9,"room":"lobby","body":"hi"}')[:20])
            await stack.enter_async_context(tcp(server))
            head = await stack.enter_async_context(tcp(server))
            await head.raw(b"GET /ws HTTP/1.1\r\nHost: local")
        loud = await stack.enter_async_context(tcp(server))
        await loud.join("loud")
        async with Group() as group:
            group.go(shout, loud)
            await sleep(0.5)
            yield
            group.cancel()


async def shout(talker: Talker) -> None:
    number = 0
    with contextlib.suppress(anyio.BrokenResourceError, Ended):
        while True:
            number += 1
            await talker.send({"t": "say", "id": number, "room": "lobby", "body": "x" * 8000})
            await talker.find("ack", id=number)


async def told_to_stop(size: Size) -> list[Check]:
    flags = (*size.flags, "--rate", "100000", "--burst", "100000")
    async with serving(*flags) as server, stubborn(server, 20):
        began = time.perf_counter()
        code = await server.stop()
        seconds = time.perf_counter() - began
        log = server.log
    return [
        exactly("stubborn clients: exit code", code, 0),
        at_most("stubborn clients: seconds to the exit", seconds, EXIT, "s"),
        exactly("stubborn clients: errors in the log", complaints(log), 0),
    ]


async def forced(size: Size) -> list[Check]:
    patience = ("--write-timeout", "60", "--drain-timeout", "60", "--outbox", "100000")
    flags = (*size.flags, "--rate", "100000", "--burst", "100000", *patience)
    async with serving(*flags) as server, stubborn(server, 5):
        server.send(signal.SIGTERM)
        await sleep(2.0)
        waited = server.running
        began = time.perf_counter()
        code = await server.stop()
        seconds = time.perf_counter() - began
    return [
        exactly("after one signal it waits for them", waited, True),
        exactly("after a second one: exit code", code, 128 + signal.SIGTERM),
        at_most("after a second one: seconds to the exit", seconds, FORCED, "s"),
    ]


# ---- a broker that does not answer ----


async def sluggish(size: Size, answers: bool) -> list[Check]:
    """Everybody has said something, of which the broker knows nothing yet, when the server is told to stop."""
    count = size.pick(8, 200)
    engine = MemoryEngine()

    def make(settings: Settings) -> Server:
        return Server(settings, assemble(settings, engine.broker(settings.name)))

    async def last_words(talker: Talker) -> tuple[str, int | None]:
        kind = "nothing"
        with anyio.fail_after(BOUND):
            try:
                while True:
                    message = await talker.receive()
                    if message.get("id") == "last" and message["t"] in ("ack", "err"):
                        kind = message["t"]
            except Ended as ended:
                await talker.stream.aclose()
                return kind, ended.code

    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(make, broker_timeout=BOUND if answers else 0.3))
        talkers = [await stack.enter_async_context(KINDS[number % len(KINDS)](server)) for number in range(count)]
        for number, talker in enumerate(talkers):
            await talker.join(f"user {number}")
        engine.pause()
        for talker in talkers:
            await talker.send(say("last", "lobby"))
        async with Group() as group:
            ends = [group.go(last_words, talker) for talker in talkers]
            await sleep(0.1)
            server.stop.set()
            await sleep(0.1)
            if answers:
                engine.resume()
            words = Counter([await each.result() for each in ends])
        engine.resume()
        page = await engine.history("lobby", None, 10_000)
    how, kind = ("answers late", "ack") if answers else ("never answers", "err")
    return [
        exactly(f"broker that {how}: last words", dict(words), {(kind, 4001): count}),
        exactly(f"broker that {how}: messages kept", len(page.events), count if answers else 0),
    ]


async def run(size: Size) -> Sequence[Check]:
    with tempfile.TemporaryDirectory() as folder, anyio.fail_after(size.pick(60, 170)):
        checks = await busy(size, str(Path(folder, "chat.db")))
    checks += await sluggish(size, answers=True)
    if size.full:
        checks += await sluggish(size, answers=False)
        checks += await told_to_stop(size)
        checks += await forced(size)
    return checks


ROW = Row("18", "graceful drain", run)
