"""A client: one connection to the chat, over TCP lines or WebSocket. ``python -m examples.chat.client`` talks with it.

Shape
    Two goroutines. The reader takes what the server sends and hands each answer to whoever waits for it, everything
    else to ``events``. The writer alone writes to the stream: what the reader owes the server (pongs) goes before what
    the user says. A request is a channel of capacity 1 that the reader fills, under the request's id.

The end of the connection is one value, ``Disconnected``: every waiting and later request raises it, ``events`` ends.
There is no reconnection here: whoever wants it makes a new client, as the page does.
"""

from __future__ import annotations

import itertools
import secrets
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeAlias

import anyio
from anyio.abc import ByteStream

from gochan import Channel, ChannelClosed, Event, Group, ReceiveChannel, select

from . import wire
from .client_framing import LOST, Disconnected, Framing, Lines, WebSocket

GOODBYE = 1.0  # seconds the server has to answer `bye`


# ---- what happens ----


@dataclass(frozen=True, slots=True)
class Message:
    room: str
    sender: str
    body: str
    sent_at: float
    """Seconds since the epoch, by the server's clock."""
    id: wire.Id


@dataclass(frozen=True, slots=True)
class Presence:
    room: str
    joined: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server is about to close the connection."""

    code: int
    reason: str
    after: float
    """Seconds to wait before the next connection."""
    resume: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that answers no request."""

    code: int
    text: str
    temporary: bool


ChatEvent: TypeAlias = Message | Presence | GoAway | Problem


class Refused(Exception):
    """The server's answer to a request is an error."""

    def __init__(self, code: int, text: str, temporary: bool) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code
        self.text = text
        self.temporary = temporary


# ---- the client ----


