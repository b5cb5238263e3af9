"""Membership: how a session enters rooms, and comes back to where it was, without loss and without duplicates.

Shape
    enter     the hub notes the member, and keeps the room's latest messages from now on
    ready     the node is subscribed to the room
    history   everything after ``since``, from the broker
    arrive    the hub sends ``joined`` with that, then what it kept beyond it, and the member is live

    A member that falls behind (its outbox was full, a gap, a crash of the hub) takes the same way from ``history`` on,
    once its client has read everything that waits; as ordinary messages, part by part.

Why nothing is lost or doubled: an event comes out at the node only when it is in the history (B2 of the broker). So
after ``ready`` whatever the page does not have is still to come out, and the hub compares offsets when it gives (R3 of
``rooms``). Never a partial recovery: what does not follow on ``since`` is not given at all, and said so (``rec`` false,
or ``resync``).

Rejected: a buffer for each member on its way, as centrifuge has it. The room's own latest messages serve all of them,
and if they do not reach back far enough, reading another page does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import anyio

from gochan import ChannelClosed, sleep

from . import wire
from .broker.base import Event, HistoryPage, Unavailable
from .requests import Arrive, Depart, Enter, ask
from .rooms import Member
from .wire import Code, Pos, WireError

if TYPE_CHECKING:
    from .node import Node
    from .session import Session

log = logging.getLogger(__name__)

PAGE: Final = 300
"""Messages of one answer."""
_SIZE: Final = 256 * 1024
_PAUSE: Final = 0.2


class Memberships:
    """The rooms of one session."""

    def __init__(self, session: Session, node: Node) -> None:
        self.rooms: dict[str, Member] = {}
        self.recovered = 0
        self._recovered = node.telemetry.metrics.counter(
            "gochat_recovered_total", "Messages that members got from the history, by why", ("why",)
        )
        self._behind: dict[str, Member] = {}
        self._catching_up = False
        self._session = session
        self._node = node

    def need(self, room: str, id_: wire.Id) -> None:
        """Refuse a command that is for members only."""
        if room not in self.rooms:
            raise WireError(Code.CONFLICT, f"join {room!r} first", id_)

    # ---- entering ----

    async def join(self, join: wire.Join) -> None:
        """Enter a room; the hub answers.

        Raises:
            WireError: not now, or not at all.
        """
        if join.room in self.rooms:
            raise WireError(Code.CONFLICT, f"already in {join.room!r}", join.id)
        if len(self.rooms) >= self._node.settings.rooms:
            raise WireError(Code.LIMIT, f"a connection is in at most {self._node.settings.rooms} rooms", join.id)
        await self._session.has_read()
        hub = self._node.hub
        member = self.rooms[join.room] = Member(join.room)
        try:
            with anyio.fail_after(self._node.settings.broker_timeout):
                await ask(hub.register, Enter(client=self._session, member=member))
                await hub.subscriptions.ready(join.room)
                arrive = await self._first(join, member)
        except (Unavailable, TimeoutError) as error:
            await ask(hub.unregister, Depart(client=self._session, member=member))
            raise refusal(error, join.id) from None
        await ask(hub.register, arrive)
        log.info("%s joins %s", self._session.user, join.room)

    async def _first(self, join: wire.Join, member: Member) -> Arrive:
        broker, session = self._node.broker, self._session
        limit = min(join.limit or 0, PAGE)
        if join.since is None:
            page = await broker.history(join.room, None, limit, reverse=True)
            latest = fitting(page.events)
            return Arrive(client=session, member=member, reached=page.top, events=latest[::-1], join=join)
        page = await broker.history(join.room, join.since, PAGE)
        if not page.follows(join.since):
            return Arrive(client=session, member=member, reached=page.top, join=join, rec=False)
        events, reached = part(page, join.since)
        self._count(events, "return")
        return Arrive(
            client=session, member=member, reached=reached, events=events, more=reached != page.top, join=join, rec=True
        )

    # ---- catching up ----

    def behind(self, member: Member) -> None:
        """The member's client has messages up to ``last`` only: read the rest from the history."""
        member.live = False
        self._behind[member.room] = member
        if not self._catching_up:
            self._catching_up = self._session.spawn(self._catch_up)

    async def _catch_up(self) -> None:
        try:
            while self._behind:
                await self._session.outbox.drained()
                if self._session.outbox.goodbye is not None:
                    return
                room, member = next(iter(self._behind.items()))
                since = member.pos
                try:
                    page = await self._node.broker.history(room, since, PAGE)
                except Unavailable:
                    await sleep(_PAUSE)
                    continue
                if self._behind.get(room) is not member or member.pos != since or self.rooms.get(room) is not member:
                    if self.rooms.get(room) is not self._behind.get(room):
                        self._behind.pop(room, None)  # it has left, and may have come again
                    continue
                del self._behind[room]
                await ask(self._node.hub.register, self._next(member, page))
        except ChannelClosed:
            pass  # the hub has ended
        finally:
            self._catching_up = False

    def _next(self, member: Member, page: HistoryPage) -> Arrive:
        client, since = self._session, member.pos
        if not page.follows(since):
            return Arrive(client=client, member=member, reached=page.top, lost=True, since=since)
        events, reached = part(page, since)
        self._count(events, "behind")
        return Arrive(
            client=client, member=member, reached=reached, events=events, more=reached != page.top, since=since
        )

    def _count(self, events: Sequence[Event], why: str) -> None:
        self.recovered += len(events)
        self._recovered.inc(len(events), why)


def part(page: HistoryPage, since: Pos) -> tuple[list[Event], Pos]:
    """What of a page that goes on after ``since`` fits one answer, and where that ends."""
    events = fitting(page.events)
    return events, events[-1].pos if events else since


def fitting(events: Iterable[Event]) -> list[Event]:
    """The first of them, at least one, as far as one answer goes."""
    taken: list[Event] = []
    size = 0
    for event in events:
        size += len(event.payload)
        if taken and size > _SIZE:
            break
        taken.append(event)
    return taken


def refusal(error: Exception, id_: wire.Id) -> WireError:
    """What the client is told about a broker that did not answer."""
    if isinstance(error, TimeoutError):
        return WireError(Code.TIMEOUT, "this took too long; try again", id_, retry_ms=1000)
    return WireError(Code.UNAVAILABLE, "messages cannot be kept now; try again", id_, retry_ms=1000)
