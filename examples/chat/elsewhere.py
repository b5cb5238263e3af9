"""Elsewhere: who is in this node's rooms on other nodes, and who of this node is to be known there.

Shape
    hub ──come, go──▸ news ──┬─▸ broker: presence of each session, renewed now and then
                             └─▸ control: the same news, to all nodes at once
    broker's list of a room ──▸ seen ──▸ hub        control ──▸ hub

    News by control is quick but may be lost, and a node that died sends none. The broker's list is slow but right in
    the end. So a node believes the news, and looks at the list when a room begins, after an outage, and now and then.

Invariants
    E1  What is kept at the broker for this node becomes ``mine``: news waits until the broker has taken it.
    E2  A look never takes back what is newer than itself: everything heard has a stamp, and a look has the stamp of
        when it was asked for (``Room.reconcile``).
    E3  The sessions of a node that died are shown until the first look after the broker has missed the node itself.
        Presences expire as well, but only so that nobody need clean up: to renew ten thousand of them often would cost
        more than all the rest that an idle node does.

Users have a list of their own, ``@name``, which says on which nodes their sessions are: so a direct message goes to
those nodes, not to all. No room has such a name.

Rejected: presence in the rooms' message streams. It would need offsets and history, which nobody reads.
Prior art: centrifugo's presence (sessions with expiry, eventually right), Phoenix.Presence (news and repair).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

import anyio

from gochan import Channel, Group, SendChannel, Ticker, select, sleep

from .broker.base import Broker, Unavailable

log = logging.getLogger(__name__)

TTL: Final = 300.0
"""Seconds that a presence is good for; it is renewed after a third of them."""
LOOK: Final = 15.0
"""Seconds between two looks at the broker's lists."""
_AT_ONCE: Final = 100
_NEWS: Final = 500  # in one control message
_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Seen:
    """Who the broker says is in a room on other nodes, by the key of each session."""

    room: str
    users: Mapping[str, str]
    asked: int
    """The stamp of when it was asked."""


