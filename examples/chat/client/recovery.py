"""What was heard of one room: every message once and in order, and never a gap without a word.

Shape
    The last position (offset, epoch) that was handed out, and a step for each thing the server may say about the room.
    A step returns what there is to tell: messages, gaps. No I/O, no time.

Invariants
    1. Within one epoch the offsets handed out only grow: a message at or below the last one is a duplicate.
    2. Between two positions of one epoch that are handed out next to each other stands either nothing or a ``Gap``.
    3. A change of epoch, and a return that the server could not recover, is a ``Gap``.

Messages without an offset come from a server without a history; they pass as they are.

Prior art: centrifuge's client SDKs, which treat (offset, epoch) the same way, and hold that a recovery is complete or
none at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import wire
from .events import Gap, Message


def position(message: wire.Json) -> wire.Pos | None:
    """Where a message of the server stands, if it says so."""
    off, ep = message.get("off"), message.get("ep")
    if off is None or ep is None:
        return None
    if type(off) is not int or type(ep) is not str:
        raise TypeError("a position is a whole number and a string")
    return wire.Pos(off, ep)


def text(message: wire.Json) -> Message:
    """The message in a ``msg``, be it live or a part of a ``joined`` or ``history``."""
    return Message(
        str(message["room"]),
        str(message["from"]),
        str(message["body"]),
        message["ts"] / 1000,
        message.get("id", 0),
        position(message),
    )


class Recovery:
    """One room that we are in, or want to come back to."""

    __slots__ = ("_told", "last", "member", "room")

    def __init__(self, room: str, since: wire.Pos | None = None) -> None:
        self.room = room
        self.last = since
        self.member = False
        """Whether we have been in, and want to come back."""
        self._told = 0  # messages behind the last one of which the server has said that it dropped them

    def live(self, message: Message) -> Iterator[Message | Gap]:
        """A message has arrived."""
        here, last = message.position, self.last
        if here is None:
            yield message
            return
        if last is not None and last.ep == here.ep:
            if here.off <= last.off:
                return
            missed = here.off - last.off - 1
            if missed > self._told:
                yield Gap(self.room, last, here, missed - self._told)
        elif last is not None:
            yield Gap(self.room, last, here, None)
        self._told = 0
        self.last = here
        yield message

    def joined(self, top: wire.Pos | None, missed: list[Message]) -> Iterator[Message | Gap]:
        """We are in: for the first time, or again. The offsets alone decide whether something is missing.

        Args:
            top: where the room's history ends now.
            missed: what the server hands out of it.
        """
        last = self.last
        again = self.member or last is not None  # otherwise nothing can be missing
        self.member = True
        self._told = 0
        if again and (top is None or last is None or last.ep != top.ep or last.off > top.off):
            yield Gap(self.room, last, None, None)
            self.last = None
        for message in missed:
            yield from self.live(message)
        if top is None:
            return
        last = self.last
        if again and last is not None and last.ep == top.ep and last.off < top.off:
            yield Gap(self.room, last, None, top.off - last.off)
        self.last = top

    def lagged(self, count: int) -> Iterator[Gap]:
        """The server dropped messages that we did not read in time. Told now: the next one may be long in coming."""
        self._told += count
        yield Gap(self.room, self.last, None, count)

    def lost(self) -> Iterator[Gap]:
        """The server cannot say what we have missed; what comes next begins anew."""
        yield Gap(self.room, self.last, None, None)
        self.last, self._told = None, 0
