"""A client: one user in the chat, over as many connections as it takes.

Shape
    ``Conversation`` is one connection; ``Client`` is what people use, and the goroutine that makes one connection after
    the other. Between two of them it selects over a timer and the wish to leave; requests wait at its door, in order.

    A request is a channel of capacity 1 that is filled with the answer, under the request's id. Those that may be
    repeated (all but a direct message and a ping) are sent again, with the same id, over the next connection. The
    server knows a ``say`` by its id, so nothing is said twice.

Invariants
    1. A ``say`` that returned was acknowledged; one that raised ``Disconnected`` may or may not have been said.
    2. Every message of a room is handed out once and in order, or an event says that some are missing (``recovery``).
    3. The end is one value, ``Disconnected``: every waiting and later request raises it, ``events`` ends.

Rejected: to wait while the queue of events is full. The user who awaits a ``say`` between two events would wait for
himself.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

import anyio

from gochan import ChannelClosed, Event, Group, ReceiveChannel, after, select

from .. import wire
from .backoff import LOST, Backoff, comes_back
from .conversation import Conversation, Request, State, joined, strings
from .conversation import since as from_
from .events import ChatEvent, Disconnected, HistoryPage, Joined, Reconnecting, Refused
from .framing import Framing
from .link import Dial, Format, Link, Transport, open_link, refusal, speak
from .recovery import Recovery, position, text

GOODBYE: Final = 1.0  # seconds the server has to answer `bye`


class Client:
    """One user in the chat.

    Example:
        async with Client.connect("127.0.0.1", 8765, user="ada") as client:
            await client.join("lobby")
            await client.say("lobby", "hello")
            async for event in client.events: ...
    """

    events: ReceiveChannel[ChatEvent]
    """What happens, in order; ends when the client does."""

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        *,
        user: str,
        transport: Transport = "websocket",
        format: Format = "json",  # noqa: A002
        token: str | None = None,
        reconnect: bool = True,
        timeout: float = 10.0,
        heartbeat: float = 10.0,
        backlog: int = 4096,
        backoff: Backoff | None = None,
        dial: Dial | None = None,
    ) -> Self:
        """A client that connects, says hello and is welcomed when it is entered with ``async with``.

        Args:
            token: what the server wants to see of this user, if it wants something.
            reconnect: whether a lost connection is followed by another one.
            timeout: seconds that the way to a welcome may take.
            heartbeat: seconds between two pings. After two of them without a byte the connection counts as lost.
            backlog: events that may wait to be read. One more and the client ends: a queue without a bound would hide
                the mistake, dropping would hide a loss.
            backoff: how long to wait between connections; 0.2 to 20 s when left out.
            dial: makes the stream; a TCP connection to host and port when left out.

        Raises, when entered:
            OSError: no connection; TimeoutError if it took too long. Only later connections are tried again: whoever
                mistyped the address should hear of it.
            Refused: the server does not want this user.
            Disconnected: the connection ended before the server's welcome.
            ImportError: protobuf is not installed.
        """
        client = cls(user, State(backlog), backoff or Backoff())
        client._dial = dial or functools.partial(anyio.connect_tcp, host, port)
        client._speak = functools.partial(speak, transport, format, host, port)
        client._token = token
        client._reconnect = reconnect
        client._timeout = timeout
        client._heartbeat = heartbeat
        return client

    def __init__(self, user: str, state: State, backoff: Backoff) -> None:
        self.user = user
        self.end: Disconnected | None = None
        self.events = state.events
        self._state = state
        self._backoff = backoff
        self._group = Group(errors="first")
        self._session: wire.Json = {}
        self._ended = Event()
        self._dial: Dial
        self._speak: Callable[[], tuple[wire.Codec, Framing]]
        self._token: str | None
        self._reconnect: bool
        self._timeout: float
        self._heartbeat: float

    @property
    def latency(self) -> float | None:
        """Seconds to the server and back, smoothed; ``None`` until measured."""
        return self._state.latency

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._state.connected

    @property
    def rooms(self) -> Mapping[str, wire.Pos | None]:
        """The rooms that we are in, or come back to, with what was heard last: what ``join`` takes in a next life."""
        return {name: room.last for name, room in self._state.rooms.items() if room.member}

    # Not an AsyncExitStack: inside of another one, its changes to the context of a cancellation can make a cycle, which
    # the outer one would follow for ever.
    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        try:
            link = await self._open()
            self._group.go(self._live, link, name="chat client")
        except BaseException as error:
            await self._close(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # So that the others see us leave now. Who is cancelled does not wait for the server.
            await self.bye()
        except BaseException as cancelled:
            await self._close(cancelled)
            raise
        await self._close(error)

    async def _close(self, error: BaseException | None) -> None:
        self._group.cancel()
        try:
            await self._group.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
        finally:
            self._finish(Disconnected(LOST, "the client was closed"))

    # ---- what can be asked ----

    async def join(self, room: str, *, since: wire.Pos | None = None, limit: int | None = None) -> Joined:
        """Enter a room, now and after each new connection.

        Args:
            since: what was heard last, in an earlier life: what was said from there on comes first among the events.
            limit: how many messages of the history may come first.
        """
        recovery = self._state.rooms.setdefault(room, Recovery(room, since))
        message = {"t": "join", "room": room, **from_(since), **({} if limit is None else {"limit": limit})}
        try:
            answer = await self._exchange(message)
        except Refused:
            if not recovery.member and self._state.rooms.get(room) is recovery:
                del self._state.rooms[room]
            raise
        return joined(answer)

    async def leave(self, room: str) -> None:
        self._state.rooms.pop(room, None)
        await self._exchange({"t": "leave", "room": room})

    async def who(self, room: str) -> list[str]:
        """Who is in a room."""
        return list(strings(await self._exchange({"t": "who", "room": room}), "members"))

    async def history(
        self, room: str, *, since: wire.Pos | None = None, limit: int | None = None, newest: bool = False
    ) -> HistoryPage:
        """What was said in a room.

        Args:
            since: what comes after this one; from the beginning when left out.
            newest: the newest first, and go back: from the one before ``since``, or from the end.
        """
        fields = {**from_(since), **({} if limit is None else {"limit": limit}), **({"rev": True} if newest else {})}
        answer = await self._exchange({"t": "history", "room": room, **fields})
        messages = tuple(text(message) for message in answer["msgs"])
        return HistoryPage(messages, position(answer), bool(answer.get("complete", False)))

    async def say(self, room: str, body: str, *, id: wire.Id | None = None) -> wire.Pos | None:  # noqa: A002
        """Say something; returns when the server has acknowledged it, with its place in the history.

        Args:
            id: makes it idempotent: the same id is said once, however often it is sent. A new one when left out.

        Raises:
            ValueError: the same id is being said at this moment: its answer can be only one caller's.

        Cancellation: it may or may not have been said.
        """
        return position(await self._exchange({"t": "say", "room": room, "body": body}, id_=id))

    async def tell(self, user: str, body: str) -> int:
        """Say something to one user alone; how many of his sessions it reached.

        It is sent once: when the connection is lost before the answer, ``Disconnected`` says that it may be lost, too.
        """
        return int((await self._exchange({"t": "dm", "to": user, "body": body}, repeat=False)).get("delivered", 1))

    async def ping(self) -> float:
        """Ask the server for a sign of life; the seconds that it took."""
        before = anyio.current_time()
        number = next(self._state.numbers)
        await self._exchange({"t": "ping", "n": number}, id_=number, repeat=False)
        return anyio.current_time() - before

    async def bye(self) -> None:
        """Tell the server that we go, and wait a moment for it to close; ``events`` may then be read to its end."""
        self._state.leaving.set()
        if self.end is None:
            with anyio.move_on_after(GOODBYE):
                await self._ended.wait()

    async def _exchange(self, message: wire.Json, *, id_: wire.Id | None = None, repeat: bool = True) -> wire.Json:
        state = self._state
        if id_ is None:
            id_ = next(state.ids)
        if message["t"] != "ping":
            message = {**message, "id": id_}
        if id_ in state.asking:
            raise ValueError(f"{id_!r} is being asked by another {state.asking[id_]!r}: await it, or give another id")
        request = Request(id_, message, repeat=repeat)
        state.asking[id_] = message["t"]
        try:
            await state.asked.send(request)
            answer = await request.answer.receive()
        except ChannelClosed:
            raise self._reason(request) from None
        finally:
            del state.asking[id_]
            if state.pending.get(id_) is request:
                del state.pending[id_]
        if answer["t"] == "err":
            raise refusal(answer)
        return answer

    def _reason(self, request: Request) -> Disconnected:
        if self.end is None:
            return Disconnected(LOST, f"the connection was lost before the answer to {request.message['t']!r}")
        return Disconnected(self.end.code, self.end.reason)  # a fresh one: raised twice it would mix its tracebacks

    # ---- one connection after the other ----

    async def _live(self, link: Link) -> None:
        attempt = 0
        while True:
            began = anyio.current_time()
            lost = await Conversation(self._state, link, self._heartbeat).run(attempt)
            lasted = anyio.current_time() - began
            for attempt in itertools.count(1):
                if not self._reconnect or self._state.leaving.is_set() or not comes_back(lost.code):
                    self._finish(lost)
                    return
                found = await self._again(lost, lasted if attempt == 1 else 0.0, attempt)
                if isinstance(found, Link):
                    link = found
                    break
                lost = found

    async def _again(self, lost: Disconnected, lasted: float, attempt: int) -> Link | Disconnected:
        """Wait, and try the next connection: it, or why there is none."""
        wait = self._backoff.next(lasted=lasted, after=lost.after)
        try:
            self._state.happened(Reconnecting(lost.code, lost.reason, wait, attempt))
            if (await select(after(wait), self._state.leaving))[0] == 1:
                return lost
            return await self._open()
        except Disconnected as error:
            return error
        except Refused as error:
            return Disconnected(LOST if error.temporary else error.code, error.text, after=error.retry_after or 0.0)
        except OSError as error:
            return Disconnected(LOST, str(error) or "no answer")

    async def _open(self) -> Link:
        hello = {"t": "hello", "v": wire.VERSION, "user": self.user, **self._session}
        if self._token is not None:
            hello["token"] = self._token
        with anyio.fail_after(self._timeout):
            link = await open_link(self._dial, *self._speak(), hello)
        # Without a secret it cannot be resumed.
        known = ("sid", "secret") if link.welcome.get("secret") else ()
        self._session = {name: link.welcome[name] for name in known}
        return link

    def _finish(self, end: Disconnected) -> None:
        if self.end is None:
            self.end = end
        self._state.finish()
        self._ended.set()
