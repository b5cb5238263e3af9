"""The hub: one goroutine that owns the room, and selects over who comes, who goes and what is said.

Shape
    Sessions send to four channels; the hub receives from them in one ``select``, does one thing at a time, and answers
    into the outboxes of its members. As in Go's classic chat, there is no lock, because there is nobody to lock out.

Invariants
    H1  Only the hub's goroutine touches ``members`` and ``users``.
    H2  The hub never waits for a client. A member whose outbox is full is dropped as too slow, one whose outbox is
        closed is on its way out already; neither disturbs the others.
    H3  ``users`` counts the members of each name. A name is announced when its first session joins and when its last
        one leaves: one person with two windows comes once.
    H4  Every member gets the same messages in the same order, its own included, and the ack before its own.
    H5  What one session asks is done in the order in which it asks: the channels are rendezvous, so a session's next
        command cannot start before the hub has taken the one before. (With buffers, ``leave`` could overtake ``say``:
        select chooses among ready channels at random.)
    H6  When the hub has ended, its channels are closed: nobody waits for it in vain.

Why not a lock around a dict: whoever broadcasts would hold it while it goes through every member, and whoever is
cancelled in between would leave some members told and some not.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Final, Protocol, assert_never

import anyio

from gochan import Channel, ChannelClosed, Event, select

from . import wire
from .wire import Close, Code, Encoded, Goodbye, Json, WireError

log = logging.getLogger(__name__)

LOBBY: Final = "lobby"


class Client(Protocol):
    """What the hub knows of a session."""

    @property
    def user(self) -> str:
        """The name it said hello with."""
        ...

    def offer(self, frame: Encoded) -> None:
        """Put a message into the outbox: WouldBlock when it is full, ChannelClosed when the client is leaving."""
        ...

    def drop(self, goodbye: Goodbye) -> None:
        """Send it away without what still waits in its outbox."""
        ...


class Hub:
    """The one room, ``lobby``."""

    def __init__(self) -> None:
        self.register = Channel[tuple[Client, wire.Join]](name="register")
        self.unregister = Channel[tuple[Client, wire.Leave | None]](name="unregister")
        self.broadcast = Channel[tuple[Client, wire.Say]](name="broadcast")
        self.who = Channel[tuple[Client, wire.Who]](name="who")
        self.stop = Event()
        self.members: set[Client] = set()
        self.users: Counter[str] = Counter()

    async def run(self) -> None:
        """Serve the sessions until ``stop`` is set."""
        try:
            while True:
                match await select(self.register, self.unregister, self.broadcast, self.who, self.stop):
                    case (0, (client, join)):
                        self._join(client, join)
                    case (1, (client, leave)):
                        self._leave(client, leave)
                    case (2, (client, say)):
                        self._say(client, say)
                    case (3, (client, who)):
                        self._answer(client, wire.members(who.id, LOBBY, sorted(self.users)))
                    case (4, _):
                        return
                    case _ as never:
                        assert_never(never)
        except Exception as error:
            self._close(error)
            raise
        finally:
            self._close()

    def _join(self, client: Client, join: wire.Join) -> None:
        if join.room != LOBBY:
            self._refuse(client, Code.NOT_FOUND, f"there is no room {join.room!r}, only {LOBBY!r}", join.id)
        elif client in self.members:
            self._refuse(client, Code.CONFLICT, f"already in {LOBBY!r}", join.id)
        else:
            self.members.add(client)
            self.users[client.user] += 1
            log.info("%s joins", client.user)
            if self.users[client.user] == 1:
                self._tell(wire.pres(LOBBY, join=[client.user]), besides=client)
            # Last: if this finds a full outbox, the others hear that the client leaves, after they heard that it came.
            self._answer(client, wire.joined(join.id, LOBBY, sorted(self.users)))

    def _leave(self, client: Client, leave: wire.Leave | None) -> None:
        if leave is not None:
            if leave.room != LOBBY or client not in self.members:
                self._refuse(client, Code.CONFLICT, f"not in {leave.room!r}", leave.id)
                return
            self._answer(client, wire.ack(leave.id, LOBBY))
        if client in self.members:
            log.info("%s leaves", client.user)
            self._remove(client)

    def _say(self, client: Client, say: wire.Say) -> None:
        if say.room != LOBBY or client not in self.members:
            self._refuse(client, Code.CONFLICT, f"join {say.room!r} first", say.id)
            return
        self._answer(client, wire.ack(say.id, LOBBY))
        self._tell(wire.msg(LOBBY, client.user, say.body, time.time_ns() // 1_000_000, say.id))

    def _refuse(self, client: Client, code: Code, message: str, id_: wire.Id) -> None:
        self._answer(client, wire.err(WireError(code, message, id_)))

    def _answer(self, client: Client, message: Json) -> None:
        if not self._offer(client, Encoded(message)) and client in self.members:
            self._remove(client)

    def _tell(self, message: Json, besides: Client | None = None) -> None:
        """Everybody gets the message; whoever cannot take it is a member no longer, which the others are told."""
        pending = [message]
        while pending:  # ends: each turn but the first has one member less
            frame = Encoded(pending.pop(0))
            lost = [client for client in self.members if client is not besides and not self._offer(client, frame)]
            pending += [wire.pres(LOBBY, leave=[client.user]) for client in lost if self._forget(client)]

    def _remove(self, client: Client) -> None:
        if self._forget(client):
            self._tell(wire.pres(LOBBY, leave=[client.user]))

    def _forget(self, client: Client) -> bool:
        """Take out a member; whether it was the last of its name (H3)."""
        self.members.remove(client)
        self.users[client.user] -= 1
        if self.users[client.user]:
            return False
        del self.users[client.user]
        return True

    @staticmethod
    def _offer(client: Client, frame: Encoded) -> bool:
        try:
            client.offer(frame)
        except anyio.WouldBlock:
            log.info("%s is dropped: too slow", client.user)
            client.drop(Goodbye(Close.SLOW, "too slow: messages were not read in time"))
        except ChannelClosed:
            pass
        else:
            return True
        return False

    def _close(self, cause: Exception | None = None) -> None:
        for channel in (self.register, self.unregister, self.broadcast, self.who):
            channel.close(cause)

    def _check(self) -> None:
        assert self.users == Counter(client.user for client in self.members), "H3: users counts the members"
        assert all(count > 0 for count in self.users.values()), "H3: a name without a session is forgotten"
        assert self.users.keys().isdisjoint({""}), "a member has said hello"
