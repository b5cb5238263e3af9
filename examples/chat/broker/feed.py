"""The events on their way to one node: a bounded queue that never holds up who fills it, and never loses silently.

Shape
    A channel, and the rooms that lost events because it was full. An event that does not fit is left out; in its
    place, once, comes a ``Resync`` of its room. Until that has been read, further events of the room are left out as
    well: the reader will read the history *after* it has read the ``Resync``, and finds them there (promise B2).

Invariants
    F1  At most ``capacity`` events are unread, and one ``Resync`` for each room that has one, and one for all.
    F2  A room is in ``lost`` from when an event of it was left out, at least until its ``Resync`` was read.
    F3  The events of a room that come out between two of its ``Resync`` have no hole.

How one knows what was read
    A channel counts what went in and what came out, in order; so the n-th value in has been read when n have come out.

Why not
    ``overflow="drop_oldest"``: the reader sees a hole when the next event of that room comes, which may be never.
    A goroutine for each node that waits for room: what it holds meanwhile is a queue again, without a bound.
"""

from __future__ import annotations

import math
from typing import Final

from gochan import Channel

from .base import Event, Resync

CAPACITY: Final = 1024


class Feed:
    """What one node has not read yet."""

    def __init__(self, name: str, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"a feed has room for at least one event, not {capacity}")
        # Bounded by F1, not by the channel: a Resync must always go in.
        self.channel = Channel[Event | Resync](math.inf, name=f"events of {name}")
        self.capacity = capacity
        self.lost: dict[str | None, int] = {}
        """The rooms that lost events, with the number of their ``Resync`` in the channel."""
        self.left_out = 0

    def tell(self, event: Event) -> None:
        """Queue an event, or see to it that the node knows."""
        if self.lost and self._is_lost(event.room):
            self.left_out += 1
        elif len(self.channel) < self.capacity:
            self.channel.send_nowait(event)
        else:
            self.left_out += 1
            self.resync(event.room)

    def resync(self, room: str | None) -> None:
        """Say that events of a room (None: of any) may have been lost."""
        if not self._is_lost(room):
            self.channel.send_nowait(Resync(room))
            self.lost[room] = self.channel.statistics().sent

    def close(self) -> None:
        """No more events."""
        self.channel.close()

    def _is_lost(self, room: str | None) -> bool:
        if not len(self.channel):
            self.lost.clear()
            return False
        number = self.lost.get(room)
        if number is None:
            return False
        if self.channel.statistics().received < number:
            return True
        del self.lost[room]
        return False

    def _check(self) -> None:
        unread = self.channel.statistics()
        waiting = sum(number > unread.received for number in self.lost.values())
        assert unread.buffered - waiting <= self.capacity, "F1: events unread"
        assert unread.buffered <= self.capacity + len(self.lost), "F1: one Resync for each room"
