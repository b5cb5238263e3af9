"""A server that the test plays, line by line, over streams in memory: so the client can be seen in virtual time."""

from __future__ import annotations

import contextlib
import json
import math
import random
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from examples.chat.client import Backoff, Client, Disconnected, Message, Refused
from examples.chat.transport.memory import MemoryPipe
from gochan import Channel, Group, Mutex

BOUND = 1000.0
"""Seconds of virtual time that anything may take."""


class Line:
    """One connection, seen from the server: ``hear`` what the client says, ``say`` what comes to mind."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self._rest = b""
        self.pings = True
        """Whether the client's own heartbeat is answered, unasked."""

    async def hear(self, kind: str | None = None) -> Any:
        """The next message, which must be of this kind; pings are answered on the way."""
        with anyio.fail_after(BOUND):
            while True:
                while b"\n" not in self._rest:
                    self._rest += await self.stream.receive()
                line, _, self._rest = self._rest.partition(b"\n")
                message = json.loads(line)
                if message["t"] != "ping" or kind == "ping":
                    assert kind in (None, message["t"]), message
                    return message
                if self.pings:
                    await self.say(t="pong", n=message["n"])

    async def say(self, **fields: Any) -> None:
        fields = {{"sender": "from", "id_": "id"}.get(name, name): value for name, value in fields.items()}
        await self.stream.send(json.dumps(fields).encode() + b"\n")

    async def msg(self, off: int, *, ep: str = "e", room: str = "lobby") -> None:
        """Somebody said the offset's number."""
        await self.say(**msg(off, ep=ep, room=room))

    async def joined(self, off: int, *, ep: str = "e", **fields: Any) -> Any:
        """Let the client in: where it wanted to be from."""
        join = await self.hear("join")
        fields = {"msgs": [], "members": ["ada"], **fields}
        await self.say(t="joined", id=join["id"], room=join["room"], off=off, ep=ep, **fields)
        return join.get("since")

    async def close(self, code: int | None = None, reason: str = "", **fields: Any) -> None:
        """Hang up, with a word or without."""
        if code is not None:
            await self.say(t="goaway", code=code, reason=reason, **{"after_ms": 0, "resume": False, **fields})
        await self.stream.send_eof()
        with anyio.fail_after(BOUND), contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:  # as in TCP: what is left unread would reset the connection before the last words are read
                await self.stream.receive()
        await self.stream.aclose()


def msg(off: int, *, ep: str = "e", room: str = "lobby") -> dict[str, Any]:
    return {
        "t": "msg",
        "room": room,
        "off": off,
        "ep": ep,
        "from": "bob",
        "body": str(off),
        "ts": off * 1000,
        "id": f"m{off}",
    }


class Script:
    """Where the client connects to. ``accept`` is the server's side of the next connection."""

    def __init__(self) -> None:
        self._dialled = Channel[ByteStream](math.inf)
        self.refusals: list[OSError] = []
        """What the next attempts to connect fail with."""
        self.dialled_at: list[float] = []

    async def dial(self) -> ByteStream:
        self.dialled_at.append(anyio.current_time())
        if self.refusals:
            raise self.refusals.pop(0)
        pipe = MemoryPipe()
        self._dialled.send_nowait(pipe.server)
        return pipe.client

    async def accept(self, **welcome: Any) -> Line:
        """The next connection, welcomed."""
        line = await self.meet()
        line_hello = await line.hear("hello")
        assert line_hello["v"] == 1
        await line.say(t="welcome", sid="s", node="n", **welcome)
        return line

    async def meet(self) -> Line:
        """The next connection, before a word was said."""
        with anyio.fail_after(BOUND):
            return Line(await self._dialled.receive())

    def client(self, user: str = "ada", **options: Any) -> Client:
        options = {"backoff": Backoff(random=random.Random(7)), **options}
        return Client.connect("server", 1, user=user, transport="tcp", dial=self.dial, **options)

    @contextlib.asynccontextmanager
    async def talking(self, **options: Any) -> AsyncGenerator[tuple[Client, Line], None]:
        """A client that was welcomed, and the server's side of its first connection."""
        async with Group() as group:
            accepting = group.go(self.accept)
            async with self.client(**options) as client:
                yield client, await accepting.result()


async def event(client: Client, kind: type[Any]) -> Any:
    """The next event, which must be of this kind."""
    with anyio.fail_after(BOUND):
        found = await client.events.receive()
    assert isinstance(found, kind), found
    return found


async def said(client: Client, *offsets: int) -> None:
    """The next events are these messages."""
    for offset in offsets:
        assert (await event(client, Message)).body == str(offset)


async def in_the_lobby(client: Client, line: Line, off: int = 0, **fields: Any) -> None:
    """The client joins, and is let in."""
    async with Group() as group:
        joining = group.go(client.join, "lobby")
        await line.joined(off, **fields)
        assert (await joining.result()).members == ("ada",)


async def error_of(request: Awaitable[object]) -> Exception:
    """What a request fails with; raised, it would end the group of the test."""
    with pytest.raises((Refused, Disconnected)) as raised:
        await request
    return raised.value


class Room:
    """A small server with one room, its history and its memory of ids, that hangs up at random."""

    def __init__(self, script: Script, chance: random.Random, calls: int) -> None:
        self.said: list[dict[str, Any]] = []
        self._script = script
        self._chance = chance
        self.calls = calls
        """Connections that end before their time."""
        self._one_at_a_time = Mutex()
        self._members: dict[Line, None] = {}

    async def serve(self) -> None:
        """Take everybody who comes."""
        async with Group() as group:
            while True:
                group.go(self._talk, await self._script.meet())

    async def _talk(self, line: Line) -> None:
        left = math.inf
        if self.calls:
            self.calls -= 1
            left = self._chance.randrange(2, 5)
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            try:
                while left > 0:
                    asked = await line.hear()
                    async with self._one_at_a_time:  # or a member could be given two messages in the wrong order
                        await self._obey(line, asked)
                    left -= 1
            finally:
                self._members.pop(line, None)
            await line.stream.aclose()

    async def _obey(self, line: Line, asked: dict[str, Any]) -> None:
        match asked["t"]:
            case "hello":
                await line.say(t="welcome", sid="s", node="n")
            case "join":
                since = asked.get("since", {"off": 0})["off"]
                self._members[line] = None
                answer = {"msgs": self.said[since:], "members": [], "rec": True}
                await line.say(t="joined", id=asked["id"], room="lobby", off=len(self.said), ep="e", **answer)
            case "say":
                known = next((one["off"] for one in self.said if one["id"] == asked["id"]), None)
                if known is None:
                    known = len(self.said) + 1
                    self.said.append({**msg(known), "id": asked["id"], "body": asked["body"]})
                    for member in list(self._members):
                        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                            await member.say(**self.said[-1])
                await line.say(t="ack", id=asked["id"], room="lobby", off=known, ep="e")
            case _:
                pass
