"""Rooms: who is in one, what was last said there, and what a run of its messages looks like to each format.

Invariants
    R1  ``users`` counts the present members of each name. A name is news when its first session comes and when its
        last one goes; who comes and goes between two announcements is no news at all.
    R2  ``recent`` are the latest messages, without a hole, and end at ``pos``.
    R3  A live member has been given everything up to ``last``, in the epoch ``ep``, and nothing after it.

A member that is not live is on its way: it joins, or it was too slow, and its session reads the history. R3 is what
makes that safe: whatever the hub delivers is compared with ``last``, so that nothing comes twice or is left out, and
what does not go on right after it sends the member back to the history. There is no other rule about gaps.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from . import wire
from .broker.base import Event
from .wire import Codec, Encoded, Framing, Goodbye, Pos

_RECENT: Final = 128


class Client(Protocol):
    """What the hub knows of a session. None of this waits."""

    @property
    def user(self) -> str:
        """The name it said hello with."""
        ...

    @property
    def rooms(self) -> dict[str, Member]:
        """Its memberships; the hub takes out what ends, the session puts in what begins."""
        ...

    def offer(self, member: Member, batch: Batch) -> None:
        """Messages of a room. If they do not fit the member may be no longer live after this, or the session over."""
        ...

    def notify(self, room: str, presence: Encoded) -> None:
        """Who came and went."""
        ...

    def answer(self, frame: Encoded) -> None:
        """Something that has its place between the messages of the rooms."""
        ...

    def tell(self, frame: Encoded) -> bool:
        """Something for this client alone, of whatever time; whether it was taken."""
        ...

    def behind(self, member: Member) -> None:
        """The member has to read the history from ``last`` on."""
        ...

    def close(self, goodbye: Goodbye) -> None:
        """End the session, once everything before this is written."""
        ...


@dataclass(slots=True, eq=False)
class Member:
    """One session in one room."""

    room: str
    last: int = 0
    ep: str = ""
    live: bool = False
    present: bool = False
    """Whether it counts as being there: from the moment in which it is told that it is."""

    @property
    def pos(self) -> Pos:
        return Pos(self.last, self.ep)


class Batch:
    """Messages of one room without a hole, turned into bytes once for each format, whoever gets them."""

    __slots__ = ("_bytes", "ep", "first", "frames", "last", "room")

    def __init__(self, room: str, first: int, ep: str, frames: Sequence[Encoded]) -> None:
        self.room = room
        self.first = first
        self.last = first + len(frames) - 1
        self.ep = ep
        self.frames = frames
        self._bytes: dict[tuple[Framing, Codec], bytes] = {}

    @classmethod
    def of(cls, events: Sequence[Event]) -> Batch:
        first = events[0]
        return cls(first.room, first.pos.off, first.pos.ep, [encoded(event) for event in events])

    def framed(self, framing: Framing, codec: Codec) -> bytes:
        data = self._bytes.get((framing, codec))
        if data is None:
            data = b"".join([frame.framed(framing, codec) for frame in self.frames])
            self._bytes[framing, codec] = data
        return data

    def after(self, off: int) -> Batch:
        """The part that comes after an offset."""
        return Batch(self.room, off + 1, self.ep, self.frames[off + 1 - self.first :])


def encoded(event: Event) -> Encoded:
    """The ``msg`` that an event of the broker is."""
    return Encoded(wire.published(event.room, event.pos, wire.loads(event.payload)))


@dataclass(slots=True, eq=False)
class Room:
    """One room, as this node sees it. Only the hub's goroutine touches it."""

    name: str
    members: dict[Client, Member] = field(default_factory=dict[Client, Member])
    users: Counter[str] = field(default_factory=Counter[str])
    news: dict[str, bool] = field(default_factory=dict[str, bool])
    pos: Pos | None = None
    recent: deque[Encoded] = field(default_factory=lambda: deque[Encoded](maxlen=_RECENT))
    held: list[Event] | None = None
    """What arrives while a gap is being read from the history; ``None`` when there is no gap."""
    again: bool = False
    """More was lost since that was asked for: what is being read may be too old."""

    def come(self, user: str) -> None:
        self.users[user] += 1
        if self.users[user] == 1:
            self._changed(user, True)

    def go(self, user: str) -> None:
        self.users[user] -= 1
        if not self.users[user]:
            del self.users[user]
            self._changed(user, False)

    def _changed(self, user: str, here: bool) -> None:
        if self.news.pop(user, None) is None:
            self.news[user] = here

    def said(self, batch: Batch) -> None:
        """Go on to the end of a batch that follows ``pos``."""
        self.recent.extend(batch.frames)
        self.pos = Pos(batch.last, batch.ep)

    def start(self, pos: Pos) -> None:
        """Begin anew: what was before ``pos`` is no longer known here."""
        self.pos = pos
        self.recent.clear()

    def since(self, off: int) -> Batch | None:
        """What was said after an offset of this epoch, if that is known here."""
        assert self.pos is not None
        missing = self.pos.off - off
        if missing > len(self.recent):
            return None
        return Batch(self.name, off + 1, self.pos.ep, list(self.recent)[len(self.recent) - missing :])

    def _check(self) -> None:
        present = Counter(client.user for client, member in self.members.items() if member.present)
        assert self.users == present, "R1: users counts the members"
        assert all(count > 0 for count in self.users.values()), "R1: a name without a session is forgotten"
        for client, member in self.members.items():
            assert client.rooms.get(self.name) is member, "both sides know of a membership"
        if self.pos is not None:
            offsets = [frame.message["off"] for frame in self.recent]
            assert offsets == list(range(self.pos.off + 1 - len(offsets), self.pos.off + 1)), "R2: no hole"


def names(news: Iterable[tuple[str, bool]], here: bool) -> list[str]:
    return [user for user, now in news if now is here]
