"""The broker in Valkey or Redis: any number of nodes, on any number of machines, are one chat (``--broker redis://…``).

Shape
    publish ──▸ publisher ──┐
    history, presence, … ───┴─▸ engine (scripts, one connection) ──▸ Valkey ──push──▸ subscriber ──▸ feed ──▸ events
    beat, once a second ────────────────────────────▸ │ ◂── mail ─── other nodes         └──▸ mail ──▸ control

    ``redis_scripts`` says what is kept and what one step is, ``redis_link`` keeps a connection, ``redis_engine`` calls,
    ``redis_publisher`` batches, ``redis_subscriber`` listens; here they are made one broker.

Invariants
    E1  A node beats once a second, and is listed for ``NODE_SECONDS`` after its last beat. While it listens to a room,
        the room keeps its numbers.
    E2  Control is at most once: a message waits in the node's mailbox, of a bounded size, until it is taken out.
    E3  Everything ends within a few seconds, whatever the engine does (G1, P1).

When the engine is gone: calls raise ``Unavailable`` within a second, and at once after the first few. It is looked for
all the time; when it is back, the breaker closes within a second or two, events come again, and a ``Resync`` says to
read the history. Whether rooms go on in their epoch then depends on what the engine keeps (R2 of ``redis_scripts``).
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from gochan import Channel, Group, ReceiveChannel, after, select, sleep
from gochan import Event as Happening

from ..telemetry import Metrics, NullMetrics
from ..wire.commands import Pos
from .base import KEY_SECONDS, PRESENCE_SECONDS, Control, Event, HistoryPage, Presence, Published, Resync, Unavailable
from .feed import CAPACITY, Feed
from .redis_address import Address, EngineError
from .redis_engine import Engine
from .redis_publisher import BATCH, Publisher
from .redis_scripts import ARRIVE, BEAT, DEPART, HISTORY, LEAVE, NODES, PRESENT, TELL, WATCH, Keys
from .redis_subscriber import Subscriber
from .window import Window, part

log = logging.getLogger(__name__)

NODE_SECONDS: Final = 10.0
"""How long a node is listed that was not heard of."""
START_SECONDS: Final = 10.0
"""How long an engine may take to be there when a node starts."""
_BEAT_SECONDS: Final = 1.0
_LEAVE_SECONDS: Final = 2.0
_UNREAD: Final = 256
_MAILBOX: Final = 64
_TOGETHER: Final = 64


class RedisBroker:
    """A ``Broker``. ``open_broker`` makes it."""

    def __init__(
        self,
        address: Address,
        node: str,
        window: Window,
        *,
        capacity: int,
        prefix: str,
        batch: int,
        metrics: Metrics | None = None,
    ) -> None:
        metrics = metrics or NullMetrics()
        self.feed = Feed(node, capacity)
        self.engine = Engine(address, metrics)
        self.keys = Keys(prefix)
        self.window = window
        self.publisher = Publisher(self.engine, self.keys, window, batch=batch)
        self.subscriber = Subscriber(address, self.keys, self.feed, self.keys.wake(node), self._heard)
        self._node = node
        self._incarnation = secrets.token_hex(8)
        self._control = Channel[Control](_UNREAD, name=f"control of {node}")
        self._mail = Channel[None](1, overflow="drop_newest", name=f"mail of {node}")
        self._present: dict[tuple[str, str], tuple[str, float]] = {}
        self._watched = anyio.current_time()
        self._seen = 1  # connections to the engine
        self._beating: float | None = None
        self._lag = metrics.gauge("gochat_broker_lag_seconds", "From a beat of this node until it heard it itself")
        self._named = Happening()
        self._stopped = Happening()
        self._ended = Happening()
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

    # ---- rooms ----

    async def publish(self, room: str, payload: bytes, *, key: str | None = None) -> Published:
        self._refuse_if_closed(room, key or "")
        return await self.publisher.publish(room, payload, key)

    async def subscribe(self, room: str) -> None:
        self._refuse_if_closed(room)
        await self.subscriber.subscribe(room)
        await self._watch(room)

    async def unsubscribe(self, room: str) -> None:
        self._refuse_if_closed()
        self.subscriber.unsubscribe(room)

    async def history(self, room: str, since: Pos | None, limit: int, reverse: bool = False) -> HistoryPage:
        self._refuse_if_closed(room)
        if limit < 0:
            raise ValueError(f"a limit is a number of messages, not {limit}")
        answer = await self.engine.call(
            HISTORY, self._room(room),
            int(self.window.seconds * 1000), int(KEY_SECONDS * 1000), "" if since is None else since.off, limit,
            int(reverse), room=True,
        )  # fmt: skip
        epoch, newest, first, entries = answer
        top = Pos(newest, epoch.decode())
        kept = {int(name.split(b"-", 1)[0]): fields[1] for name, fields in entries}
        offsets, complete = part(top, first, since, limit, reverse)
        return HistoryPage([Event(room, Pos(off, top.ep), kept[off]) for off in offsets], top, complete)

    async def _watch(self, room: str) -> None:
        await self.engine.call(WATCH, self._room(room), int(self.window.room_seconds * 1000), room=True)

    def _room(self, room: str) -> tuple[bytes, bytes]:
        return self.keys.room(room, b"m"), self.keys.room(room, b"s")

    # ---- who is there ----

    async def presence_add(self, room: str, sid: str, user: str, *, ttl: float = PRESENCE_SECONDS) -> None:
        self._refuse_if_closed(room, sid, user)
        self._present[room, sid] = user, anyio.current_time() + ttl
        await self._arrive(room, sid, user, ttl)

    async def _arrive(self, room: str, sid: str, user: str, ttl: float) -> None:
        await self.engine.call(ARRIVE, self._presence(room), sid, self._owner() + user.encode(), int(ttl * 1000))

    async def presence_remove(self, room: str, sid: str) -> None:
        self._refuse_if_closed()
        self._present.pop((room, sid), None)
        await self.engine.call(DEPART, self._presence(room), sid, b"")

    async def presence_list(self, room: str) -> Sequence[Presence]:
        self._refuse_if_closed(room)
        answer: list[bytes] = await self.engine.call(PRESENT, self._presence(room))
        pairs = zip(answer[::2], answer[1::2], strict=True)
        return [Presence(sid.decode(), _user(entry)) for sid, entry in pairs]

    def _presence(self, room: str) -> tuple[bytes, bytes]:
        return self.keys.room(room, b"p"), self.keys.room(room, b"x")

    def _owner(self) -> bytes:
        node = self._node.encode()
        return b"%d:%b" % (len(node), node)

    # ---- the nodes ----

    async def control_send(self, node: str | None, command: Mapping[str, Any]) -> int:
        self._refuse_if_closed(node or "")
        if node == "":
            return 0
        taken: int = await self.engine.call(
            TELL, (self.keys.alive,),
            node or "", json.dumps([self._node, command]), self.keys.mailbox(""), self.keys.wake(""),
            _MAILBOX, int(NODE_SECONDS * 1000),
        )  # fmt: skip
        return taken

    async def nodes(self) -> Sequence[str]:
        self._refuse_if_closed()
        names: list[bytes] = await self.engine.call(NODES, (self.keys.alive,))
        return [name.decode() for name in names]

    async def beat(self) -> bool:
        """Say that this node is there, once; whether it is known by its name now."""
        known = await self.engine.call(
            BEAT, self._names(), self._node, self._incarnation, int(NODE_SECONDS * 1000), self.keys.wake(self._node)
        )
        return bool(known)

    async def renew(self) -> None:
        """Keep the numbers of the rooms that this node listens to, and forget presences that are over."""
        now = anyio.current_time()
        self._present = {who: (user, until) for who, (user, until) in self._present.items() if until > now}
        rooms = list(self.subscriber.rooms)
        for start in range(0, len(rooms), _TOGETHER):
            milliseconds = int(self.window.room_seconds * 1000)
            await self.engine.batch(
                [(WATCH, self._room(room), (milliseconds,)) for room in rooms[start : start + _TOGETHER]]
            )
        self._watched = anyio.current_time()

    async def _return(self) -> None:
        """The engine is back, and may know nothing: of our rooms, and who is in them."""
        seen = self.engine.connections
        await self.renew()
        async with Group(errors="first", limit=_TOGETHER) as group:
            for (room, sid), (user, until) in list(self._present.items()):
                await group.go_when_free(self._arrive, room, sid, user, until - anyio.current_time())
        self._seen = seen

    def _names(self) -> tuple[bytes, bytes, bytes]:
        return self.keys.alive, self.keys.names, self.keys.mailbox(self._node)

    async def _beats(self) -> None:
        known = True
        await self._named.wait()
        while True:
            await sleep(_BEAT_SECONDS)
            sent = anyio.current_time()
            if self._beating is None:
                self._beating = sent
            try:
                was, known = known, await self.beat()
                if was and not known:
                    log.error("another node is called %r: control messages go there until it is gone", self._node)
                if known:
                    self.subscriber.beat(sent)
                if self._seen != self.engine.connections:
                    await self._return()
                elif sent - self._watched > self.window.room_seconds / 4:
                    await self.renew()
            except Unavailable:
                pass  # the engine's connection has told it
            self._show_lag()

    def _heard(self, word: bytes) -> None:
        if word == b"mail":
            self._mail.send_nowait(None)
        else:
            self._show_lag()
            self._beating = None

    def _show_lag(self) -> None:
        if self._beating is not None:
            self._lag.set(anyio.current_time() - self._beating)

    async def _post(self) -> None:
        await self._named.wait()
        async for _ in self._mail:
            try:
                while mail := await self.engine.command(b"LPOP", self.keys.mailbox(self._node), _MAILBOX):
                    for each in mail:
                        sender, command = json.loads(each)
                        await self._control.send(Control(sender, command))
            except Unavailable:
                self._mail.send_nowait(None)
                await sleep(_BEAT_SECONDS)

    # ---- the beginning and the end ----

    async def start(self, group: Group, start_seconds: float, name_seconds: float) -> None:
        """Connect, and take the name."""
        group.go(self._live, name=f"broker of {self._node}")
        await self.engine.reached(start_seconds)
        which, _ = await select(self.subscriber.up, after(start_seconds))
        if which == 1:
            raise EngineError(f"{self.engine.address} takes calls, and no subscription within {start_seconds:g} s")
        await self._take_name(name_seconds)
        self._named.set()

    async def _live(self) -> None:
        # A group inside a goroutine: to cancel the one around the block of ``open_broker`` would cancel the block.
        try:
            async with Group(errors="first") as group:
                for part_ in (self.engine, self.subscriber, self.publisher):
                    group.go(part_.run, name=type(part_).__name__)
                group.go(self._beats, name="beats")
                group.go(self._post, name="post")
                await self._stopped.wait()
                group.cancel()
        finally:
            self.feed.close()
            self._control.close()
            self._ended.set()

    async def _take_name(self, seconds: float) -> None:
        until = anyio.current_time() + seconds
        while not await self._beats_once():
            if anyio.current_time() >= until:
                raise ValueError(f"there is a node {self._node!r} already: give this one another name (--node)")
            await sleep(_BEAT_SECONDS / 2)

    async def _beats_once(self) -> bool:
        try:
            return await self.beat()
        except Unavailable as error:
            raise EngineError(f"the engine went away at the start: {error}") from error

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True), anyio.move_on_after(_LEAVE_SECONDS):
            await self._leave()
        self._stopped.set()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()

    async def _leave(self) -> None:
        """What is not done here is over when its time is up."""
        try:
            async with Group(errors="first", limit=_TOGETHER) as group:
                for room, sid in self._present:
                    await group.go_when_free(self.engine.call, DEPART, self._presence(room), sid, self._owner())
            await self.engine.call(LEAVE, self._names(), self._node, self._incarnation)
        except Unavailable as error:
            log.info("left without a word: %s", error)

    def _refuse_if_closed(self, *names: str) -> None:
        for name in names:
            name.encode()  # half a surrogate pair fails here, not in the middle of somebody else's batch
        if self._closed:
            raise Unavailable(f"the broker of node {self._node!r} is closed")

    def __repr__(self) -> str:
        return f"<RedisBroker {self._node!r} at {self.engine.address}{' closed' if self._closed else ''}>"


def _user(entry: bytes) -> str:
    length, _, rest = entry.partition(b":")
    return rest[int(length) :].decode()


@asynccontextmanager
async def open_broker(
    url: str,
    node: str,
    window: Window | None = None,
    *,
    capacity: int = CAPACITY,
    prefix: str = "gochat",
    batch: int = BATCH,
    start_seconds: float = START_SECONDS,
    name_seconds: float = NODE_SECONDS + 1,
    metrics: Metrics | None = None,
) -> AsyncGenerator[RedisBroker]:
    """A node's broker at an engine; it leaves when the block ends.

    Args:
        url: ``redis://[user:password@]host[:port][/database]``, or ``rediss://`` for TLS.
        node: the name of the node, like no other's.
        window: how much of each room is kept; all nodes of a chat should say the same.
        capacity: how many events the node may have unread before it has to read the history instead.
        prefix: begins the names of all keys; chats that share an engine have different ones.
        batch: how many publications are one write at most.
        start_seconds: how long to wait for an engine that is not there yet.
        name_seconds: how long to wait for the name: a node that crashed has it for ``NODE_SECONDS`` more.
        metrics: where the breaker's state and the lag of events are shown.

    Raises:
        EngineError: the URL is wrong, or the engine cannot be used, or is not there; the text says what to do.
        ValueError: there is a node of that name.
    """
    address = Address.parse(url)
    broker = RedisBroker(
        address, node, window or Window(), capacity=capacity, prefix=prefix, batch=batch, metrics=metrics
    )
    async with Group(errors="first") as group:
        try:
            await broker.start(group, start_seconds, name_seconds)
            yield broker
        finally:
            await broker.aclose()


__all__ = ["NODE_SECONDS", "START_SECONDS", "EngineError", "RedisBroker", "open_broker"]
