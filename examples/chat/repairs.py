"""Repairs: one goroutine that reads what is missing between two events of a room, once for all its members.

The hub notices a gap, holds back what comes after it, and asks here; the answer comes back through a channel, like
everything the hub does. While the broker cannot be read the gap stays, and the room waits: silence, not a hole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gochan import Channel, SendChannel, sleep

from .broker.base import Broker, HistoryPage, Unavailable
from .wire import Pos

_PAGE: Final = 500
_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was read for a gap after ``since``."""

    room: str
    since: Pos | None
    page: HistoryPage


class Repairs:
    """The gaps of one node."""

    def __init__(self, broker: Broker, done: SendChannel[Repaired]) -> None:
        # Without a bound, as the hub must not wait: there is at most one question for each room.
        self._gaps = Channel[tuple[str, Pos | None]](math.inf, name="gaps")
        self.done = done
        self.count = 0
        self._broker = broker

    def ask(self, room: str, since: Pos | None) -> None:
        """Have what comes after ``since`` read, or, without it, only where the room stands."""
        self.count += 1
        self._gaps.send_nowait((room, since))

    async def run(self) -> None:
        """Answer, until cancelled."""
        async for room, since in self._gaps:
            await self.done.send(Repaired(room, since, await self._read(room, since)))

    async def _read(self, room: str, since: Pos | None) -> HistoryPage:
        while True:
            try:
                return await self._broker.history(room, since, 0 if since is None else _PAGE)
            except Unavailable:
                await sleep(_PAUSE)
