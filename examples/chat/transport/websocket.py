"""WebSocket over the Sans-I/O protocol of ``websockets``, after the handshake.

The subprotocol says which codec: ``gochat.json`` in text messages, ``gochat.pb`` in binary ones. Extensions are refused
(``wire.Encoded`` says why), which is the default of ``ServerProtocol``. What the library leaves to its user is done
here: a text message must be UTF-8, fragments are put together, and a close reason must fit into its frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

from websockets.exceptions import NegotiationError
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gochan import SendChannel

from ..wire import SUBPROTOCOL, Close, Framing, Goodbye, codecs
from .base import Source, receive, unheard

# Fragments without content do not count against the size of a message, and would never end it.
_MAX_FRAGMENTS: Final = 65536
_MAX_REASON: Final = 123  # bytes: a control frame has 125, the code takes two


def select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The first of those offered that this server speaks; none where none was offered, which means JSON.

    Raises:
        NegotiationError: it speaks none of them.
    """
    if not offered:
        return None
    known = codecs()
    for subprotocol in offered:
        if subprotocol in known:
            return subprotocol
    raise NegotiationError(f"the subprotocols are {', '.join(known)}")


class WebSocket:
    """WebSocket messages.

    Args:
        protocol: after its handshake.
        received: what came with the handshake.
    """

    framing = Framing.WEBSOCKET

    def __init__(self, stream: Source, protocol: ServerProtocol, received: bytes | bytearray) -> None:
        self.codec = codecs()[protocol.subprotocol or SUBPROTOCOL]
        self._stream = stream
        self._protocol = protocol
        self._received = bytes(received)
        self._messages: deque[bytes | bytearray] = deque()
        self._parts: bytearray | None = None
        self._fragments = 0
        self._refused: Goodbye | None = None

    async def read(self, replies: SendChannel[bytes], heard: Callable[[], None] = unheard) -> bytes | bytearray:
        """The next message, put together from its fragments."""
        protocol = self._protocol
        while not self._messages:
            if self._refused is not None:
                raise self._refused
            if protocol.state is not OPEN:
                raise self._ended()
            data, self._received = self._received, b""
            protocol.receive_data(data or await receive(self._stream, heard))
            for event in protocol.events_received():
                if self._refused is None:
                    self._take(cast("Frame", event))
            # A close frame stays where it is until everything before it is written: see farewell.
            if protocol.state is OPEN and (pongs := b"".join(protocol.data_to_send())):
                await replies.send(pongs)
        return self._messages.popleft()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            if (frame.opcode is Opcode.BINARY) is not self.codec.binary:
                kind = "binary" if self.codec.binary else "text"
                self._refused = Goodbye(Close.UNSUPPORTED, f"a message is a {kind} frame")
                return
            self._parts, self._fragments = bytearray(), 0
        elif frame.opcode is not Opcode.CONT:
            return
        assert self._parts is not None, "the protocol lets no fragment pass that continues nothing"
        self._parts += frame.data
        self._fragments += 1
        if frame.fin:
            message, self._parts = self._parts, None
            self._complete(message)
        elif self._fragments > _MAX_FRAGMENTS:
            self._refused = Goodbye(Close.TOO_BIG, f"a message is at most {_MAX_FRAGMENTS} fragments")

    def _complete(self, message: bytearray) -> None:
        if not self.codec.binary:
            try:
                message.decode()
            except UnicodeDecodeError:
                self._refused = Goodbye(Close.INVALID_UTF8, "a text frame is UTF-8")
                return
        self._messages.append(message)

    def _ended(self) -> Goodbye:
        sent = self._protocol.close_sent
        if sent is None or sent == self._protocol.close_rcvd:
            return Goodbye(Close.NORMAL, "the client left")
        known = any(sent.code == code for code in Close)
        return Goodbye(Close(sent.code) if known else Close.PROTOCOL_ERROR, sent.reason)

    def farewell(self, goodbye: Goodbye) -> bytes:
        """A close frame, unless one was sent; pongs that are still owed go before it."""
        if self._protocol.state is OPEN:
            reason = goodbye.reason.encode()[:_MAX_REASON].decode(errors="ignore")
            self._protocol.send_close(int(goodbye.code), reason)
        return b"".join(self._protocol.data_to_send())
