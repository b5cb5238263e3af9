"""One conversation with the server: over one connection, until that ends.

Shape
    One goroutine owns everything: the rooms, the requests that wait for an answer, the connection of the moment. It
    selects over what the server says, what the user asks, what waits to be written, the heartbeat and the wish to
    leave; a case that cannot be served now is ``None``, as Go's nil channel.

    ``State`` is what outlives the connection. What is left in it when the connection is lost, rooms to return to and
    requests without an answer, is what the next conversation begins with.
"""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, cast

import anyio

from gochan import Channel, ChannelClosed, Event, Group, Ticker, Timer, after, receive_ok, select, send

from .. import wire
from .backoff import LOST
from .events import (
    ChatEvent,
    DirectMessage,
    Disconnected,
    Expelled,
    GoAway,
    Joined,
    Presence,
    Problem,
    Reconnected,
)
from .link import Link, goodbye, nonsense, refusal
from .recovery import Recovery, position, text

_RETURNS: Final = 8  # rooms that are joined again at the same time
_SLOWER: Final = 0.05
_UNREAD: Final = 256  # frames that may wait for a server that speaks but does not read


class Request:
    """What was asked, and the place for its answer.

    Args:
        repeat: whether it may be sent again over another connection.
    """

    __slots__ = ("answer", "id", "message", "repeat")

    def __init__(self, id_: wire.Id, message: wire.Json, *, repeat: bool) -> None:
        self.id = id_
        self.message = message
        self.repeat = repeat
        self.answer = Channel[wire.Json](1)


class State:
    """What outlives a connection."""

    def __init__(self, backlog: int) -> None:
        self.events = Channel[ChatEvent](backlog, name="events")
        self.asked = Channel[Request](name="asked")
        self.leaving = Event()
        self.pending: dict[wire.Id, Request] = {}
        self.asking: dict[wire.Id, str] = {}
        """What somebody waits for, sent or not, by its id: an answer can be only one caller's."""
        self.rooms: dict[str, Recovery] = {}
        self.connected = False
        self.latency: float | None = None
        # Unlike a plain counter, the same under no other connection of this user: the server knows a `say` by its id.
        self.ids = (f"{prefix}-{n}" for prefix in [secrets.token_hex(8)] for n in itertools.count(1))
        self.numbers = itertools.count(secrets.randbelow(2**32))

    def happened(self, *events: ChatEvent) -> None:
        """Tell the user."""
        try:
            for event in events:
                self.events.send_nowait(event)
        except anyio.WouldBlock:
            reason = f"more than {self.events.capacity} events were not read"
            raise Disconnected(wire.Close.NORMAL, reason) from None

    def answered(self, id_: wire.Id, message: wire.Json) -> None:
        """Tell who asked, if he still waits."""
        request = self.pending.pop(id_, None)
        if request is not None:
            request.answer.send_nowait(message)

    def disconnected(self) -> None:
        """What may not be sent twice is given up."""
        self.connected = False
        for request in [request for request in self.pending.values() if not request.repeat]:
            del self.pending[request.id]
            request.answer.close()

    def finish(self) -> None:
        """There will be no other connection."""
        self.connected = False
        for request in self.pending.values():
            request.answer.close()
        self.asked.close()
        self.events.close()


