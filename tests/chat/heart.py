"""The heart of the server, without sockets: sessions on pipes in memory, the hub, a broker, all in virtual time.

``Guest`` is a client of JSON lines that keeps what it was told, and holds it against the promises: one message of a
room after the other, each once, no gap without a word.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio

from examples.chat.broker import LocalEngine, MemoryEngine, Window
from examples.chat.config import Settings
from examples.chat.drain import shutdown
from examples.chat.node import Node, new_node
from examples.chat.session import Session
from examples.chat.supervisor import supervise
from examples.chat.transport import Lines, MemoryPipe
from gochan import Channel, ChannelClosed, Group


class Heart:
    """One node, and the group in which its sessions live."""

    def __init__(self, node: Node, group: Group) -> None:
        self.node = node
        self.hub = node.hub
        self.group = group
        self.sessions: list[Session] = []

    def connect(self, user: str, *, capacity: int = 65536, slow: bool = False, serve: bool = True) -> Guest:
        """A client that has not said anything yet."""
        pipe = MemoryPipe(capacity)
        session = Session(pipe.server, Lines(pipe.server, b"", self.node.settings.max_size), self.node)
        session.sid = f"{user}-{len(self.sessions)}"  # a random one would make no two runs the same
        self.sessions.append(session)
        guest = Guest(user, pipe, session)
        if serve:
            self.group.go(self.serve, guest, name=f"session of {user}")
        if not slow:
            self.group.go(guest.read, name=f"reader of {user}")
        return guest

    async def serve(self, guest: Guest) -> None:
        """What the server does with a connection."""
        try:
            await guest.session.run(anyio.current_time() + self.node.settings.hello_timeout)
        finally:
            guest.server.close()

    def check(self) -> None:
        self.hub._check()
        self.node.registry._check()
        for session in self.sessions:
            session.outbox._check()


class Guest:
    """A client in memory."""

    def __init__(self, user: str, pipe: MemoryPipe, session: Session) -> None:
        self.user = user
        self.session = session
        self.stream = pipe.client
        self.server = pipe.server
        self.heard: list[dict[str, Any]] = []
        self.last: dict[str, int] = {}
        self.bodies: dict[str, list[Any]] = {}
        self.acked: list[Any] = []
        self.resyncs = 0
        self.ended = False
        self.news = Channel[None](1, overflow="drop_newest")
        self._ids = 0

    async def say_hello(self, **fields: Any) -> None:
        await self.send({"t": "hello", "v": 1, "user": self.user, **fields})

    async def send(self, *messages: dict[str, Any]) -> None:
        with contextlib.suppress(anyio.BrokenResourceError):
            await self.stream.send(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    async def join(self, room: str, **fields: Any) -> dict[str, Any]:
        return await self.ask({"t": "join", "room": room, **fields})

    async def say(self, room: str, body: str, id_: Any = None) -> dict[str, Any]:
        answer = await self.ask({"t": "say", "room": room, "body": body}, id_)
        if answer["t"] == "ack":
            self.acked.append((room, body))
        return answer

    async def ask(self, message: dict[str, Any], id_: Any = None) -> dict[str, Any]:
        """Send something, and wait for its answer; {"t": "end"} when there will be none."""
        self._ids += 1
        id_ = f"{self.user}-{self._ids}" if id_ is None else id_
        since = len(self.heard)
        await self.send({**message, "id": id_})
        return await self.find(since, id=id_)

    async def find(self, since: int = 0, **fields: Any) -> dict[str, Any]:
        """What it is, or will be, told with these fields, acks and errors rather than messages."""
        while True:
            for message in self.heard[since:]:
                if message["t"] != "msg" and {name: message.get(name) for name in fields} == fields:
                    return message
            if self.ended:
                return {"t": "end"}
            await self.news.receive()

    async def read(self) -> None:
        """Take what the server says, until it ends the connection."""
        rest = b""
        try:
            while True:
                *lines, rest = (rest + await self.stream.receive()).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
        except (anyio.EndOfStream, anyio.BrokenResourceError, ChannelClosed):
            self.ended = True
            # As a client does: the server reads on until both sides have hung up.
            self.stream.close()
            self.news.send_nowait(None)

    def _take(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        match message["t"]:
            case "joined":
                room = message["room"]
                if message.get("rec") is not True:
                    self.last.pop(room, None)
                for each in message["msgs"]:
                    self._said(each)
                last = self.last.setdefault(room, message["off"])
                assert last == message["off"], f"{self.user} joined at {message['off']} but heard up to {last}"
            case "resync":
                self.resyncs += 1
                self.last.pop(message["room"], None)
            case "lag":
                self.last.pop(message["room"], None)
            case "msg":
                self._said(message)
            case _:
                pass
        self.news.send_nowait(None)

    def _said(self, message: dict[str, Any]) -> None:
        room, off = message["room"], message["off"]
        last = self.last.get(room)
        assert last is None or off == last + 1, f"{self.user} in {room}: {off} after {last}"
        self.last[room] = off
        self.bodies.setdefault(room, []).append(message["body"])

    def vanish(self) -> None:
        """Hang up without a word."""
        self.stream.close()


@contextlib.asynccontextmanager
async def beating(
    *, window: int = 1000, engine: LocalEngine | None = None, name: str = "here", **settings: Any
) -> AsyncIterator[Heart]:
    """A node that serves; afterwards everybody is told to go, and nothing may be left of anybody."""
    engine = engine or MemoryEngine(Window(window))
    node = new_node(Settings(**settings), engine.broker(name))
    async with Group() as parts:
        hub = parts.go(supervise, node.hub)
        parts.go(node.hub.subscriptions.run)
        parts.go(node.hub.repairs.run)
        parts.go(node.hub.elsewhere.run)
        async with Group() as group:
            heart = Heart(node, group)
            yield heart
            heart.check()
            for session in heart.sessions:
                session.drain(shutdown())
        node.hub.stop.set()
        await hub.result()
        heart.check()
        assert not node.hub.rooms, {
            name: [(c.sid, m) for c, m in room.members.items()] for name, room in node.hub.rooms.items()
        }
        assert not node.registry.sessions
        await node.hub.elsewhere.flush()
        assert not node.hub.elsewhere._mine
        await node.broker.aclose()
        parts.cancel()


async def guests(heart: Heart, *names: str, room: str = "a") -> list[Guest]:
    """Clients who are in a room."""
    those = [heart.connect(name) for name in names]
    for guest in those:
        await guest.say_hello()
        assert (await guest.join(room))["t"] == "joined"
    return those
