"""What a broker is: rooms as numbered streams, with a window of history, shared by the nodes of one chat.

A broker answers for messages, not for members: it numbers what is published in a room, keeps the latest of it, and
tells every node that subscribed. Nodes say who is there (presence), and talk to each other (control).

Promises, of every broker
    B1  Numbers. What is published in a room gets the offsets 1, 2, 3 … without a hole, in one epoch. An epoch is a
        token: when it changes, the numbers have started anew, and nothing can be said about what was before.
    B2  First kept, then told. An event comes out at a node only when it is in the history: whoever reads the history
        after an event came out finds it there, or finds that it was trimmed since.
    B3  Once a key. Publishing with a key that the room has seen in the last ``KEY_SECONDS`` changes nothing and gives
        the position of then. So a publish whose outcome is unknown (cancelled, ``Unavailable``) is done again with
        the same key.
    B4  Events of a room come out at a node in the order of their offsets, each at most once. Where some are missing
        there is a ``Resync``: a node that reads too slowly loses events, never the knowledge that it lost some, and
        never holds up another node.
    B5  No partial history: a page has all that comes after ``since``, as far as the limit allows, or nothing.

Prior art
    Centrifugo's broker: offset and epoch, idempotency keys, "never a partial recovery".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gochan import ReceiveChannel

from ..wire.commands import Pos

KEY_SECONDS: Final = 300.0
"""How long the key of a publication is remembered, at least."""
PRESENCE_SECONDS: Final = 60.0
"""How long a presence lasts that nobody renews."""


@dataclass(frozen=True, slots=True)
class Event:
    """A message, where it stands in its room."""

    room: str
    pos: Pos
    payload: bytes


@dataclass(frozen=True, slots=True)
class Resync:
    """Events of a room were lost on the way, or may have been: read its history. Without a room: of all of them."""

    room: str | None


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publication."""

    pos: Pos
    duplicate: bool
    """The key had been seen: this is where the first one stands."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A part of a room's history."""

    events: Sequence[Event]
    """In the order that was asked for."""
    top: Pos
    """The latest message of the room when the page was read."""
    complete: bool
    """Nothing is missing from ``events``: they are all there is after ``since`` (all there ever was without one), or,
    in reverse, all there ever was before it. Otherwise the limit cut them, or messages are gone."""

    def follows(self, since: Pos) -> bool:
        """Whether a page that was read forwards goes on right after ``since``: nothing is gone in between.

        It may still have been cut by the limit; then its last event is where to read on.
        """
        if since.ep != self.top.ep:
            return False
        return self.events[0].pos.off == since.off + 1 if self.events else since.off == self.top.off


@dataclass(frozen=True, slots=True)
class Presence:
    """A session that is in a room, on whichever node."""

    sid: str
    user: str


@dataclass(frozen=True, slots=True)
class Control:
    """What one node says to others: to kick a user, to bring a direct message, that it is going."""

    sender: str
    command: Mapping[str, Any]


class BrokerError(Exception):
    """A broker could not do what it was asked for."""


class Unavailable(BrokerError):
    """Not now: the broker cannot be reached, is overloaded, has no space left, or is closed.

    A publication may have happened, or not: try again later, with the same key.
    """


class Broker(Protocol):
    """One node's view of a broker."""

    @property
    def node(self) -> str:
        """The name of the node."""
        ...

    @property
    def events(self) -> ReceiveChannel[Event | Resync]:
        """What is published in the rooms that the node subscribed to, by whichever node. Closed by ``aclose``."""
        ...

    @property
    def control(self) -> ReceiveChannel[Control]:
        """What nodes say to this one. Closed by ``aclose``."""
        ...

    async def publish(self, room: str, payload: bytes, *, key: str | None = None) -> Published:
        """Add a message to the room, and tell the nodes.

        Raises:
            Unavailable: it may have happened, or not.
            ValueError: the room or the key cannot be encoded in UTF-8.

        Cancellation: it may have happened, or not; publishing again with the same key does it once.
        """
        ...

    async def subscribe(self, room: str) -> None:
        """Have what is published from now on come out at ``events``; nothing changes if it does already."""
        ...

    async def unsubscribe(self, room: str) -> None:
        """No longer. Events that are on their way may still come out."""
        ...

    async def history(self, room: str, since: Pos | None, limit: int, reverse: bool = False) -> HistoryPage:
        """Read messages of a room that are still kept.

        Forwards: what comes after ``since``, the oldest first; all that is kept without one. In reverse: what comes
        before it, the latest first; from the latest one on without it. A position that the window does not reach back
        to, of another epoch, or ahead of the top gives an empty, incomplete page.

        Args:
            limit: at most so many; 0 reads the top alone.

        Raises:
            Unavailable: it could not be read.
        """
        ...

    async def presence_add(self, room: str, sid: str, user: str, *, ttl: float = PRESENCE_SECONDS) -> None:
        """Say that a session is in the room, or still is; good for ``ttl`` seconds."""
        ...

    async def presence_remove(self, room: str, sid: str) -> None:
        """Say that it is not."""
        ...

    async def presence_list(self, room: str) -> Sequence[Presence]:
        """Who is there, on all nodes; a node that died counts until its sessions' time is up."""
        ...

    async def control_send(self, node: str | None, command: Mapping[str, Any]) -> int:
        """Say something to a node, or to all of them, this one included.

        Returns:
            How many nodes took it: none if the node is gone, or too far behind. It is sent at most once.
        """
        ...

    async def nodes(self) -> Sequence[str]:
        """The names of the nodes that are there."""
        ...

    async def aclose(self) -> None:
        """Leave: close the channels, drop the subscriptions and presences of the node. What follows is refused."""
        ...
