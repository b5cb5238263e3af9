"""Commands: what a session does with each thing that its client may ask, once it has said hello."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, assert_never

import anyio

from . import wire
from .broker.base import Unavailable
from .downstream import Notice
from .membership import PAGE, fitting, refusal
from .requests import Ask, Depart, ask, failure
from .rooms import message
from .wire import Close, Code, Encoded, Goodbye, WireError

if TYPE_CHECKING:
    from .node import Node
    from .session import Session

log = logging.getLogger(__name__)

_HISTORY: Final = 50


class Commands:
    """One session's commands, one after the other."""

    def __init__(self, session: Session, node: Node) -> None:
        self.busy = False
        self.afterwards: Goodbye | None = None
        """What ends the session when the command that is being obeyed is done."""
        self._session = session
        self._node = node
        self._spans = node.telemetry.tracer
        self._said = node.telemetry.metrics.counter("gochat_said_total", "Messages said in rooms", ("outcome",))
        self._seconds = node.telemetry.metrics.histogram("gochat_publish_seconds", "From a say to its place")

    async def obey(self, command: wire.Command) -> None:
        """Do it, and see that it is answered.

        Raises:
            WireError: it is refused.
            Goodbye: the client, or the server, does not go on.
        """
        self.busy = True
        try:
            await self._obey(command)
        except WireError as error:
            if self.afterwards is None:
                raise
            await self._session.reply(wire.err(error))
        finally:
            self.busy = False
        if self.afterwards is not None:
            raise self.afterwards

    async def _obey(self, command: wire.Command) -> None:
        session, hub = self._session, self._node.hub
        match command:
            case wire.Say():
                await self._say(command)
            case wire.Join():
                await session.memberships.join(command)
            case wire.Leave():
                await ask(hub.unregister, Depart(client=session, leave=command))
            case wire.Who():
                await self._who(command)
            case wire.Dm():
                await self._direct_message(command)
            case wire.History():
                await self._history(command)
            case wire.Ping():
                await session.reply(wire.pong(command.n))
            case wire.Pong():
                pass  # the session has seen to it
            case wire.Bye():
                raise Goodbye(Close.NORMAL, "bye", final=True)
            case wire.Hello():
                raise WireError(Code.CONFLICT, "hello is said once")
            case _ as never:
                assert_never(never)

    async def _say(self, say: wire.Say) -> None:
        session, node = self._session, self._node
        session.memberships.need(say.room, say.id)
        begun = anyio.current_time()
        with self._spans.span("say", say.tp, room=say.room, sid=session.sid) as span:
            fields: dict[str, Any] = {
                "from": session.user,
                "body": say.body,
                "ts": time.time_ns() // 1_000_000,
                "id": say.id,
            }
            if span.traceparent is not None:
                fields["tp"] = span.traceparent
            # The id makes it idempotent for its user: 1 and "1" are two.
            key = f"{session.user}\n{say.id!r}"
            try:
                async with self._asking_broker(say.id):
                    published = await node.broker.publish(say.room, wire.dumps(fields), key=key)
            except WireError:
                self._said.inc(1, "refused")
                raise
            self._said.inc(1, "duplicate" if published.duplicate else "said")
            self._seconds.observe(anyio.current_time() - begun)
            log.debug("%s says %s in %s", session.user, say.id, say.room)
            if node.downstream is not None and not published.duplicate:
                node.downstream.offer(Notice(say.room, session.user, say.body, say.id, fields["ts"], span.traceparent))
        await session.reply(wire.ack(say.id, say.room, pos=published.pos, dup=True if published.duplicate else None))

    async def _who(self, who: wire.Who) -> None:
        hub = self._node.hub
        asked = await self._ask_hub(who)
        if asked.users is None:
            async with self._asking_broker(who.id):
                asked.users = await hub.elsewhere.users(who.room)
        self._session.answer(Encoded(wire.members(who.id, who.room, asked.users)))

    async def _ask_hub(self, command: wire.Who | wire.Dm) -> Ask:
        asked = Ask(client=self._session, command=command)
        await ask(self._node.hub.local, asked)
        if asked.failed:
            raise failure(command.id)
        return asked

    async def _direct_message(self, dm: wire.Dm) -> None:
        session, hub = self._session, self._node.hub
        asked = await self._ask_hub(dm)
        delivered = asked.delivered
        try:
            async with self._asking_broker(dm.id):
                delivered += await hub.elsewhere.direct(
                    dm.to, {"do": "dm", "to": dm.to, "from": session.user, "body": dm.body}
                )
        except WireError:
            if not delivered:
                raise
        if not delivered:
            raise WireError(Code.NOT_FOUND, f"{dm.to!r} is not here", dm.id)
        await session.reply(wire.ack(dm.id, delivered=delivered))

    @asynccontextmanager
    async def _asking_broker(self, id_: wire.Id) -> AsyncGenerator[None]:
        """Give the broker its time; what becomes of a broker that does not answer is the client's answer."""
        try:
            with anyio.fail_after(self._node.settings.broker_timeout):
                yield
        except (Unavailable, TimeoutError) as error:
            raise refusal(error, id_) from None

    async def _history(self, asked: wire.History) -> None:
        await self._session.has_read()
        limit = min(_HISTORY if asked.limit is None else asked.limit, PAGE)
        async with self._asking_broker(asked.id):
            page = await self._node.broker.history(asked.room, asked.since, limit, asked.rev)
        events = fitting(page.events)
        msgs = [message(event) for event in events]
        complete = page.complete and len(events) == len(page.events)
        await self._session.reply(wire.history(asked.id, asked.room, page.top, msgs, complete))
