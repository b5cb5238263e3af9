"""Subscriptions: one goroutine that makes the broker's subscriptions follow the rooms that have members.

The hub may not wait for the broker, and a room may become empty, and full again, while the broker is still asked. So
the hub only says which room to look at; this goroutine compares what is wanted with what there is, one room at a time,
and therefore never has two requests about one room under way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from gochan import Channel, Event, sleep

from .broker.base import Broker, Unavailable

_PAUSE: Final = 0.2


class Subscriptions:
    """What this node is subscribed to."""

    def __init__(self, broker: Broker, wanted: Callable[[str], bool], look: Callable[[str], Awaitable[None]]) -> None:
        self.active: set[str] = set()
        self._broker = broker
        self._wanted = wanted
        self._look = look
        self._touched: dict[str, None] = {}
        self._bell = Channel[None](1, overflow="drop_newest")
        self._waiting: dict[str, Event] = {}

    def touch(self, room: str) -> None:
        """Look at this room again: it has become empty, or is empty no longer."""
        self._touched[room] = None
        self._bell.send_nowait(None)

    async def ready(self, room: str) -> None:
        """Wait until what is said in this room, which has a member, arrives at the node, and who is there is known."""
        while room not in self.active:
            await self._waiting.setdefault(room, Event()).wait()

    async def run(self) -> None:
        """Keep up, until cancelled."""
        async for _ in self._bell:
            while self._touched:
                touched, self._touched = self._touched, {}
                failed: list[str] = []
                for room in touched:
                    try:
                        await self._look_at(room)
                    except Unavailable:
                        failed.append(room)
                if failed:  # one pause for all of them: those that can be had must not wait for each that cannot
                    await sleep(_PAUSE)
                    self._touched |= dict.fromkeys(failed)

    async def _look_at(self, room: str) -> None:
        if not self._wanted(room):
            if waiting := self._waiting.pop(room, None):
                waiting.set()  # whoever still waits looks again
            self.active.discard(room)
            await self._broker.unsubscribe(room)
            return
        if room not in self.active:
            await self._broker.subscribe(room)
            await self._look(room)  # who joins first is to be told who is there on other nodes
            self.active.add(room)
        if waiting := self._waiting.pop(room, None):
            waiting.set()