class Client:
    """One user's connection.

    Example:
        async with Client.connect("127.0.0.1", 8765, user="ada") as client:
            await client.join("lobby")
            await client.say("lobby", "hello")
            async for event in client.events: ...
    """

    events: ReceiveChannel[ChatEvent]
    """What happens, in order; ends when the connection does."""

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        *,
        user: str,
        transport: Literal["websocket", "tcp"] = "websocket",
        timeout: float = 10.0,
        backlog: int = 4096,
    ) -> Self:
        """A client that connects, says hello and is welcomed when it is entered with ``async with``.

        Args:
            timeout: seconds that all of this may take.
            backlog: events that may wait to be read. One more and the connection ends, as the server's does with
                clients that do not read: a queue without a bound would hide the mistake, dropping would hide a loss.

        Raises, when entered:
            OSError: no connection; TimeoutError if it took too long.
            Refused: the server does not want this user.
            Disconnected: the connection ended before the server's welcome.
        """
        return cls(host, port, user, transport, timeout, backlog)

    def __init__(self, host: str, port: int, user: str, transport: str, timeout: float, backlog: int) -> None:
        self.user = user
        self.end: Disconnected | None = None
        self._address = host, port
        self._timeout = timeout
        self._framing: Framing = Lines() if transport == "tcp" else WebSocket(host, port)
        self._stream: ByteStream | None = None
        self._group = Group(errors="first")
        self.events = self._events = Channel[ChatEvent](backlog, name="events")
        self._outbox = Channel[bytes](16, name="outbox")
        self._owed = Channel[bytes](16, overflow="drop_newest", name="owed")
        self._replies: dict[wire.Id, Channel[wire.Json]] = {}
        # Unlike a plain counter, the same under no other connection of this user: an id may serve to recognise
        # a message that was sent twice.
        self._ids = (f"{prefix}-{n}" for prefix in [secrets.token_hex(8)] for n in itertools.count(1))
        self._welcome = self._expect("welcome")
        self._goaway: GoAway | None = None
        self._ended = Event()

    # Not an AsyncExitStack: inside of another one, its changes to the context of a cancellation can make a cycle, which
    # the outer one would follow for ever.
    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        try:
            with anyio.fail_after(self._timeout):
                self._stream = stream = await anyio.connect_tcp(*self._address)
                early = await self._shake_hands(stream)
                self._group.go(self._read, stream, early)
                self._group.go(self._write, stream)
                await self._outbox.send(wire.dumps({"t": "hello", "v": wire.VERSION, "user": self.user}))
                await self._answer(self._welcome)
        except BaseException as error:
            await self._close(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # So that the others see us leave now. Who is cancelled does not wait for the server.
            await self.bye()
        except BaseException as cancelled:
            await self._close(cancelled)
            raise
        await self._close(error)

    async def _close(self, error: BaseException | None) -> None:
        """End the goroutines: they need no cancellation, as a closed stream and outbox end them."""
        self._outbox.close()
        try:
            if self._stream is not None:
                await self._stream.aclose()
        finally:
            try:
                await self._group.__aexit__(
                    type(error) if error else None, error, error.__traceback__ if error else None
                )
            finally:
                if self.end is None:
                    self._finish(None)

    async def join(self, room: str) -> list[str]:
        """Enter a room; who is there."""
        return _strings(await self._request("join", room), "members")

    async def leave(self, room: str) -> None:
        await self._request("leave", room)

    async def who(self, room: str) -> list[str]:
        """Who is in a room."""
        return _strings(await self._request("who", room), "members")

    async def say(self, room: str, body: str) -> None:
        """Say something; returns when the server has acknowledged it.

        Cancellation: it may or may not have been said.
        """
        await self._request("say", room, body=body)

    async def ping(self) -> None:
        """Ask the server for a sign of life, and wait for it."""
        number = secrets.randbelow(wire.MAX_NUMBER)
        await self._exchange({"t": "ping", "n": number}, number)

    async def bye(self) -> None:
        """Tell the server that we go, and wait a moment for it to close; ``events`` may then be read to its end."""
        if self.end is not None:
            return
        with anyio.move_on_after(GOODBYE):
            try:
                await self._outbox.send(wire.dumps({"t": "bye"}))
            except ChannelClosed:
                return
            await self._ended.wait()

    # Requests and answers.

    async def _request(self, kind: str, room: str, **fields: str) -> wire.Json:
        id_ = next(self._ids)
        return await self._exchange({"t": kind, "id": id_, "room": room, **fields}, id_)

    async def _exchange(self, message: wire.Json, id_: wire.Id) -> wire.Json:
        reply = self._expect(id_)
        try:
            await self._outbox.send(wire.dumps(message))
            return await self._answer(reply)
        except ChannelClosed:
            # The writer found out first; the reader knows the reason, and is about to say it.
            await self._ended.wait()
            raise self._reason() from None
        finally:
            self._replies.pop(id_, None)

    def _expect(self, id_: wire.Id) -> Channel[wire.Json]:
        reply = Channel[wire.Json](1)
        if self.end is None:
            self._replies[id_] = reply
        else:
            reply.close()
        return reply

    async def _answer(self, reply: Channel[wire.Json]) -> wire.Json:
        try:
            message = await reply.receive()
        except ChannelClosed:
            raise self._reason() from None
        if message["t"] == "err":
            raise Refused(message["code"], message["msg"], message["temp"])
        return message

    def _reason(self) -> Disconnected:
        end = self.end or Disconnected(LOST, "the connection has ended")
        return Disconnected(end.code, end.reason)  # a fresh one: the same error raised twice would mix its tracebacks

    # The two goroutines.

    async def _shake_hands(self, stream: ByteStream) -> list[bytes]:
        payloads: list[bytes] = []
        request = self._framing.request()
        if request:
            await stream.send(request)
        while not self._framing.ready():
            try:
                payloads += self._framing.feed(await stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                raise Disconnected(LOST, "the server closed the connection during the handshake") from None
        return payloads

    async def _write(self, stream: ByteStream) -> None:
        try:
            while True:
                match await select(self._owed, self._outbox, priority=True):
                    case (0, data):
                        await stream.send(data)
                    case (1, payload):
                        await stream.send(self._framing.frame(payload))
        except ChannelClosed:
            return
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            # Not the end yet: the server's last words may still wait to be read.
            self._outbox.close()

    async def _read(self, stream: ByteStream, payloads: list[bytes]) -> None:
        end: Disconnected | None = None
        try:
            while True:
                for payload in payloads:
                    self._handle(wire.loads(payload))
                payloads = self._framing.feed(await stream.receive())
                if owed := self._framing.owed():
                    self._owed.send_nowait(owed)
        except Disconnected as error:  # an OSError: stands before it
            end = error
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass
        except (wire.WireError, KeyError, TypeError, ValueError) as error:
            end = Disconnected(wire.Close.PROTOCOL_ERROR, f"the server sent something that makes no sense: {error}")
        # Not in a `finally`: when the reader is cancelled, whoever waits here is cancelled, too, and shall see that.
        self._finish(end or self._framing.closing())

    def _finish(self, end: Disconnected | None) -> None:
        if end is None and self._goaway is not None:
            end = Disconnected(self._goaway.code, self._goaway.reason)
        self.end = end or Disconnected(LOST, "the connection was lost")
        for reply in self._replies.values():
            reply.close()
        self._outbox.close()
        self._events.close()
        self._ended.set()

    def _handle(self, message: wire.Json) -> None:
        match message["t"]:
            case "msg":
                text = Message(message["room"], message["from"], message["body"], message["ts"] / 1000, message["id"])
                self._happened(text)
            case "pres":
                joined, left = _strings(message, "join"), _strings(message, "leave")
                self._happened(Presence(message["room"], tuple(joined), tuple(left)))
            case "welcome":
                self._replied("welcome", message)
            case "pong":
                self._replied(message["n"], message)
            case "ack" | "joined" | "members":
                self._replied(message["id"], message)
            case "ping":
                self._owed.send_nowait(self._framing.frame(wire.dumps({"t": "pong", "n": message["n"]})))
            case "goaway":
                self._goaway = GoAway(message["code"], message["reason"], message["after_ms"] / 1000, message["resume"])
                self._happened(self._goaway)
            case "err":
                # Before the welcome, an error without an id can only mean our hello.
                id_ = message.get("id", "welcome")
                if not self._replied(id_, message):
                    self._happened(Problem(message["code"], message["msg"], message["temp"]))
            case _:
                pass  # from a newer server

    def _replied(self, id_: wire.Id, message: wire.Json) -> bool:
        reply = self._replies.pop(id_, None)
        if reply is not None:
            reply.send_nowait(message)
        return reply is not None

    def _happened(self, event: ChatEvent) -> None:
        try:
            self._events.send_nowait(event)
        except anyio.WouldBlock:
            raise Disconnected(LOST, f"more than {self._events.capacity} events were not read") from None


def _strings(message: wire.Json, field: str) -> list[str]:
    return [str(item) for item in message[field]]


if __name__ == "__main__":
    from .terminal import main

    sys.exit(main())