class Elsewhere:
    """The presences of one node, and those that it sees.

    Args:
        rooms: the names of the rooms that have members here.
        seen: where looks go; whoever receives them is the hub.
    """

    def __init__(self, broker: Broker, rooms: Callable[[], Iterable[str]], seen: SendChannel[Seen]) -> None:
        self.seen = seen
        self.stamp = 0
        """Grows with everything that is heard from other nodes."""
        self._broker = broker
        self._rooms = rooms
        self._keys = count(1)
        self._mine: dict[tuple[str, str], str] = {}
        self._news: dict[tuple[str, str], str | None] = {}
        self._bell = Channel[None](1, overflow="drop_newest")
        self._look_at_all = Channel[None](1, overflow="drop_newest")

    # ---- what the hub and sessions say; nothing here waits ----

    def new_key(self) -> str:
        """The name under which a session is present; a resumed one has the ``sid`` of another, but never its key."""
        return f"{self._broker.node}/{next(self._keys)}"

    def come(self, room: str, key: str, user: str) -> None:
        """A session of this node is in a room now."""
        self._tell(room, key, user)

    def go(self, room: str, key: str) -> None:
        """It no longer is."""
        self._tell(room, key, None)

    def correct(self, present: Mapping[tuple[str, str], str]) -> None:
        """The sessions that are in rooms, by room and key: a hub that failed may have kept some news to itself."""
        for room, key in {**self._mine, **self._news}:
            if not room.startswith("@") and (room, key) not in present:
                self.go(room, key)
        for (room, key), user in present.items():
            if self._news.get((room, key), self._mine.get((room, key))) != user:
                self.come(room, key, user)

    def online(self, user: str, key: str) -> None:
        """A session of this user is here."""
        self._tell(f"@{user}", key, self._broker.node)

    def offline(self, user: str, key: str) -> None:
        """It no longer is."""
        self._tell(f"@{user}", key, None)

    def look_again(self) -> None:
        """Something may have been missed, in any room."""
        self._look_at_all.send_nowait(None)

    def _tell(self, room: str, key: str, user: str | None) -> None:
        self._news[room, key] = user
        self._bell.send_nowait(None)

    # ---- what the broker says ----

    async def users(self, room: str) -> list[str]:
        """Who is in a room, wherever that is."""
        alive = await self._alive()
        return sorted({each.user for each in await self._broker.presence_list(room) if node_of(each.sid) in alive})

    async def direct(self, user: str, command: Mapping[str, Any]) -> int:
        """Say something to the sessions of a user on other nodes; to how many."""
        sessions = Counter(presence.user for presence in await self._broker.presence_list(f"@{user}"))
        del sessions[self._broker.node]
        return sum([n for node, n in sessions.items() if await self._broker.control_send(node, command)])

    async def look(self, room: str) -> None:
        """Have the hub see who is in a room on other nodes."""
        await self._look(room, await self._alive())

    async def _look(self, room: str, alive: frozenset[str]) -> None:
        asked = self.stamp
        others = alive - {self._broker.node}
        listed = await self._broker.presence_list(room)
        users = {presence.sid: presence.user for presence in listed if node_of(presence.sid) in others}
        await self.seen.send(Seen(room, users, asked))

    async def _alive(self) -> frozenset[str]:
        return frozenset(await self._broker.nodes())

    # ---- keeping up ----

    async def run(self) -> None:
        """Tell the broker, and look, until cancelled."""
        ticker = Ticker(LOOK)
        renewed = accompanied = anyio.current_time()
        while True:
            try:
                match await select(self._bell, ticker, self._look_at_all):
                    case (0, _):
                        await self.flush()
                    case (1, now):
                        if now - renewed >= TTL / 3:
                            renewed = now
                            await self._renew()
                        alive = await self._alive()
                        if len(alive) > 1:
                            accompanied = now
                        # The last of the others may have left somebody behind.
                        if now - accompanied <= 2 * LOOK:
                            await self._look_around(alive)
                    case (2, _):
                        await self._renew()
                        await sleep(LOOK / 3)  # the others have missed the same, and have to say again who is there
                        await self._look_around(await self._alive())
            except Unavailable:
                await sleep(_PAUSE)
                self._bell.send_nowait(None)

    async def flush(self) -> None:
        """Tell what is new.

        Raises:
            Unavailable: not all of it was taken; the rest is still to be told.
        """
        news = list(self._news.items())
        for part in parts(news, _AT_ONCE):
            await together([partial(self._keep, room, key, user) for (room, key), user in part])
        told = [[room, key, user] for (room, key), user in news if not room.startswith("@")]
        for part in parts(told, _NEWS):
            await self._broker.control_send(None, {"do": "presence", "news": part})

    async def _keep(self, room: str, key: str, user: str | None) -> None:
        if user is None:
            await self._broker.presence_remove(room, key)
            self._mine.pop((room, key), None)
        else:
            await self._broker.presence_add(room, key, user, ttl=TTL)
            self._mine[room, key] = user
        if self._news.get((room, key), _NOTHING) == user:  # it may have changed meanwhile
            del self._news[room, key]

    async def _renew(self) -> None:
        for part in parts(list(self._mine), _AT_ONCE):
            await together([partial(self._renew_one, room, key) for room, key in part])

    async def _renew_one(self, room: str, key: str) -> None:
        user = self._mine.get((room, key))
        if user is not None and self._news.get((room, key), user) == user:  # who is leaving is not renewed
            await self._broker.presence_add(room, key, user, ttl=TTL)

    async def _look_around(self, alive: frozenset[str]) -> None:
        for part in parts(list(self._rooms()), _AT_ONCE):
            await together([partial(self._look, room, alive) for room in part])


_NOTHING: Final = object()


def node_of(key: str) -> str:
    return key.rpartition("/")[0]


def parts(things: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return [things[n : n + size] for n in range(0, len(things), size)]


async def together(calls: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Make the calls side by side; the first failure is raised, once all have ended."""
    failures: list[Unavailable] = []

    async def attempt(call: Callable[[], Awaitable[None]]) -> None:
        try:
            await call()
        except Unavailable as error:
            failures.append(error)

    async with Group() as group:
        for call in calls:
            group.go(attempt, call)
    if failures:
        raise failures[0]
