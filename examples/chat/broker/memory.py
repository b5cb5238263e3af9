"""The broker in memory: for one process, or for several nodes inside one. It is the reference for all others.

Shape
    For each room a ring of its latest messages, its top offset and the keys it has seen. A publish is one step
    without a wait: number it, keep it, tell the nodes. So nothing can come in between, and a cancelled publish has
    either not begun or is done.

Invariants
    M1  The ring holds the offsets up to ``top`` without a hole, at most ``window.messages``, none that was older than
        ``window.seconds`` when the room was last looked at.
    M2  A key leads to an offset that was given in this epoch, at most ``top``.
    M3  A room that is forgotten leaves no promise behind: from then on all rooms that are new begin in a new epoch.
        A room that somebody listens to is not forgotten.
    M4  All messages together, and the rooms that have some, take at most ``size`` bytes: the oldest go first, whatever
        room they are of. Only the latest of all stays in any case.
    M5  Of the rooms without a message those beyond ``rooms`` are forgotten, the oldest first, unless somebody listens
        or a key is remembered. Each publish and each look of a listener looks at two and adds one at most.

Why an epoch for the engine and not for each room
    A room that does not exist has an epoch as well, the one that it would begin in; so a look at any number of rooms
    that nobody ever spoke in costs no memory.

Why the oldest of all rooms, and not of the largest
    One queue in the order of the publications finds it in one step: it holds the room of each message, whose oldest one
    it is. A message that its own room let go first leaves its place in that queue behind, of which the room keeps
    count; when half of the places are such, they are swept out together: O(1) for each publish.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import anyio

from gochan import Event as Happening

from ..wire.commands import Pos
from .base import KEY_SECONDS, Event, HistoryPage, Published
from .local import LocalEngine
from .window import Window, part

MEMORY: Final = 256 * 1024 * 1024
_EMPTY_ROOMS: Final = 100_000
# What CPython takes for a message besides its payload, and for a room, about.
_MESSAGE_BYTES: Final = 400
_ROOM_BYTES: Final = 1200
_SLACK: Final = 1000


@dataclass(slots=True)
class _Room:
    name: str
    epoch: str
    active: float
    top: int = 0
    ring: deque[tuple[float, Event]] = field(default_factory=deque[tuple[float, Event]])
    keys: dict[str, int] = field(default_factory=dict[str, int])
    stale: int = 0
    """The first so many places in the queue of all messages are of those that this room has let go."""


class MemoryEngine(LocalEngine):
    """Messages in memory. They end with the process, and with them their epoch.

    Args:
        window: how much of each room is kept, and for how long.
        size: how many bytes of memory the messages of all rooms may take.
        rooms: how many rooms without a message are kept.
        clock: seconds, of any origin; the loop's clock by default.
    """

    def __init__(
        self,
        window: Window | None = None,
        *,
        size: int = MEMORY,
        rooms: int = _EMPTY_ROOMS,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        super().__init__()
        self.window = window or Window()
        self.size = size
        self.taken = 0
        """Bytes of memory that the messages take, about."""
        self._empty_rooms = rooms
        self._clock = clock
        self._epoch = secrets.token_hex(4)
        self._rooms: OrderedDict[str, _Room] = OrderedDict()  # the one that was active last is last
        self._empty: OrderedDict[str, None] = OrderedDict()  # those without a message, as they became so
        self._order: deque[_Room] = deque()  # a place for each message, the oldest first, and some of what is gone
        self._messages = 0
        self._keys: deque[tuple[float, _Room, str]] = deque()  # when to forget which
        self._open = Happening()
        self._open.set()

    async def publish(self, room: str, payload: bytes, *, key: str | None = None) -> Published:
        # Ready almost always, and then it yields once in a while, before anything has happened: a publisher without
        # a pause must not keep the loop for itself.
        await self._open.wait()
        now = self._clock()
        self._forget(now)
        kept = self._room(room, now)
        if key is not None:
            off = kept.keys.get(key)
            if off is not None:
                return Published(Pos(off, kept.epoch), duplicate=True)
            kept.keys[key] = kept.top + 1
            self._keys.append((now + KEY_SECONDS, kept, key))
        kept.top += 1
        event = Event(room, Pos(kept.top, kept.epoch), payload)
        self._keep(kept, now, event)
        self._trim(kept, now)
        self.announce(event)
        return Published(event.pos, duplicate=False)

    async def history(self, room: str, since: Pos | None, limit: int, reverse: bool = False) -> HistoryPage:
        await self._open.wait()
        kept = self._rooms.get(room)
        if kept is None:
            return HistoryPage((), Pos(0, self._epoch), part(Pos(0, self._epoch), 1, since, limit, reverse)[1])
        self._trim(kept, self._clock())
        top = Pos(kept.top, kept.epoch)
        first = kept.top - len(kept.ring) + 1
        offsets, complete = part(top, first, since, limit, reverse)
        return HistoryPage([kept.ring[off - first][1] for off in offsets], top, complete)

    async def watch(self, room: str) -> None:
        await self._open.wait()
        self._forget(now := self._clock())
        self._room(room, now)

    def pause(self) -> None:
        """Do nothing until ``resume()``: whoever publishes or reads waits, as for a server that was stopped."""
        if self._open.is_set():
            self._open = Happening()

    def resume(self) -> None:
        """Go on."""
        self._open.set()

    def lose(self, room: str | None = None) -> None:
        """Forget a room's messages, or everything, as a server does that loses its memory. The nodes are told."""
        for name in [room] if room is not None else list(self._rooms):
            self._drop(name)
        now = self._clock()
        for name in self.listeners:
            self._room(name, now)
        self.announce_loss(room)

    def _room(self, name: str, now: float) -> _Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room(name, self._epoch, now)
            self._empty[name] = None
        else:
            room.active = now
            self._rooms.move_to_end(name)
        return room

    def _trim(self, room: _Room, now: float) -> None:
        ring = room.ring
        while len(ring) > self.window.messages or (ring and ring[0][0] <= now - self.window.seconds):
            self._pop(room)
            room.stale += 1

    def _keep(self, room: _Room, now: float, event: Event) -> None:
        if not room.ring:
            self.taken += _ROOM_BYTES
            del self._empty[room.name]
        room.ring.append((now, event))
        self._order.append(room)
        self._messages += 1
        self.taken += len(event.payload) + _MESSAGE_BYTES
        while self.taken > self.size and self._messages > 1:
            self._pop(self._oldest())
        if len(self._order) > 2 * self._messages + _SLACK:
            self._order = deque(room for room in self._order if not self._was_stale(room))

    def _oldest(self) -> _Room:
        """The room of the oldest message of all, whose place is taken out."""
        while self._was_stale(room := self._order.popleft()):
            pass
        return room

    @staticmethod
    def _was_stale(room: _Room) -> bool:
        if not room.stale:
            return False
        room.stale -= 1
        return True

    def _pop(self, room: _Room) -> None:
        _, event = room.ring.popleft()
        self._messages -= 1
        self.taken -= len(event.payload) + _MESSAGE_BYTES
        if not room.ring:
            self.taken -= _ROOM_BYTES
            self._empty[room.name] = None

    def _forget(self, now: float) -> None:
        """What nobody can ask for any more. A publish adds one key and one room at most, and this takes out two."""
        for _ in range(2):
            if self._keys and self._keys[0][0] <= now:
                _, room, key = self._keys.popleft()
                del room.keys[key]
        for _ in range(2):
            if len(self._empty) <= self._empty_rooms:
                break
            name = next(iter(self._empty))
            if name in self.listeners or self._rooms[name].keys:
                self._empty.move_to_end(name)
            else:
                self._drop(name)
        for _ in range(2):
            if not self._rooms:
                return
            name, oldest = next(iter(self._rooms.items()))
            if oldest.active > now - self.window.room_seconds:
                return
            if name in self.listeners:
                self._room(name, now)
            else:
                self._drop(name)

    def _drop(self, name: str) -> None:
        room = self._rooms.get(name)
        if room is not None:
            while room.ring:
                self._pop(room)
                room.stale += 1
            del self._rooms[name], self._empty[name]
            self._epoch = secrets.token_hex(4)  # M3

    def __repr__(self) -> str:
        return f"<MemoryEngine rooms={len(self._rooms)} nodes={list(self.brokers)}>"

    def _check(self) -> None:
        for name, room in self._rooms.items():
            offsets = [event.pos.off for _, event in room.ring]
            assert offsets == list(range(room.top - len(offsets) + 1, room.top + 1)), f"M1: a hole in {name!r}"
            assert len(offsets) <= self.window.messages, f"M1: too many in {name!r}"
            assert (name in self._empty) == (not room.ring), f"M5: {name!r} is empty, or is not"
            assert all(1 <= off <= room.top for off in room.keys.values()), f"M2: a key of {name!r}"
        kept = [event for room in self._rooms.values() for _, event in room.ring]
        rooms = len(self._rooms) - len(self._empty)
        taken = sum(len(event.payload) + _MESSAGE_BYTES for event in kept) + rooms * _ROOM_BYTES
        assert (self.taken, self._messages) == (taken, len(kept)), "M4: what is taken"
        assert taken <= self.size or len(kept) == 1, "M4: too much is kept"
        places = Counter(map(id, self._order))
        for room in {id(room): room for room in self._order}.values():
            assert places[id(room)] == len(room.ring) + room.stale, f"M4: a place for each message of {room.name!r}"
        assert places.keys() >= {id(room) for room in self._rooms.values() if room.ring}, "M4: a place for each message"
        assert self.listeners.keys() <= self._rooms.keys(), "M3: somebody listens to a room that is forgotten"
        for broker in self.brokers.values():
            broker.feed._check()
