"""How the client's messages are set apart: bytes to messages and back, without any I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from .. import wire
from .backoff import LOST
from .events import Disconnected

MAX_MESSAGE: Final = 1024 * 1024  # of what a server may send; its own limit for clients is far lower
PREFACE: Final = b"GCP1"


class Framing(Protocol):
    """Bytes to messages and back, without any I/O."""

    def request(self) -> bytes:
        """What opens the conversation."""
        ...

    def ready(self) -> bool:
        """Whether messages may be sent."""
        ...

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete with this data."""
        ...

    def owed(self) -> bytes:
        """What the protocol itself wants to be sent now."""
        ...

    def frame(self, payload: bytes) -> bytes:
        """A message as it goes over the stream."""
        ...

    def closing(self) -> Disconnected | None:
        """Why the server closed, if it said so in the protocol's own way."""
        ...


class Lines:
    """JSON lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def request(self) -> bytes:
        return b""

    def ready(self) -> bool:
        return True

    def feed(self, data: bytes) -> list[bytes]:
        # Only what is new is looked at: a long line in small pieces would else cost the square of its length.
        head, *more = data.split(b"\n")
        self._rest += head
        lines: list[bytes] = []
        if more:
            lines = [bytes(self._rest), *more[:-1]]
            self._rest = bytearray(more[-1])
        if len(self._rest) > MAX_MESSAGE:
            raise Disconnected(wire.Close.TOO_BIG, "the server sent a line that is too long")
        return lines

    def owed(self) -> bytes:
        return b""

    def frame(self, payload: bytes) -> bytes:
        return payload + b"\n"

    def closing(self) -> Disconnected | None:
        return None


class Prefixed:
    """Four bytes that say how long the message is, and the message."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def request(self) -> bytes:
        return PREFACE

    def ready(self) -> bool:
        return True

    def feed(self, data: bytes) -> list[bytes]:
        self._rest += data
        payloads: list[bytes] = []
        start = 0
        while len(self._rest) >= start + 4:
            size = int.from_bytes(self._rest[start : start + 4], "big")
            if size > MAX_MESSAGE:
                raise Disconnected(wire.Close.TOO_BIG, "the server sent a message that is too long")
            if len(self._rest) < start + 4 + size:
                break
            payloads.append(bytes(self._rest[start + 4 : start + 4 + size]))
            start += 4 + size
        del self._rest[:start]
        return payloads

    def owed(self) -> bytes:
        return b""

    def frame(self, payload: bytes) -> bytes:
        return len(payload).to_bytes(4, "big") + payload

    def closing(self) -> Disconnected | None:
        return None


class WebSocket:
    """WebSocket messages; pings and the closing handshake are answered by the protocol itself."""

    def __init__(self, host: str, port: int, subprotocol: str = wire.SUBPROTOCOL, *, binary: bool = False) -> None:
        address = f"[{host}]" if ":" in host else host
        self._subprotocol = subprotocol
        self._binary = binary
        self._protocol = ClientProtocol(
            parse_uri(f"ws://{address}:{port}/ws"), subprotocols=[Subprotocol(subprotocol)], max_size=MAX_MESSAGE
        )
        self._fragments = bytearray()

    def request(self) -> bytes:
        self._protocol.send_request(self._protocol.connect())
        return self.owed()

    def ready(self) -> bool:
        return self._protocol.state is State.OPEN

    def feed(self, data: bytes) -> list[bytes]:
        self._protocol.receive_data(data)
        payloads = list(self._messages())
        if error := self._protocol.handshake_exc:
            response = error.response if isinstance(error, InvalidStatus) else None
            busy = response is not None and response.status_code >= 500  # the server, or a proxy before it: for now
            code = LOST if busy else wire.Close.PROTOCOL_ERROR
            raise Disconnected(code, f"there is no chat at this address: {error}")
        if self.ready() and self._protocol.subprotocol is None:
            raise Disconnected(wire.Close.PROTOCOL_ERROR, f"the server does not speak {self._subprotocol}")
        return payloads

    def _messages(self) -> Iterator[bytes]:
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                continue
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._fragments += event.data
                if event.fin:
                    yield bytes(self._fragments)
                    self._fragments.clear()

    def owed(self) -> bytes:
        return b"".join(self._protocol.data_to_send())

    def frame(self, payload: bytes) -> bytes:
        if not self.ready():
            return b""
        if self._binary:
            self._protocol.send_binary(payload)
        else:
            self._protocol.send_text(payload)
        return self.owed()

    def closing(self) -> Disconnected | None:
        # What the server sent, or what the protocol sent because the server broke its rules.
        close = self._protocol.close_rcvd or self._protocol.close_sent
        return None if close is None else Disconnected(close.code, close.reason or "the server closed the connection")
