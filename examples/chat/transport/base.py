"""Transports: messages over a byte stream.

A transport reads messages and knows how they are framed and coded; it never writes on its own. Whatever has to be
answered below the protocol (WebSocket's pongs) goes into the outbox with everything else: there is one writer per
connection.

Reading ends with a ``Goodbye``, whose code says why: NORMAL when the client has left, else what it did wrong.

Bounds: at most one message and one read of 64 KiB are held. A message is refused when its length is known (the header
of a frame) or has been passed (a line), not when it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

import anyio

from gochan import SendChannel

from .. import wire
from ..wire import Close, Code, Codec, Encoded, Framing, Goodbye, WireError

PREFACE: Final = b"GCP1"
_READ: Final = 65536


class Source(Protocol):
    """What can be read from."""

    async def receive(self, max_bytes: int = ...) -> bytes:
        """What has arrived, at least one byte; anyio's EndOfStream or BrokenResourceError when nothing will."""
        ...


class Stream(Source, Protocol):
    """A connection, as the server needs it. One task may receive while another sends."""

    async def send(self, item: bytes) -> None:
        """Hand over everything; a cancelled send may have sent a part. anyio's BrokenResourceError when it cannot."""
        ...

    def try_write(self, data: bytes) -> int:
        """Write what can be written without waiting, and return how many bytes those were.

        0 is always a right answer: the rest is for ``send``, which also learns what is wrong, if something is. While a
        ``send`` is under way, and after one that did not end well, it is 0.
        """
        ...

    async def send_eof(self) -> None:
        """Say that nothing more comes; the other side may go on."""
        ...

    def abort(self) -> None:
        """Have closing forget what was not read by the other side, which then sees a reset."""
        ...

    def close(self) -> None:
        """Close at once; nobody may be receiving or sending."""
        ...

    @property
    def local_host(self) -> str:
        """The address on this side."""
        ...


class Transport(Protocol):
    """How one client's messages travel."""

    @property
    def framing(self) -> Framing:
        """How messages are set apart."""
        ...

    @property
    def codec(self) -> Codec:
        """What their bytes mean."""
        ...

    async def read(self, replies: SendChannel[bytes], heard: Callable[[], None] = ...) -> bytes | bytearray:
        """The next message; ``replies`` takes what the framing itself answers, ``heard`` is told when bytes come.

        Raises:
            Goodbye: there will be none.
        """
        ...

    def farewell(self, goodbye: Goodbye) -> bytes:
        """The last bytes to write."""
        ...


class Opening(Enum):
    """What a client speaks, by its first bytes."""

    LINES = "JSON lines"
    PREFIXED = "Protobuf behind its length"
    HTTP = "HTTP, perhaps for a WebSocket"


def recognise(received: bytes | bytearray) -> Opening | None:
    """What a client speaks; ``None`` while its first bytes may still become one thing or another."""
    if received.startswith(PREFACE):
        return Opening.PREFIXED
    if PREFACE.startswith(received):  # nothing yet, or the G that may as well begin a GET
        return None
    return Opening.HTTP if b"A" <= received[:1] <= b"Z" else Opening.LINES


def unheard() -> None:
    """For whoever does not need to know when bytes come."""


async def receive(stream: Source, heard: Callable[[], None]) -> bytes:
    """More bytes, or the goodbye of a client that has left."""
    try:
        received = await stream.receive(_READ)
    except anyio.EndOfStream:
        raise Goodbye(Close.NORMAL, "the client left") from None
    except anyio.BrokenResourceError:
        raise Goodbye(Close.NORMAL, "the connection broke") from None
    heard()
    return received


def last_messages(goodbye: Goodbye, framing: Framing, codec: Codec) -> bytes:
    """The farewell where closing has no code of its own: a goaway, after an err for the message that was too long."""
    too_long = b""
    if goodbye.code is Close.TOO_BIG:
        too_long = Encoded(wire.err(WireError(Code.TOO_LARGE, goodbye.reason))).framed(framing, codec)
    return too_long + Encoded(wire.goaway(goodbye)).framed(framing, codec)
