"""Repairs: what is missing of a room is read from the history, once for all its members.

The hub notices a gap, holds back what comes after it, and asks here; the answer comes back through a channel, like
everything the hub does. While the broker cannot be read the gap stays, and the room waits: silence, not a hole.

A loss shows in what comes after it; the loss of a room's latest event shows in nothing. So, now and then, the history
is asked where each room stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gochan import Channel, SendChannel, Ticker, sleep

from .broker.base import Broker, HistoryPage, Unavailable
from .wire import Pos

_PAGE: Final = 500
_PAUSE: Final = 0.2
LOOK: Final = 40.0
"""Seconds between two looks at where the rooms stand."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was read for a gap after ``since``."""

    room: str
    since: Pos | None
    page: HistoryPage


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a room stands, by its history."""

    room: str
    top: Pos


class Repairs:
    """The gaps of one node."""

    def __init__(
        self, broker: Broker, rooms: Callable[[], Iterable[str]], done: SendChannel[Repaired | Standing]
    ) -> None:
        # Without a bound, as the hub must not wait: there is at most one question for each room.
        self._gaps = Channel[tuple[str, Pos | None]](math.inf, name="gaps")
        self.done = done
        self.count = 0
        self._broker = broker
        self._rooms = rooms

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

    async def look_around(self) -> None:
        """Have the hub compare where its rooms stand with the history, now and then, until cancelled."""
        async for _ in Ticker(LOOK):
            for room in list(self._rooms()):
                page = await self._read(room, None)
                await self.done.send(Standing(room, page.top))
