"""Codecs: what turns a message into bytes and back."""

from __future__ import annotations

from typing import Protocol

from .commands import Command, Json


class Codec(Protocol):
    """One format of messages. Whatever is said means the same in each."""

    @property
    def name(self) -> str:
        """``json`` or ``pb``; the subprotocol of WebSocket is ``gochat.`` and this."""
        ...

    @property
    def binary(self) -> bool:
        """Whether its bytes are no text."""
        ...

    def decode(self, payload: bytes | bytearray) -> Command:
        """The command in one message of a client.

        Raises:
            WireError: there is none, and the code says what is wrong.
        """
        ...

    def loads(self, payload: bytes | bytearray) -> Json:
        """Any message, unjudged: what a client reads with.

        Raises:
            WireError: this is no message in this format.
        """
        ...

    def encode(self, message: Json) -> bytes:
        """A message of either side."""
        ...
