"""One connection: bytes on one side, the server's messages and ours on the other.

Shape
    ``open_link`` connects, shakes hands, says hello and is welcomed, in the caller's own goroutine. Then there are two
    goroutines: the reader takes what the server sends apart and hands it on in ``incoming``, the writer alone writes to
    the stream. Between them stands whoever owns the client's state; it never touches the stream.

The end is one value, a ``Disconnected``: first what came before it is taken out of ``incoming``, then it is ``end``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

import anyio
from anyio.abc import ByteStream

from gochan import Channel, ChannelClosed, select

from .. import wire
from .backoff import LOST
from .events import Disconnected, Refused
from .framing import Framing, Lines, Prefixed, WebSocket

Transport: TypeAlias = Literal["websocket", "tcp"]
Format: TypeAlias = Literal["json", "protobuf"]
Dial: TypeAlias = Callable[[], Awaitable[ByteStream]]

_READ_AHEAD: Final = 64  # messages; beyond it the server has to wait
_WRITE_AHEAD: Final = 8


def speak(transport: Transport, format: Format, host: str, port: int) -> tuple[wire.Codec, Framing]:  # noqa: A002
    """How to talk over a new connection.

    Raises:
        ImportError: protobuf is not installed.
    """
    if format == "json":
        return wire.JSON, Lines() if transport == "tcp" else WebSocket(host, port)
    from ..wire.protobuf_codec import PROTOBUF  # an extra

    return PROTOBUF, Prefixed() if transport == "tcp" else WebSocket(host, port, wire.SUBPROTOCOL_PB, binary=True)


async def open_link(dial: Dial, codec: wire.Codec, framing: Framing, hello: wire.Json) -> Link:
    """Connect, and be welcomed.

    Raises:
        OSError: no connection.
        Refused: the server does not want this user.
        Disconnected: the connection ended before the welcome.
    """
    stream = await dial()
    link = Link(stream, codec, framing)
    try:
        await link.greet(hello)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise
    return link


class Link:
    """One connection that the server has welcomed."""

    def __init__(self, stream: ByteStream, codec: wire.Codec, framing: Framing) -> None:
        self.incoming = Channel[wire.Json](_READ_AHEAD, name="incoming")
        self.outgoing = Channel[bytes](_WRITE_AHEAD, name="outgoing")
        self.welcome: wire.Json = {}
        self.heard_at = 0.0
        """Loop time when the last byte came: any byte is a sign of life."""
        self._stream = stream
        self._codec = codec
        self._framing = framing
        self._end: Disconnected | None = None
        self._owed = Channel[bytes](16, overflow="drop_newest", name="owed")
        self._early: list[bytes] = []

    @property
    def end(self) -> Disconnected:
        """Why ``incoming`` was closed."""
        return self._end or Disconnected(LOST, "the connection was lost")

    def frame(self, message: wire.Json) -> bytes:
        return self._framing.frame(self._codec.encode(message))

    async def greet(self, hello: wire.Json) -> None:
        """Shake hands, say hello, wait for the welcome.

        Raises:
            Refused: the server does not want this user.
            Disconnected: the connection ended before that, or what came was no welcome.
        """
        try:
            if request := self._framing.request():
                await self._stream.send(request)
            while not self._framing.ready():
                self._early += self._framing.feed(await self._stream.receive())
            await self._stream.send(self.frame(hello))
            while not self.welcome:
                while not self._early:
                    self._early = self._framing.feed(await self._stream.receive())
                self._welcomed(self._understand(self._early.pop(0)))
            self.heard_at = anyio.current_time()
        except Disconnected:
            raise
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise self._framing.closing() or Disconnected(
                LOST, "the server closed the connection before its welcome"
            ) from None

    def _welcomed(self, message: wire.Json) -> None:
        match message:
            case {"t": "welcome"}:
                self.welcome = message
            case {"t": "err", "code": int(code), "msg": str(reason)}:
                raise refusal(message) if code < 1000 else Disconnected(code, reason)
            case {"t": "goaway"}:
                raise goodbye(message)
            case _:
                pass  # a ping may come first; so may what only newer servers say

    async def read(self) -> None:
        """The reader: until the stream ends."""
        end: Disconnected | None = None
        payloads, self._early = self._early, []
        try:
            while True:
                for payload in payloads:
                    await self.incoming.send(self._understand(payload))
                data = await self._stream.receive()
                self.heard_at = anyio.current_time()
                payloads = self._framing.feed(data)
                if owed := self._framing.owed():
                    self._owed.send_nowait(owed)
        except Disconnected as error:  # an OSError: stands before it
            end = error
        except ChannelClosed:
            return
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass
        self._end = end or self._framing.closing()
        self.incoming.close()

    async def write(self) -> None:
        """The writer: until ``outgoing`` is closed or the stream breaks. What the protocol owes goes first."""
        try:
            while True:
                match await select(self._owed, self.outgoing, priority=True):
                    case (0, data) | (1, data):
                        await self._stream.send(data)
        except ChannelClosed:
            return
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            # Not the end yet: the server's last words may still wait to be read.
            self.outgoing.close()

    async def aclose(self) -> None:
        self.outgoing.close()
        self.incoming.close()
        await self._stream.aclose()

    def _understand(self, payload: bytes) -> wire.Json:
        try:
            message = self._codec.loads(payload)
        except wire.WireError as error:
            raise nonsense(error) from None
        if type(message.get("t")) is not str:
            raise nonsense("a message without a name")
        return message


def nonsense(what: object) -> Disconnected:
    """The end of a connection to a server that does not keep to the protocol: nothing is guessed."""
    return Disconnected(wire.Close.PROTOCOL_ERROR, f"the server sent something that makes no sense: {what}")


def refusal(message: wire.Json) -> Refused:
    """The error in an ``err``."""
    retry = message.get("retry_ms")
    return Refused(
        int(message["code"]),
        str(message["msg"]),
        bool(message.get("temp", False)),
        None if retry is None else retry / 1000,
    )


def goodbye(message: wire.Json) -> Disconnected:
    """The end that a ``goaway`` announces."""
    return Disconnected(int(message["code"]), str(message["reason"]), after=message.get("after_ms", 0) / 1000)
