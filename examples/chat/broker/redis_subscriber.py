"""A node's subscriptions: a second connection, over which the engine tells of events.

Shape
    engine ──push──▸ this ──▸ feed (events of rooms)
                          └─▸ heard (anything else is of the node's own channel: a beat, mail)

    A connection of its own: a node that is flooded with events is cut off by the engine, and can still publish.

Invariants
    N1  ``subscribe`` returns when the engine has confirmed: what is published from then on comes out.
    N2  After a connection was lost, all rooms are subscribed to again, then there is a ``Resync``, of all of them, and
        before it no event: what was published meanwhile is read from the history, so no event follows a hole (B4).
    N3  Silence is noticed: the node's own beat has to come back over this connection, or it is given up.

Why not coredis' own ``PubSub``: it connects again by itself, and whoever reads from it does not learn that events were
lost in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import aclosing
from itertools import islice
from typing import Any, Final

import anyio
from coredis.exceptions import ConnectionError as EngineConnectionError
from coredis.exceptions import RedisError

from gochan import Event as Happening

from ..wire.commands import Pos
from .base import Event, Unavailable
from .feed import Feed
from .redis_address import Address
from .redis_link import TIMEOUT, Wire, keep
from .redis_scripts import Keys

log = logging.getLogger(__name__)

SUBSCRIBE: Final = 512
"""How many rooms are one command."""
_SILENCE: Final = 3.0


class Subscriber:
    """What a node listens to."""

    def __init__(self, address: Address, keys: Keys, feed: Feed, own: bytes, heard: Callable[[bytes], None]) -> None:
        self.rooms: dict[str, bytes] = {}
        """What is wanted, with its channel."""
        self.connections = 0
        self.up = Happening()
        """Set when it listened for the first time."""
        self._address = address
        self._keys = keys
        self._feed = feed
        self._own = own
        self._heard = heard
        self._names: dict[bytes, str] = {}
        self._wire: Wire | None = None
        self._asked: dict[bytes, int] = {}
        """How many confirmations are to come, of which channel."""
        self._confirmed: dict[bytes, Happening] = {}
        self._last = 0.0
        self._listening = False
        self._told = False

    async def run(self) -> None:
        """Listen, until cancelled."""
        await keep(self._address, self._serve, self._note)

    async def subscribe(self, room: str) -> None:
        """Wait until the engine has confirmed it.

        Raises:
            Unavailable: it has not, within ``TIMEOUT`` seconds.

        Cancellation: it is subscribed to, or will be.
        """
        channel = self._keys.room(room, b"e")
        if room not in self.rooms:
            self.rooms[room] = channel
            self._names[channel] = room
            self._confirmed[channel] = Happening()
            self._ask(channel)
        confirmed = self._confirmed[channel]
        try:
            with anyio.fail_after(TIMEOUT):
                await confirmed.wait()
        except TimeoutError:
            # It stays wanted until somebody says otherwise: who asks again may find it done.
            raise Unavailable(f"{self._address} did not confirm a subscription within {TIMEOUT:g} s") from None

    def unsubscribe(self, room: str) -> None:
        """No longer."""
        channel = self.rooms.pop(room, None)
        if channel is None:
            return
        del self._names[channel], self._confirmed[channel]
        if self._wire is not None:
            self._send(self._wire, b"UNSUBSCRIBE", [channel])

    def beat(self, sent: float) -> None:
        """The node's beat was published then; if what comes back has been silent for long, begin anew (N3)."""
        if self._wire is not None and sent - self._last > _SILENCE:
            log.warning("no events from %s for %g s: connecting again", self._address, sent - self._last)
            self._wire.cut()

    def _ask(self, channel: bytes) -> None:
        if self._wire is not None:
            self._asked[channel] = self._asked.get(channel, 0) + 1
            self._send(self._wire, b"SUBSCRIBE", [channel])

    @staticmethod
    def _send(wire: Wire, command: bytes, channels: list[bytes]) -> None:
        try:
            wire.connection.send_command(command, *channels)
        except (RedisError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            wire.cut()  # it is lost: the next one has it all

    async def _serve(self, wire: Wire) -> None:
        self._asked = {}
        for channel, confirmed in self._confirmed.items():
            if confirmed.is_set():
                self._confirmed[channel] = Happening()
        self._listening = False
        self._last = anyio.current_time()
        # From here on whoever subscribes sends for itself; these are those who did before. The node's own channel is
        # the last one, and confirmations come in order.
        self._wire = wire
        before = [*self.rooms.values(), self._own]
        try:
            for some in _batched(before, SUBSCRIBE):
                for channel in some:
                    self._asked[channel] = 1
                self._send(wire, b"SUBSCRIBE", some)
            await self._listen(wire)
        finally:
            self._wire = None

    async def _listen(self, wire: Wire) -> None:
        async with aclosing(wire.connection.push_messages) as pushes:
            async for push in pushes:
                self._last = anyio.current_time()
                self._take(push)
        raise EngineConnectionError("the connection was lost")

    def _take(self, push: list[Any]) -> None:
        kind, channel, data = push[0], push[1], push[2]
        if kind == b"message":
            if channel == self._own:
                self._heard(data)
            elif self._listening and (room := self._names.get(channel)) is not None:
                offset, epoch, payload = data.split(b":", 2)
                self._feed.tell(Event(room, Pos(int(offset), epoch.decode()), payload))
        elif kind == b"subscribe":
            left = self._asked.get(channel, 0) - 1
            if left > 0:
                self._asked[channel] = left
                return
            self._asked.pop(channel, None)
            if channel == self._own:
                self._complete()
            elif channel in self._confirmed:
                self._confirmed[channel].set()

    def _complete(self) -> None:
        self._listening = True
        self._told = False
        self.connections += 1
        if self.connections > 1:
            log.warning("listening to %s again: rooms are read from the history", self._address)
            self._feed.resync(None)
        self._heard(b"mail")  # there may be some
        self.up.set()

    def _note(self, error: Exception) -> None:
        if not self._told:  # of an outage once, not of each try
            self._told = True
            log.info("%s; no events until it works again", error)


def _batched(channels: list[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(channels)
    while some := list(islice(rest, size)):
        yield some
