"""The hub: one goroutine that owns the rooms, and selects over who comes, who goes and what is said.

Shape
    sessions ──register, unregister, local──▸ ┌─────┐ ──offer, answer, tell──▸ outboxes of sessions
    broker ──events, control───────────────▸  │ hub │ ──touch──▸ subscriptions ──▸ broker
    repairs, elsewhere ──read──────────────▸  └─────┘ ──gaps───▸ repairs ──▸ broker's history
                                                 └─come, go────▸ elsewhere ──▸ broker's presence, and other nodes

    Room messages never pass through the hub on their way in: the speaker's session publishes them and waits for that,
    so a broker that is slow delays the speaker alone. They come back as events, on every node in the same order.

Invariants
    H1  Only the hub's goroutine touches ``rooms`` and what is in them.
    H2  The hub never waits: not for a client, not for the broker. It yields, in between and within large rooms.
    H3  Every member of a room gets the same messages in the same order, each once (R3 of ``rooms``).
    H4  What one session asks is done in the order in which it asks: it waits for each request to be done.
    H5  After a failure nothing is known to be right but what the sessions themselves hold: ``rebuild`` makes the rooms
        from that, and sends every member to the history, which makes good what the failure swallowed.
    H6  When the hub has ended, its channels are closed: nobody waits for it in vain.

Presence is conflated: it is announced a moment after the first change, or before the next message of the room, so that
a storm of joins costs its members one message and not one each.

Why not a lock around a dict: whoever broadcasts would hold it while it goes through every member, and whoever is
cancelled in between would leave some members told and some not.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, assert_never

import anyio

from gochan import Channel, Event, Timer, after, select

from . import wire
from .broker.base import Broker, Control, Resync
from .broker.base import Event as Said
from .elsewhere import Elsewhere, Seen
from .registry import Registry
from .repairs import Repaired, Repairs, Standing
from .requests import Arrive, Ask, Depart, Enter, Request, failure
from .rooms import Batch, Client, Member, Room
from .subscriptions import Subscriptions
from .wire import Close, Code, Encoded, Goodbye, Pos, WireError

log = logging.getLogger(__name__)

_BATCH: Final = 64
_DRAIN: Final = 10_000
_TURN: Final = 256
_HELD: Final = 1000
_ANNOUNCE_EACH: Final = 0.0002
ANNOUNCE: Final = 0.05
"""Seconds in which changes of presence are gathered; more of them where more than 250 are to be told."""


class Hub:
    """The rooms of one node."""

    def __init__(self, broker: Broker, registry: Registry) -> None:
        self.register = Channel[Request](name="register")
        # Without a bound, so that a session can say that it ends even while it is being cancelled: it says so once.
        self.unregister = Channel[Request](math.inf, name="unregister")
        self.local = Channel[Request](name="local")
        self.stop = Event()
        self.rooms: dict[str, Room] = {}
        self.delivered = 0
        self.restarts = 0
        self._read = Channel[Repaired | Standing | Seen](name="read")
        self.elsewhere = Elsewhere(broker, lambda: self.rooms, self._read)
        self.subscriptions = Subscriptions(broker, lambda room: room in self.rooms, self.elsewhere.look)
        self.repairs = Repairs(broker, lambda: self.rooms, self._read)
        self._broker = broker
        self._registry = registry
        self._announce: Timer | None = None
        self._fresh: dict[Room, None] = {}
        self._asked: Request | None = None

    async def run(self) -> None:
        """Serve the sessions until ``stop`` is set."""
        events, control = self._broker.events, self._broker.control
        while True:
            match await select(
                self.register,
                self.unregister,
                self.local,
                events,
                control,
                self._read,
                self._announce,
                self.stop,
            ):
                case (0 | 1 | 2, request):
                    await self._serve(request)
                case (3, event):
                    await self._events([event, *self._waiting(_BATCH - 1)])
                case (4, control_):
                    self._control(control_)
                case (5, read):
                    await self._see(read)
                case (6, _):
                    self._announce = None
                    fresh, self._fresh = self._fresh, {}
                    for room in fresh:
                        self._tell_news(room)
                case (7, _):
                    while len(self.unregister):
                        await self._serve(self.unregister.receive_nowait())
                    return
                case _ as never:
                    assert_never(never)

    def close(self, cause: BaseException | None = None) -> None:
        """Nobody is served any longer (H6)."""
        for channel in (self.register, self.unregister, self.local):
            channel.close(cause)
        # What the others held went back to who asked; who leaves has gone on, and waits for this in a shield.
        while len(self.unregister):
            self.unregister.receive_nowait().done.set()

    def rebuild(self) -> None:
        """Make the rooms anew from what the sessions know (H5)."""
        self.restarts += 1
        before, self.rooms = self.rooms, {}
        self._announce = None
        self._fresh = {}
        present: dict[tuple[str, str], str] = {}
        for session in self._registry.sessions.values():
            for name, member in list(session.rooms.items()):
                if member.live and not member.present:  # what failed was its join
                    del session.rooms[name]
                    continue
                room = self._room(name)
                room.members[session] = member
                if member.present:
                    room.users[session.user] += 1
                    present[name, session.key] = session.user
                if member.live:
                    session.behind(member)
        for name in before.keys() - self.rooms.keys():
            self.subscriptions.touch(name)
        self.elsewhere.correct(present)
        self.elsewhere.look_again()
        asked, self._asked = self._asked, None
        if isinstance(asked, Ask):
            asked.failed = True  # its session answers
        elif asked is not None:
            asked.client.answer(Encoded(wire.err(failure(asked.id))))

    # ---- coming and going ----

    def _room(self, name: str) -> Room:
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room(name)
            self.subscriptions.touch(name)
        return room

    async def _serve(self, request: Request) -> None:
        self._asked = request
        try:
            await self._obey(request)
        finally:
            request.done.set()
        self._asked = None

    async def _obey(self, request: Request) -> None:
        match request:
            case Enter(client=client, member=member):
                self._room(member.room).members[client] = member
            case Arrive():
                self._arrive(request)
            case Depart():
                # Select chooses at random, but whoever goes hears what was said before it went, its own above all.
                await self._events(list(self._waiting(_DRAIN)))
                self._depart(request)
            case Ask(command=wire.Who() as who):
                room = self.rooms.get(who.room)
                request.users = sorted(room.users) if room else None
            case Ask(client=client, command=wire.Dm() as dm):
                request.delivered = self._registry.tell(dm.to, direct_message(client.user, dm.body))
            case _:
                raise TypeError(f"{request!r} is nothing to ask of a hub")

    def _arrive(self, arrive: Arrive) -> None:
        client, member = arrive.client, arrive.member
        room = self.rooms.get(member.room)
        if room is None or room.members.get(client) is not member:
            return  # it has left meanwhile
        if arrive.join is None and member.pos != arrive.since:
            client.behind(member)
            return
        member.live = True
        if arrive.join is not None:
            member.last, member.ep = arrive.reached.off, arrive.reached.ep
            room.arrivals += 1
            room.come(client.user)
            if len(room.members) == 1:
                room.news.clear()  # there is nobody to be told
            self._changed(room)
            self._joined(client, room, arrive)
            member.present = True
            self.elsewhere.come(room.name, client.key, client.user)
        elif arrive.lost:
            client.answer(Encoded(wire.resync(room.name)))
            # Moved on only when it is told: a failure in between would swallow it (H5).
            member.last, member.ep = arrive.reached.off, arrive.reached.ep
        elif arrive.events:
            client.offer(member, room.batch(arrive.events))
            if member.live:
                member.last = arrive.reached.off
        if not member.live:
            return
        if arrive.more:
            client.behind(member)
        elif room.pos is not None and room.pos.ep != member.ep:
            self._gap(room)
        elif room.pos is not None and room.pos.off > member.last:
            self._give(client, member, room.since(member.last))

    def _joined(self, client: Client, room: Room, arrive: Arrive) -> None:
        assert arrive.join is not None
        msgs = [frame.message for frame in room.frames(arrive.events)]
        members = sorted(room.users) if len(room.users) <= wire.MAX_MEMBERS else None
        answer = wire.joined(arrive.join.id, room.name, members, pos=arrive.reached, rec=arrive.rec, msgs=msgs)
        client.answer(Encoded(answer))

    def _depart(self, depart: Depart) -> None:
        client, leave = depart.client, depart.leave
        if leave is not None:
            if leave.room not in client.rooms:
                self._refuse(client, Code.CONFLICT, f"not in {leave.room!r}", leave.id)
                return
            self._remove(client, leave.room)
            client.answer(Encoded(wire.ack(leave.id, leave.room)))
            return
        for name, member in list(client.rooms.items()):
            if depart.member is None or member is depart.member:
                self._remove(client, name)

    def _remove(self, client: Client, name: str) -> None:
        member = client.rooms.pop(name)
        member.live = False
        room = self.rooms.get(name)
        if room is None or room.members.pop(client, None) is None:
            return
        if member.present:
            log.info("%s leaves %s", client.user, name)
            room.go(client.user)
            self.elsewhere.go(name, client.key)
            self._changed(room)
        if not room.members:
            del self.rooms[name]
            self.subscriptions.touch(name)

    def _changed(self, room: Room) -> None:
        if not room.news:
            return
        self._fresh[room] = None
        if self._announce is None:
            # Everybody is told, so while many come to a large room the telling grows with the square of its size.
            self._announce = after(max(ANNOUNCE, _ANNOUNCE_EACH * len(room.members)))

    def _tell_news(self, room: Room) -> None:
        came, went = room.announcement()
        if not came and not went:
            return
        frame = Encoded(wire.pres(room.name, came, went))
        for client, member in room.members.items():
            if member.present and [*came, *went] != [client.user]:  # nobody needs to hear that it came itself
                client.notify(room.name, frame)

    # ---- what is said ----

    def _waiting(self, limit: int) -> Iterator[Said | Resync]:
        events = self._broker.events
        try:
            for _ in range(limit):
                yield events.receive_nowait()
        except anyio.WouldBlock:
            pass

    async def _events(self, batch: Sequence[Said | Resync]) -> None:
        for name, group in groupby(batch, key=lambda event: event.room):
            if name is None:
                self.elsewhere.look_again()
                for room in self.rooms.values():
                    self._gap(room)
            elif name in self.rooms:
                await self._said(self.rooms[name], group)

    async def _said(self, room: Room, events: Iterable[Said | Resync], *, hold: bool = True) -> None:
        """Deliver what goes on where the room stands; leave out what is old; hold back what comes after a gap."""
        run: list[Said] = []
        for event in events:
            if isinstance(event, Said) and room.held is None:
                last = run[-1].pos if run else room.pos
                if last is None:
                    room.start(last := Pos(event.pos.off - 1, event.pos.ep))
                if last.ep == event.pos.ep and event.pos.off <= last.off + 1:
                    if event.pos.off == last.off + 1:
                        run.append(event)
                    continue
            # Before the gap is noted: a repair starts from where the room stands.
            await self._deliver(run)
            run = []
            if isinstance(event, Resync) or room.held is None:
                self._gap(room)
            if not hold:
                return
            if isinstance(event, Said) and room.held is not None:
                if len(room.held) < _HELD:
                    room.held.append(event)
                else:
                    room.again = True
        await self._deliver(run)

    async def _deliver(self, events: Sequence[Said]) -> None:
        room = self.rooms.get(events[0].room) if events else None
        if room is None:
            return
        self._tell_news(room)
        batch = room.batch(events)
        room.said(batch)
        # The dict cannot change while this yields: nobody but this goroutine changes it (H1).
        for n, (client, member) in enumerate(room.members.items(), 1):
            if member.live:
                self._give(client, member, batch)
            if n % _TURN == 0:
                await anyio.lowlevel.checkpoint()
        self.delivered += len(events) * len(room.members)

    @staticmethod
    def _give(client: Client, member: Member, batch: Batch | None) -> None:
        """What follows ``last`` goes out; what does not is old, or shows that something is missing (R3)."""
        if batch is None or batch.ep != member.ep or batch.first > member.last + 1:
            client.behind(member)
        elif batch.last > member.last:
            client.offer(member, batch if batch.first == member.last + 1 else batch.after(member.last))
            if member.live:
                member.last = batch.last

    # ---- gaps ----

    async def _see(self, read: Repaired | Standing | Seen) -> None:
        room = self.rooms.get(read.room)
        if room is None:
            return
        match read:
            case Repaired():
                await self._repaired(room, read)
            case Standing(top=top):
                if room.pos is None:
                    room.start(top)
                    self._catch_up(room)
                elif room.pos != top:
                    self._gap(room)  # or only late: then the history says so
            case Seen():
                room.reconcile(read)
                self._changed(room)
            case _ as never:
                assert_never(never)

    def _gap(self, room: Room) -> None:
        if room.held is None:
            room.held = []
            self.repairs.ask(room.name, room.pos)
        else:
            room.again = True

    async def _repaired(self, room: Room, repaired: Repaired) -> None:
        if room.held is None or room.pos != repaired.since:
            return  # another room of this name, which knows of no gap
        held, room.held = room.held, None
        again, room.again = room.again, False
        page = repaired.page
        if room.pos is not None and page.follows(room.pos):
            await self._deliver(page.events)
        else:
            room.start(page.top)
        self._catch_up(room)
        if again or room.pos != page.top:
            self._gap(room)  # there is more than was read
        else:
            # What does not go on from here is of an epoch that is over, or shows that more is missing. The history
            # knows which, and has it: so it is asked once more, and nothing of this is held any longer.
            await self._said(room, held, hold=False)

    @staticmethod
    def _catch_up(room: Room) -> None:
        """Who has not been given all of it reads the rest."""
        assert room.pos is not None
        for client, member in room.members.items():
            if member.live and (member.ep != room.pos.ep or member.last < room.pos.off):
                client.behind(member)

    # ---- the rest ----

    def _control(self, control: Control) -> None:
        try:
            self._do(control, control.command)
        except (LookupError, TypeError, ValueError) as error:  # of another version; no reason to end here
            log.warning("node %s said %r, which makes no sense: %r", control.sender, control.command.get("do"), error)

    def _do(self, control: Control, command: Mapping[str, Any]) -> None:
        match command.get("do"):
            case "kick":
                for session in list(self._registry.users.get(str(command["user"]), ())):
                    session.close(Goodbye(Close.KICKED, str(command.get("reason", "sent away"))))
            case "dm":
                self._registry.tell(str(command["to"]), direct_message(str(command["from"]), command["body"]))
            case "presence" if control.sender != self._broker.node:
                self.elsewhere.stamp += 1
                for name, key, user in command["news"]:
                    if room := self.rooms.get(name):
                        room.heard(key, user, self.elsewhere.stamp)
                        self._changed(room)
            case "presence":
                pass
            case "leave":
                log.info("node %s has left", control.sender)
            case other:
                log.debug("unknown control command %r from %s", other, control.sender)

    def _refuse(self, client: Client, code: Code, message: str, id_: wire.Id) -> None:
        client.answer(Encoded(wire.err(WireError(code, message, id_))))

    @property
    def users(self) -> Counter[str]:
        """Everybody who is in a room, with how many memberships; for tests and the debug page."""
        return sum((room.users for room in self.rooms.values()), Counter[str]())

    def _check(self) -> None:
        for name, room in self.rooms.items():
            assert room.name == name
            assert room.members, "an empty room is forgotten"
            room._check()


def direct_message(sender: str, body: Any) -> Encoded:
    return Encoded(wire.dm(sender, body, time.time_ns() // 1_000_000))