class Conversation:
    """What is said over one link."""

    def __init__(self, state: State, link: Link, heartbeat: float) -> None:
        self._state = state
        self._link = link
        self._heartbeat = heartbeat
        self._out = deque[bytes]()
        self._to_return = deque[Recovery]()
        self._returns: dict[wire.Id, Recovery] = {}
        self._at_once = _RETURNS
        self._pause: Timer | None = None
        self._beat: tuple[int, float] | None = None
        self._goaway: Disconnected | None = None

    async def run(self, attempt: int) -> Disconnected:
        """To the end of the connection, which is returned.

        Args:
            attempt: how many connections it took to come back; 0 for the first of all.
        """
        end = Disconnected(LOST, "the connection was lost")
        async with Group(errors="first") as group:
            group.go(self._link.read, name="chat reader")
            group.go(self._link.write, name="chat writer")
            heartbeat = Ticker(self._heartbeat)
            try:
                self._begin(attempt)
                await self._serve(heartbeat)
            except Disconnected as error:
                end = error
            finally:
                heartbeat.stop()
                self._state.disconnected()
                group.cancel()
                await self._link.aclose()
        return end

    def _begin(self, attempt: int) -> None:
        state = self._state
        state.connected = True
        self._ping()
        if attempt:
            state.happened(Reconnected(bool(self._link.welcome.get("resumed", False)), attempt))
        asked = {request.message["room"] for request in state.pending.values() if request.message["t"] == "join"}
        for room in state.rooms.values():
            if room.member and room.room not in asked:
                self._to_return.append(room)
        self._return()
        for request in state.pending.values():
            if not self._waits_for_its_room(request):
                self._write(request.message)

    def _return(self) -> None:
        """Ask for the next rooms to be joined again: a few at a time, as fast as the server takes them."""
        while self._to_return and len(self._returns) < self._at_once and self._pause is None:
            room = self._to_return.popleft()
            if self._state.rooms.get(room.room) is room:  # not left meanwhile
                id_ = next(self._state.ids)
                self._returns[id_] = room
                self._write({"t": "join", "id": id_, "room": room.room, **since(room.last)})

    def _waits_for_its_room(self, request: Request) -> bool:
        """Whether a ``say`` has to wait until its room is joined again: before it would be refused."""
        if request.message["t"] != "say":
            return False
        room = self._state.rooms.get(request.message["room"])
        return room is not None and (room in self._to_return or room in self._returns.values())

    def _returned(self, id_: wire.Id) -> Recovery | None:
        """The room, if this was asked by ``_return``; then it is somebody else's turn, and what waited is said."""
        room = self._returns.pop(id_, None)
        if room is not None:
            for request in self._state.pending.values():
                if request.message["t"] == "say" and request.message["room"] == room.room:
                    self._write(request.message)
            self._return()
        return room

    async def _serve(self, heartbeat: Ticker) -> None:
        state, link = self._state, self._link
        left = False
        while True:
            out = self._out[0] if self._out and not link.outgoing.closed else None
            try:
                match await select(
                    receive_ok(link.incoming),
                    # One at a time, so that what the server does not take waits where it can be seen: with who asks.
                    None if self._out or self._goaway is not None else state.asked,
                    None if out is None else send(link.outgoing, out),
                    heartbeat,
                    None if left else state.leaving,
                    self._pause,
                ):
                    case (0, (message, ok)):
                        if not ok or message is None:
                            raise self._farewell()
                        self._understand(message)
                    case (1, request):
                        state.pending[request.id] = request
                        if not self._waits_for_its_room(request):
                            self._write(request.message)
                    case (2, _):
                        self._out.popleft()
                    case (3, now):
                        if now - link.heard_at > 2 * self._heartbeat:
                            raise Disconnected(LOST, "the server does not answer")
                        self._ping()
                    case (4, _):
                        left = True
                        self._write({"t": "bye"})
                    case (5, _):
                        self._pause = None
                        self._return()
            except ChannelClosed:  # the writer failed; what the server said before may still be read
                self._out.clear()

    def _farewell(self) -> Disconnected:
        end, away = self._link.end, self._goaway
        if away is None:
            return end
        code, reason = (away.code, away.reason) if end.code == LOST else (end.code, end.reason)
        return Disconnected(code, reason, after=away.after)

    def _write(self, message: wire.Json) -> None:
        if len(self._out) > _UNREAD + len(self._state.pending) + len(self._state.rooms):
            raise Disconnected(LOST, "the server does not read")
        self._out.append(self._link.frame(message))

    def _ping(self) -> None:
        if self._beat is None:
            self._beat = next(self._state.numbers), anyio.current_time()
            self._write({"t": "ping", "n": self._beat[0]})

    # ---- what the server says ----

    def _understand(self, message: wire.Json) -> None:
        try:
            self._handle(message)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise nonsense(repr(error)) from None

    def _handle(self, message: wire.Json) -> None:
        match message["t"]:
            case "msg":
                room = self._state.rooms.get(message["room"])
                said = text(message)
                self._state.happened(*([said] if room is None else room.live(said)))
            case "dm":
                self._state.happened(DirectMessage(str(message["from"]), str(message["body"]), message["ts"] / 1000))
            case "pres":
                self._state.happened(Presence(message["room"], strings(message, "join"), strings(message, "leave")))
            case "joined":
                self._entered(message)
            case "ack" | "members" | "history":
                self._state.answered(message["id"], message)
            case "ping":
                self._write({"t": "pong", "n": message["n"]})
            case "pong":
                self._pong(message)
            case "lag" | "resync" as kind:
                room = self._state.rooms.get(message["room"])
                if room is not None:
                    self._state.happened(*(room.lagged(int(message["n"])) if kind == "lag" else room.lost()))
            case "goaway":
                self._goaway = away = goodbye(message)
                self._state.happened(GoAway(away.code, away.reason, away.after, bool(message.get("resume", False))))
            case "err":
                self._failed(message)
            case _:
                pass  # from a newer server

    def _entered(self, message: wire.Json) -> None:
        returned = self._returned(message["id"])
        room = self._state.rooms.get(message["room"])
        if room is None:  # left meanwhile
            return
        told = list(room.joined(position(message), [text(item) for item in message.get("msgs") or ()]))
        if returned is not None:
            self._state.happened(joined(message))
        self._state.happened(*told)
        self._state.answered(message["id"], message)

    def _failed(self, message: wire.Json) -> None:
        id_ = message.get("id")
        room = self._returns.get(id_) if id_ is not None else None
        request = None if id_ is None else self._state.pending.get(id_)
        if room is not None and id_ is not None:
            refused = refusal(message)
            if refused.temporary:
                if refused.code != wire.Code.RATE_LIMITED:
                    reason = f"{room.room}: {refused.text}"
                    raise Disconnected(LOST, reason, after=refused.retry_after or 0.0)
                # A new connection would be just as fast, and be refused as this one. From now on one by one: those who
                # go on to be too fast are sent away.
                self._at_once = 1
                del self._returns[id_]
                self._to_return.appendleft(room)
                self._pause = self._pause or after(max(refused.retry_after or 0.0, _SLOWER))
                return
            self._returned(id_)
            if self._state.rooms.get(room.room) is room:
                del self._state.rooms[room.room]
                self._state.happened(Expelled(room.room, refused.code, refused.text))
        elif request is not None and request.message["t"] == "leave" and message["code"] == wire.Code.CONFLICT:
            # Sent again over a new connection, on which we never were in the room.
            self._state.answered(request.id, {"t": "ack", "id": id_})
        elif request is None or id_ is None:
            refused = refusal(message)
            self._state.happened(Problem(refused.code, refused.text, refused.temporary))
        else:
            self._state.answered(id_, message)

    def _pong(self, message: wire.Json) -> None:
        if self._beat is not None and message["n"] == self._beat[0]:
            took = anyio.current_time() - self._beat[1]
            self._beat = None
            before = self._state.latency
            self._state.latency = took if before is None else before + (took - before) / 8
        self._state.answered(message["n"], message)


def since(last: wire.Pos | None) -> wire.Json:
    """The field that asks for what came after a position."""
    return {} if last is None else {"since": {"off": last.off, "ep": last.ep}}


def joined(message: wire.Json) -> Joined:
    """What a ``joined`` says of the room itself."""
    recovered = message.get("rec")
    members = strings(message, "members") if message.get("members") is not None else ()
    return Joined(str(message["room"]), members, position(message), None if recovered is None else bool(recovered))


def strings(message: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """A field that is a list of strings."""
    items: Any = message[field]
    if not isinstance(items, list | tuple):
        raise TypeError(f"{field!r} is no list")
    return tuple(str(item) for item in cast("list[object]", items))
