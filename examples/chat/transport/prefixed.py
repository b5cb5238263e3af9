"""Messages behind their length over TCP: after the preface ``GCP1``, 4 bytes (big-endian) and so many bytes, each time.

Servers begin with no preface: what they send is messages from the first byte on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gochan import SendChannel

from ..wire import Close, Codec, Framing, Goodbye
from .base import Source, last_messages, receive, unheard

_HEADER: Final = 4


class Prefixed:
    """Messages behind their length.

    Args:
        received: what has been read already, after the preface.
        max_size: the bytes of a message.
        codec: what they mean; Protobuf, for clients of today.
    """

    framing = Framing.PREFIXED

    def __init__(self, stream: Source, received: bytes | bytearray, max_size: int, codec: Codec) -> None:
        self.codec = codec
        self._stream = stream
        self._buffer = bytearray(received)
        self._max_size = max_size

    async def read(self, replies: SendChannel[bytes], heard: Callable[[], None] = unheard) -> bytes | bytearray:
        """The next message."""
        await self._have(_HEADER, heard)
        end = _HEADER + int.from_bytes(self._buffer[:_HEADER], "big")
        if end > _HEADER + self._max_size:
            raise Goodbye(Close.TOO_BIG, f"a message is at most {self._max_size} bytes")
        await self._have(end, heard)
        message = self._buffer[_HEADER:end]
        del self._buffer[:end]
        return message

    async def _have(self, size: int, heard: Callable[[], None]) -> None:
        while len(self._buffer) < size:
            self._buffer += await receive(self._stream, heard)

    def farewell(self, goodbye: Goodbye) -> bytes:
        """A goaway."""
        return last_messages(goodbye, self.framing, self.codec)
