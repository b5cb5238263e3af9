"""Who is in which room, for as long as somebody says so.

Invariants
    P1  A session is listed for ``ttl`` seconds after its last ``add``, then no more: whoever dies need not say so.
    P2  A room where nobody is any more is forgotten, by ``remove``, ``leave`` or the next look at it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import Presence


@dataclass(slots=True)
class _Entry:
    presence: Presence
    node: str
    until: float


class Presences:
    """The presences of all rooms. Times are the caller's, of any one clock."""

    def __init__(self) -> None:
        self.rooms: dict[str, dict[str, _Entry]] = {}

    def add(self, room: str, presence: Presence, node: str, until: float) -> None:
        """A session is there until then; said again, the later word counts."""
        self.rooms.setdefault(room, {})[presence.sid] = _Entry(presence, node, until)

    def remove(self, room: str, sid: str) -> None:
        """A session is not there."""
        entries = self.rooms.get(room)
        if entries is not None:
            entries.pop(sid, None)
            if not entries:
                del self.rooms[room]

    def present(self, room: str, now: float) -> list[Presence]:
        """Who is there, in the order in which they came."""
        entries = self.rooms.get(room, {})
        for sid in [sid for sid, entry in entries.items() if entry.until <= now]:
            self.remove(room, sid)
        return [entry.presence for entry in entries.values()]

    def leave(self, node: str) -> None:
        """A node goes, with everybody on it."""
        for room, entries in list(self.rooms.items()):
            for sid in [sid for sid, entry in entries.items() if entry.node == node]:
                self.remove(room, sid)
