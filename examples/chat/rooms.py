"""Rooms: who is in one, what was last said there, and what a run of its messages looks like to each format.

Invariants
    R1  ``users`` counts the present members of each name, here and ``elsewhere``. A name is news when its first
        session comes and when its last one goes; who comes and goes between two announcements is no news at all,
        unless somebody arrived in between, who was told of everybody (``arrivals``).
    R2  ``recent`` are the latest messages, without a hole, and end at ``pos``: at most 128, made of at most 256 KiB.
    R3  A live member has been given everything up to ``last``, in the epoch ``ep``, and nothing after it.

A member that is not live is on its way: it joins, or it was too slow, and its session reads the history. R3 is what
makes that safe: whatever the hub delivers is compared with ``last``, so that nothing comes twice or is left out, and
what does not go on right after it sends the member back to the history. There is no other rule about gaps.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from . import wire
from .broker.base import Event
from .elsewhere import Seen
from .wire import Codec, Encoded, Framing, Goodbye, Pos, WireError

log = logging.getLogger(__name__)

_RECENT: Final = 128
_UNTOLD: Final = 20_000
_RECENT_BYTES: Final = 256 * 1024  # of payloads; each format that is in use adds its own bytes


class Client(Protocol):
    """What the hub knows of a session. None of this waits."""

    @property
    def user(self) -> str:
        """The name it said hello with."""
        ...

    @property
    def key(self) -> str:
        """What it is called among the sessions of all nodes (``elsewhere``)."""
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

    def framed(self, framing: Framing, codec: Codec) -> bytes:
        data = self._bytes.get((framing, codec))
        if data is None:
            data = b"".join([frame.framed(framing, codec) for frame in self.frames])
            self._bytes[framing, codec] = data
        return data

    def after(self, off: int) -> Batch:
        """The part that comes after an offset."""
        return Batch(self.room, off + 1, self.ep, self.frames[off + 1 - self.first :])


def message(event: Event) -> wire.Json:
    """The ``msg`` that an event is. One that is damaged keeps its place: a hole would be read for ever."""
    try:
        fields = wire.loads(event.payload)
    except WireError as error:
        log.warning("message %d of %s cannot be read: %s", event.pos.off, event.room, error)
        fields = {"from": "?", "body": "(this message is damaged)", "ts": 0}
    return wire.published(event.room, event.pos, fields)


def _encoded(event: Event) -> Encoded:
    return Encoded(message(event), len(event.payload))


@dataclass(frozen=True, slots=True)
class Away:
    """A session on another node."""

    user: str
    stamp: int
    """Of when it was heard of."""


@dataclass(frozen=True, slots=True)
class News:
    """A name came, or went, and the members have not been told."""

    here: bool
    arrivals: int
    """Of the room, when it did."""
    mixed: bool = False
    """Some of the members have been told otherwise, and some have not: so it is news, whatever comes."""


@dataclass(slots=True, eq=False)
class Room:
    """One room, as this node sees it. Only the hub's goroutine touches it."""

    name: str
    members: dict[Client, Member] = field(default_factory=dict[Client, Member])
    users: Counter[str] = field(default_factory=Counter[str])
    news: dict[str, News] = field(default_factory=dict[str, "News"])
    arrivals: int = 0
    """How many members were told who is here."""
    crowded: bool = False
    """There were too many to be told about."""
    pos: Pos | None = None
    recent: deque[Encoded] = field(default_factory=deque[Encoded])
    _size: int = 0
    held: list[Event] | None = None
    """What arrives while a gap is being read from the history; ``None`` when there is no gap."""
    again: bool = False
    """More was lost since that was asked for: what is being read may be too old."""
    elsewhere: dict[str, Away] = field(default_factory=dict[str, "Away"])
    """The sessions in this room on other nodes, by their keys."""
    gone: dict[str, int] = field(default_factory=dict[str, int])
    """Those that went since the last look at the broker's list, with the stamp of when that was heard."""

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
        untold = self.news.pop(user, None)
        mixed = untold is not None and (untold.mixed or untold.arrivals != self.arrivals)
        if untold is None or mixed:
            self.news[user] = News(here, self.arrivals, mixed)

    def announcement(self) -> tuple[list[str], list[str]]:
        """Who came and who went since the last one.

        Nobody, while there are more names than ``joined`` lists: to tell a thousand of each that comes costs more than
        all that is said. Once there are fewer, everybody is told who is here, and who is gone.
        """
        if len(self.users) > wire.MAX_MEMBERS:
            self.crowded = True
            if len(self.news) > _UNTOLD:
                self.news.clear()
            return [], []
        news, self.news = self.news, {}
        here = list(self.users) if self.crowded else [user for user, each in news.items() if each.here]
        self.crowded = False
        return here, [user for user, each in news.items() if not each.here]

    def heard(self, key: str, user: str | None, stamp: int) -> None:
        """A session on another node came, or went."""
        known = self.elsewhere.pop(key, None)
        if user is None:
            self.gone[key] = stamp
            if known is not None:
                self.go(known.user)
            return
        self.gone.pop(key, None)
        self.elsewhere[key] = Away(user, stamp)
        if known is None:
            self.come(user)

    def reconcile(self, seen: Seen) -> None:
        """Believe a look at the broker's list, but for what was heard since it was asked for."""
        for key in [key for key, away in self.elsewhere.items() if away.stamp <= seen.asked and key not in seen.users]:
            self.go(self.elsewhere.pop(key).user)
        for key, user in seen.users.items():
            if key not in self.elsewhere and self.gone.get(key, 0) <= seen.asked:
                self.elsewhere[key] = Away(user, seen.asked)
                self.come(user)
        self.gone = {key: stamp for key, stamp in self.gone.items() if stamp > seen.asked}

    def said(self, batch: Batch) -> None:
        """Go on to the end of a batch that follows ``pos``."""
        recent = self.recent
        recent.extend(batch.frames)
        self._size += sum([frame.size for frame in batch.frames])
        while len(recent) > _RECENT or self._size > _RECENT_BYTES:
            self._size -= recent.popleft().size
        self.pos = Pos(batch.last, batch.ep)

    def start(self, pos: Pos) -> None:
        """Begin anew: what was before ``pos`` is no longer known here."""
        self.pos = pos
        self.recent.clear()
        self._size = 0

    def frames(self, events: Sequence[Event]) -> list[Encoded]:
        """The messages of a page of the history; those that are known here are not decoded and encoded once more."""
        if self.pos is None:
            return [_encoded(event) for event in events]
        ep, begin, recent = self.pos.ep, self.pos.off + 1 - len(self.recent), list(self.recent)
        return [
            recent[event.pos.off - begin]
            if begin <= event.pos.off <= self.pos.off and event.pos.ep == ep
            else _encoded(event)
            for event in events
        ]

    def batch(self, events: Sequence[Event]) -> Batch:
        """Messages without a hole, at least one."""
        first = events[0].pos
        return Batch(self.name, first.off, first.ep, self.frames(events))

    def since(self, off: int) -> Batch | None:
        """What was said after an offset of this epoch, if that is known here."""
        assert self.pos is not None
        missing = self.pos.off - off
        if missing > len(self.recent):
            return None
        return Batch(self.name, off + 1, self.pos.ep, list(self.recent)[len(self.recent) - missing :])

    def _check(self) -> None:
        present = Counter(client.user for client, member in self.members.items() if member.present)
        present.update(away.user for away in self.elsewhere.values())
        assert self.users == present, "R1: users counts the members"
        assert not self.elsewhere.keys() & self.gone.keys(), "nobody is there and gone"
        assert all(count > 0 for count in self.users.values()), "R1: a name without a session is forgotten"
        for client, member in self.members.items():
            assert client.rooms.get(self.name) is member, "both sides know of a membership"
        if self.pos is not None:
            offsets = [frame.message["off"] for frame in self.recent]
            assert offsets == list(range(self.pos.off + 1 - len(offsets), self.pos.off + 1)), "R2: no hole"
        assert self._size == sum(frame.size for frame in self.recent) <= _RECENT_BYTES, "R2: too much"
        assert len(self.recent) <= _RECENT, "R2: too many"
