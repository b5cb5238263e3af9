"""JSON lines over TCP: one object per ``\\n``. What ``nc`` speaks."""

from __future__ import annotations

from collections.abc import Callable

from gochan import SendChannel

from ..wire import JSON, Close, Framing, Goodbye
from .base import Source, last_messages, receive, unheard


class Lines:
    """JSON lines.

    Args:
        received: what has been read already.
        max_size: the bytes of a line, without its end.
    """

    framing = Framing.LINES
    codec = JSON

    def __init__(self, stream: Source, received: bytes | bytearray, max_size: int) -> None:
        self._stream = stream
        self._buffer = bytearray(received)
        self._searched = 0
        self._max_size = max_size

    async def read(self, replies: SendChannel[bytes], heard: Callable[[], None] = unheard) -> bytes | bytearray:
        """The next line."""
        buffer = self._buffer
        while (end := buffer.find(b"\n", self._searched)) < 0 and len(buffer) <= self._max_size:
            self._searched = len(buffer)
            buffer += await receive(self._stream, heard)
        if not 0 <= end <= self._max_size:
            raise Goodbye(Close.TOO_BIG, f"a line is at most {self._max_size} bytes")
        line = buffer[:end]
        del buffer[: end + 1]
        self._searched = 0
        return line

    def farewell(self, goodbye: Goodbye) -> bytes:
        """A goaway line."""
        return last_messages(goodbye, self.framing, self.codec)
