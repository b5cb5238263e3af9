"""What the brokers inside one process have in common: nodes that hear of events, of each other, and of who is there.

Shape
    One engine, which has the messages; for each node a ``LocalBroker``, which is that node's view of it. The engine
    calls ``announce`` when a message is kept; what then happens to it is the same for every engine.

    Announcing does not wait, so all nodes hear of a message in one step, and the events of a room come out in the
    order in which they were announced (B4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio

from gochan import Channel, ReceiveChannel

from ..wire.commands import Pos
from .base import PRESENCE_SECONDS, Control, Event, HistoryPage, Presence, Published, Resync, Unavailable
from .feed import CAPACITY, Feed
from .presence import Presences

_CONTROL_CAPACITY: Final = 256


class LocalEngine(ABC):
    """The messages of a broker, and the nodes of this process that share them."""

    def __init__(self) -> None:
        self.brokers: dict[str, LocalBroker] = {}
        # Dicts for sets, here and below: the order in which nodes are told must not change from run to run.
        self.listeners: dict[str, dict[Feed, None]] = {}
        self.presences = Presences()

    def broker(self, node: str, *, capacity: int = CAPACITY) -> LocalBroker:
        """A view for a node.

        Args:
            capacity: how many events the node may have unread before it has to read the history instead.

        Raises:
            ValueError: there is a node of that name.
        """
        if node in self.brokers:
            raise ValueError(f"there is a node {node!r} already: close its broker first")
        self.brokers[node] = broker = LocalBroker(self, node, capacity)
        return broker

    @abstractmethod
    async def publish(self, room: str, payload: bytes, *, key: str | None = None) -> Published:
        """``Broker.publish``."""

    @abstractmethod
    async def history(self, room: str, since: Pos | None, limit: int, reverse: bool = False) -> HistoryPage:
        """``Broker.history``."""

    @abstractmethod
    async def watch(self, room: str) -> None:
        """A node is about to listen to the room: its epoch must not change while somebody does."""

    def announce(self, event: Event) -> None:
        """Tell the nodes of a message that is kept."""
        for feed in self.listeners.get(event.room, ()):
            feed.tell(event)

    def announce_loss(self, room: str | None = None) -> None:
        """Tell the nodes that they may have missed something."""
        for broker in self.brokers.values():
            if room is None or broker.feed in self.listeners.get(room, ()):
                broker.feed.resync(room)


class LocalBroker:
    """A ``Broker`` of an engine in the same process."""

    def __init__(self, engine: LocalEngine, node: str, capacity: int) -> None:
        self.engine = engine
        self.feed = Feed(node, capacity)
        self._node = node
        self._control = Channel[Control](_CONTROL_CAPACITY, name=f"control of {node}")
        self._closed = False

    @property
    def node(self) -> str:
        return self._node

    @property
    def events(self) -> ReceiveChannel[Event | Resync]:
        return self.feed.channel

    @property
    def control(self) -> ReceiveChannel[Control]:
        return self._control

    async def publish(self, room: str, payload: bytes, *, key: str | None = None) -> Published:
        self._refuse_if_closed(room, key or "")
        return await self.engine.publish(room, payload, key=key)

    async def subscribe(self, room: str) -> None:
        self._refuse_if_closed(room)
        listeners = self.engine.listeners
        if self.feed in listeners.get(room, ()):
            return
        await self.engine.watch(room)
        self._refuse_if_closed()
        listeners.setdefault(room, {})[self.feed] = None

    async def unsubscribe(self, room: str) -> None:
        self._refuse_if_closed()
        self._unsubscribe(room)

    async def history(self, room: str, since: Pos | None, limit: int, reverse: bool = False) -> HistoryPage:
        self._refuse_if_closed(room)
        return await self.engine.history(room, since, limit, reverse)

    async def presence_add(self, room: str, sid: str, user: str, *, ttl: float = PRESENCE_SECONDS) -> None:
        self._refuse_if_closed()
        self.engine.presences.add(room, Presence(sid, user), self._node, anyio.current_time() + ttl)

    async def presence_remove(self, room: str, sid: str) -> None:
        self._refuse_if_closed()
        self.engine.presences.remove(room, sid)

    async def presence_list(self, room: str) -> Sequence[Presence]:
        self._refuse_if_closed()
        return self.engine.presences.present(room, anyio.current_time())

    async def control_send(self, node: str | None, command: Mapping[str, Any]) -> int:
        self._refuse_if_closed()
        brokers = self.engine.brokers
        to = list(brokers.values()) if node is None else [brokers[node]] if node in brokers else []
        return sum([broker._take(Control(self._node, command)) for broker in to])

    async def nodes(self) -> Sequence[str]:
        self._refuse_if_closed()
        return list(self.engine.brokers)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        del self.engine.brokers[self._node]
        for room in [room for room, feeds in self.engine.listeners.items() if self.feed in feeds]:
            self._unsubscribe(room)
        self.engine.presences.leave(self._node)
        self.feed.close()
        self._control.close()

    def _take(self, control: Control) -> bool:
        try:
            self._control.send_nowait(control)
        except anyio.WouldBlock:
            return False
        return True

    def _unsubscribe(self, room: str) -> None:
        feeds = self.engine.listeners.get(room)
        if feeds is not None:
            feeds.pop(self.feed, None)
            if not feeds:
                del self.engine.listeners[room]

    def _refuse_if_closed(self, *names: str) -> None:
        for name in names:
            name.encode()  # half a surrogate pair fails here, not in the middle of somebody else's batch
        if self._closed:
            raise Unavailable(f"the broker of node {self._node!r} is closed")

    def __repr__(self) -> str:
        return f"<LocalBroker {self._node!r} of {self.engine!r}{' closed' if self._closed else ''}>"
