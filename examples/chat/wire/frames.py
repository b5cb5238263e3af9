"""Frames: how a message is set apart from the next one, and one message's bytes for everybody."""

from __future__ import annotations

from enum import IntEnum

from .codec import Codec
from .commands import Json
from .json_codec import JSON


class Framing(IntEnum):  # an int: as part of a key it must be hashed quickly
    """How a message is set apart from the next one."""

    LINES = 1
    PREFIXED = 2
    WEBSOCKET = 3


class Encoded:
    """One message, turned into bytes at most once per codec and framing, however many clients it goes to.

    This is what makes a broadcast cheap. It holds only while no WebSocket extension is negotiated: with compression
    every connection would need bytes of its own.
    """

    __slots__ = ("_framed", "_payloads", "message", "size")

    def __init__(self, message: Json, size: int = 0) -> None:
        self.message = message
        self.size = size
        """Bytes of what it was made of, for whoever keeps it and has a bound."""
        self._payloads: dict[Codec, bytes] = {}
        self._framed: dict[tuple[Framing, Codec], bytes] = {}

    def framed(self, framing: Framing, codec: Codec = JSON) -> bytes:
        """The bytes to write: the same object for everybody who speaks this."""
        frame = self._framed.get((framing, codec))
        if frame is None:
            frame = self._framed[framing, codec] = enframe(self.encoded(codec), framing, binary=codec.binary)
        return frame

    def encoded(self, codec: Codec) -> bytes:
        """The message alone."""
        payload = self._payloads.get(codec)
        if payload is None:
            payload = self._payloads[codec] = codec.encode(self.message)
        return payload

    @property
    def payload(self) -> bytes:
        """The message alone, as JSON."""
        return self.encoded(JSON)


def enframe(payload: bytes, framing: Framing, *, binary: bool) -> bytes:
    """One message as a server writes it."""
    if framing is Framing.LINES:
        return payload + b"\n"
    if framing is Framing.PREFIXED:
        return len(payload).to_bytes(4, "big") + payload
    return _websocket_frame(0x82 if binary else 0x81, payload)


def text_frame(payload: bytes) -> bytes:
    """A server's WebSocket text frame."""
    return _websocket_frame(0x81, payload)


def _websocket_frame(first: int, payload: bytes) -> bytes:
    """RFC 6455, section 5.2: final and unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
