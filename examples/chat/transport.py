"""Transports: messages over a byte stream, as JSON lines or as WebSocket text frames.

A transport reads messages and knows how they are framed; it never writes on its own. Whatever has to be answered below
the protocol (WebSocket's pongs) goes into the outbox with everything else: there is one writer per connection.

Reading ends with a ``Goodbye``, whose code says why: NORMAL when the client has left, else what it did wrong.

Bounds: at most one message and one read of 64 KiB are held. A message is refused when its length is known (a
WebSocket frame's header) or has been passed (a line), not when it is complete.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol, cast

import anyio
from anyio.abc import ByteReceiveStream
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from gochan import SendChannel

from . import wire
from .wire import Close, Code, Encoded, Framing, Goodbye, WireError

_READ: Final = 65536


class Transport(Protocol):
    """How one client's messages travel."""

    framing: Framing

    async def read(self, replies: SendChannel[bytes]) -> bytes | bytearray:
        """The next message; ``replies`` takes what the framing itself answers.

        Raises:
            Goodbye: there will be none.
            WireError: this one is refused, without an end.
        """
        ...

    def farewell(self, goodbye: Goodbye) -> bytes:
        """The last bytes to write."""
        ...


async def _receive(stream: ByteReceiveStream) -> bytes:
    try:
        return await stream.receive(_READ)
    except anyio.EndOfStream:
        raise Goodbye(Close.NORMAL, "the client left") from None
    except anyio.BrokenResourceError:
        raise Goodbye(Close.NORMAL, "the connection broke") from None


class Lines:
    """JSON lines over TCP: one object per ``\\n``."""

    framing = Framing.LINES

    def __init__(self, stream: ByteReceiveStream, received: bytes, max_size: int) -> None:
        self._stream = stream
        self._buffer = bytearray(received)
        self._searched = 0
        self._max_size = max_size

    async def read(self, replies: SendChannel[bytes]) -> bytes | bytearray:
        buffer = self._buffer
        while (end := buffer.find(b"\n", self._searched)) < 0 and len(buffer) <= self._max_size:
            self._searched = len(buffer)
            buffer += await _receive(self._stream)
        if not 0 <= end <= self._max_size:
            raise Goodbye(Close.TOO_BIG, f"a line is at most {self._max_size} bytes")
        line = buffer[:end]
        del buffer[: end + 1]
        self._searched = 0
        return line

    def farewell(self, goodbye: Goodbye) -> bytes:
        too_big = b""
        if goodbye.code is Close.TOO_BIG:
            too_big = Encoded(wire.err(WireError(Code.TOO_LARGE, goodbye.reason))).framed(Framing.LINES)
        return too_big + Encoded(wire.goaway(goodbye)).framed(Framing.LINES)


class WebSocket:
    """WebSocket over the Sans-I/O protocol of ``websockets``, after the handshake."""

    framing = Framing.WEBSOCKET

    def __init__(self, stream: ByteReceiveStream, protocol: ServerProtocol, received: bytes) -> None:
        self._stream = stream
        self._protocol = protocol
        self._received = received
        self._messages: deque[bytes | bytearray] = deque()
        self._parts: bytearray | None = None
        self._refused: Goodbye | None = None

    async def read(self, replies: SendChannel[bytes]) -> bytes | bytearray:
        protocol = self._protocol
        while not self._messages:
            if self._refused is not None:
                raise self._refused
            if protocol.state is not OPEN:
                raise self._ended()
            data, self._received = self._received, b""
            protocol.receive_data(data or await _receive(self._stream))
            for event in protocol.events_received():
                if self._refused is None:
                    self._take(cast("Frame", event))
            # A close frame stays where it is until everything before it is written: see farewell.
            if protocol.state is OPEN and (pongs := b"".join(protocol.data_to_send())):
                await replies.send(pongs)
        return self._messages.popleft()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self._refused = Goodbye(Close.UNSUPPORTED, "a message is a text frame")
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONT:
            if self._parts is None:
                self._parts = bytearray()
            self._parts += frame.data
            if frame.fin:
                message, self._parts = self._parts, None
                try:
                    message.decode()
                except UnicodeDecodeError:
                    self._refused = Goodbye(Close.INVALID_UTF8, "a text frame is UTF-8")
                else:
                    self._messages.append(message)

    def _ended(self) -> Goodbye:
        sent = self._protocol.close_sent
        if self._protocol.close_rcvd is not None or sent is None:
            return Goodbye(Close.NORMAL, "the client left")
        known = any(sent.code == code for code in Close)
        return Goodbye(Close(sent.code) if known else Close.PROTOCOL_ERROR, sent.reason)

    def farewell(self, goodbye: Goodbye) -> bytes:
        if self._protocol.state is OPEN:
            self._protocol.send_close(int(goodbye.code), goodbye.reason)
        return b"".join(self._protocol.data_to_send())
