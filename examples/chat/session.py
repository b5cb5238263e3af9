"""A session: one client, from its first message to its last, in a reader and a writer goroutine.

Shape
    reader   transport -> decode -> limits -> do it, or send it to the hub      hub
    writer   outbox -> transport                                                 | offer
                ^----------------------------------------------------------------'
    The reader is the goroutine that runs ``run``; it starts the writer. Everybody talks to the outbox only, but for
    one short cut: while the writer is parked, ``offer`` writes to the socket itself what that takes at once. To wake
    the writer costs several times what the write does, and a room of a thousand has a thousand of them.

Invariants
    N1  Whatever ends a session closes its outbox and cancels its context, with the ``Goodbye`` as the cause; the first
        one counts.
    N2  The writer writes what is in the outbox, then the farewell, then it ends the session. Besides it only ``offer``
        writes, and only while the writer is parked (X3 of ``outbox``).
    N3  However the session ends, the hub hears of it, and ``run`` returns only after that. The registry forgets it
        first: rooms that are rebuilt in between must not bring it back.
    N4  Commands are obeyed in the order in which they come. Answers carry ids, and need it: acks of ``say``, errors
        and pongs may overtake what waits for the room.
    N5  A session holds at most one message that it reads, its outbox, and one batch that it writes.

Two kinds of full outbox
    The reader *waits* to put in its own answers: a client that asks faster than it reads is not read from for a while,
    which harms nobody else. The hub never waits: what others say does not fit, so a policy decides (``outbox``).

What ends it
    Before hello every refused message does (401 for any but hello, else its own code; then 4500): there is nobody yet
    to be patient with. After it ``max_errors`` in a row do. No hello in time: 4502. A write that takes too long: 4009.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio

from gochan import ChannelClosed, Event, Group, Signal

from . import wire
from .commands import Commands
from .heartbeat import Pulse
from .membership import Memberships
from .node import Node
from .outbox import Outbox, Parcel
from .registry import new_secret
from .requests import Depart
from .rooms import Batch, Member
from .telemetry import bound
from .transport import Stream, Transport, unheard
from .wire import Close, Code, Encoded, Goodbye, Json, WireError

log = logging.getLogger(__name__)

_FRAMES: Final = 64


class Session:
    """One client."""

    def __init__(self, stream: Stream, transport: Transport, node: Node) -> None:
        settings = node.settings
        self.sid = secrets.token_hex(8)
        self.secret = new_secret()
        self.key = node.hub.elsewhere.new_key()
        self.user = ""  # until hello
        self.logged_in = 0.0
        self.ctx = node.ctx.with_cancel()
        self.outbox = Outbox(
            self._encode, frames=settings.outbox, size=settings.outbox_bytes, policy=settings.slow, name="control"
        )
        self.memberships = Memberships(self, node)
        self.rooms = self.memberships.rooms
        self.direct = 0
        self._framing, self._codec = transport.framing, transport.codec
        self._stream = stream
        self._transport = transport
        self._node = node
        self._commands = Commands(self, node)
        self._gate = node.limits.gate() if node.limits else None
        self._pulse: Pulse | None = None
        self._group: Group | None = None
        self._errors = 0
        self._draining = False
        self._left: Signal | None = None
        self._hung_up = Event()

    async def run(self, hello_deadline: float) -> None:
        """Serve the client until one of both has had enough; the stream is left to the caller."""
        async with Group() as group:
            self._group = group
            group.go(self._write, group.cancel, name=f"writer {self.sid}")
            why: Goodbye | None = None
            try:
                goodbye = why = await self._read(hello_deadline)
            finally:
                left = self._leave(why)
                with anyio.CancelScope(shield=True):
                    await left.wait()
            # Only now: the hub has taken the leave, so it has answered everything before it.
            self.close(goodbye)
            await self._discard()

    def close(self, goodbye: Goodbye) -> None:
        """End the session once everything in its outbox is written."""
        self._end(goodbye)

    def drop(self, goodbye: Goodbye) -> None:
        """End the session without what still waits in its outbox; for the others it has left at once."""
        self._end(goodbye, discard=True)
        self._leave()

    def drain(self, goodbye: Goodbye) -> None:
        """Tell the client to go elsewhere, finish what it has asked for, and end the session."""
        if not self._draining:
            self._draining = True
            if self._framing is wire.Framing.WEBSOCKET:  # elsewhere the farewell says all of it
                self.tell(Encoded(wire.goaway(goodbye)))
            self._end_after_command(goodbye)

    def _end_after_command(self, goodbye: Goodbye) -> None:
        if self._commands.busy:
            self._commands.afterwards = goodbye
        else:
            self._end(goodbye)

    def _end(self, goodbye: Goodbye, *, discard: bool = False) -> None:
        # Without its traceback, which would tie the session into a cycle.
        goodbye = goodbye.with_traceback(None)
        self.outbox.close(goodbye, discard=discard)
        self.ctx.cancel(goodbye)

    def spawn(self, fn: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Start something that ends with the session; whether there still is one."""
        if self._group is None or self.outbox.goodbye is not None:
            return False
        self._group.go(fn, name=f"catch-up {self.sid}")
        return True

    # ---- what the hub and others see; nothing here waits ----

    def offer(self, member: Member, batch: Batch) -> None:
        data = batch.framed(self._framing, self._codec)
        data = self._write_now(data)
        if not data:
            return
        self._put(Parcel(data, len(batch.frames), batch.room, batch.first, batch.ep, member))

    def notify(self, room: str, presence: Encoded) -> None:
        if data := self._write_now(presence.framed(self._framing, self._codec)):
            self._put(Parcel(data, room=room, presence=presence.message))

    def answer(self, frame: Encoded) -> None:
        if data := self._write_now(frame.framed(self._framing, self._codec)):
            self._put(Parcel(data))

    def _put(self, parcel: Parcel) -> None:
        try:
            shed = self.outbox.offer(parcel)
        except anyio.WouldBlock:
            self._too_slow()
            return
        for lost in shed:
            late = lost.member
            # Not one that has left, nor one whose offsets began anew: ``resync`` has told of what was before.
            if late is not None and self.rooms.get(lost.room) is late and late.ep == lost.ep:
                late.last = min(late.last, lost.first - 1)
                self.memberships.behind(late)

    def tell(self, frame: Encoded) -> bool:
        if data := self._write_now(frame.framed(self._framing, self._codec)):
            try:
                self.outbox.send_nowait(data)
            except (anyio.WouldBlock, ChannelClosed):
                return False
        return True

    def behind(self, member: Member) -> None:
        self.memberships.behind(member)

    def ping(self, nonce: int) -> None:
        """For the heartbeat."""
        self.tell(Encoded(wire.ping(nonce)))

    def _write_now(self, data: bytes) -> bytes:
        """Write without waiting, if nobody else is writing; what has to go through the outbox."""
        if not self.outbox.parked or self._node.settings.fanout != "direct":
            return data
        sent = self._stream.try_write(data)
        if sent == len(data):
            self.direct += 1
            return b""
        if sent:
            self.outbox.unsent(data[sent:])
            return b""
        return data

    def _too_slow(self) -> None:
        log.info("%s is dropped: too slow", self.user)
        self.drop(Goodbye(Close.SLOW, "too slow: messages were not read in time"))

    def _encode(self, message: Json) -> bytes:
        return Encoded(message).framed(self._framing, self._codec)

    # ---- reading ----

    async def _read(self, hello_deadline: float) -> Goodbye:
        """Do what the client asks, until it or somebody else ends the session; why it ends."""
        try:
            with anyio.fail_after(hello_deadline - anyio.current_time()):
                await self._hello()
            with bound(session=self.sid, user=self.user):
                await self._converse()
        except Goodbye as goodbye:
            return goodbye
        except TimeoutError:
            return Goodbye(Close.NO_HELLO, "no hello in time")
        except ChannelClosed:
            pass
        except Exception as error:
            with bound(session=self.sid, user=self.user):
                log.exception("session %s failed", self.sid)
            self._node.telemetry.errors.report(error, sid=self.sid)
        # With a closed outbox there is a goodbye already, and it counts. A closed hub ends the server.
        return Goodbye(Close.INTERNAL, "internal error")

    async def _converse(self) -> None:
        pulse = self._pulse
        heard = unheard if pulse is None else pulse.heard
        while True:
            payload = await self._transport.read(self.outbox.control, heard)
            if self.outbox.goodbye is not None:
                return
            if pulse is None:
                await self._one(payload)
                continue
            pulse.listening = False
            await self._one(payload)
            pulse.listening = True

    async def _hello(self) -> None:
        try:
            command = self._codec.decode(await self._transport.read(self.outbox.control))
            if not isinstance(command, wire.Hello):
                raise WireError(Code.UNAUTHENTICATED, "say hello first", getattr(command, "id", None))
        except WireError as error:
            await self.reply(wire.err(error))
            raise Goodbye(Close.BAD_REQUEST, error.message) from None
        node, settings = self._node, self._node.settings
        resumed = node.registry.add(self, command.user, command.sid, command.secret)
        node.hub.elsewhere.online(self.user, self.key)
        self.logged_in = anyio.current_time()
        if self._gate is not None:
            self._gate.identify(self.user)
        await self.reply(
            wire.welcome(
                self.sid,
                node.broker.node,
                settings.max_size,
                secret=self.secret,
                interval=settings.ping_interval if node.heartbeat else None,
                min_timeout=settings.pong_timeout if node.heartbeat else None,
                rate=settings.rate if node.limits else None,
                burst=settings.burst if node.limits else None,
                rooms=settings.rooms,
                resumed=resumed,
            )
        )
        if node.heartbeat is not None:
            self._pulse = node.heartbeat.watch(self)

    async def _one(self, payload: bytes | bytearray) -> None:
        try:
            command = self._codec.decode(payload)
            if isinstance(command, wire.Pong):
                if self._pulse is not None:
                    self._pulse.pong(command.n)
                return
            if self._gate is not None and not isinstance(command, wire.Bye):
                await self._gate.admit(id=getattr(command, "id", None))
            await self._commands.obey(command)
        except WireError as error:
            await self.reply(wire.err(error))
            if error.code.temporary:
                return
            self._errors += 1
            if self._errors >= self._node.settings.max_errors:
                raise Goodbye(Close.BAD_REQUEST, "too many errors in a row") from None
        else:
            self._errors = 0

    async def has_read(self) -> None:
        """Wait, but not for ever, until the client has read what waits.

        For large answers: those of a client that asks without reading must not pile up.
        """
        with anyio.move_on_after(self._node.settings.write_timeout):
            await self.outbox.drained()

    async def reply(self, message: Json) -> None:
        """Answer the client; waits while it does not read its answers."""
        if data := self._write_now(self._encode(message)):
            await self.outbox.send(data)

    def _leave(self, goodbye: Goodbye | None = None) -> Signal:
        """Say everywhere that the session ends, without waiting, as it may be cancelled; when the hub has heard."""
        if self._left is not None:
            return self._left
        node, goodbye = self._node, self.outbox.goodbye or goodbye
        if self._pulse is not None:
            self._pulse.stop()
        if self._gate is not None:
            self._gate.leave()
        if self.user:
            node.hub.elsewhere.offline(self.user, self.key)
        # NORMAL without a bye: the connection is over, and nobody has said that the client is.
        resumable = goodbye is None or (not goodbye.final and (goodbye.code is Close.NORMAL or goodbye.code.reconnect))
        node.registry.remove(self, resumable=resumable)
        depart = Depart(client=self)
        self._left = depart.done
        try:
            node.hub.unregister.send_nowait(depart)
        except ChannelClosed:  # H6: the rooms are gone, and everybody in them
            depart.done.set()
        return depart.done

    async def _discard(self) -> None:
        # A socket that is closed while something unread is in it resets the connection, and the client may never see
        # its farewell. So read on until the client hangs up; the writer ends this after a while (``linger``).
        try:
            while True:
                await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self._hung_up.set()

    # ---- writing ----

    async def _write(self, end_session: Callable[[], None]) -> None:
        settings = self._node.settings
        try:
            goodbye = await self._write_frames()
            with anyio.fail_after(settings.write_timeout):
                await self._stream.send(self._transport.farewell(goodbye))
            await self._stream.send_eof()
            with anyio.move_on_after(settings.linger):
                await self._hung_up.wait()
        except TimeoutError:
            log.info("%s is dropped: a write took too long", self.user or self.sid)
            self._stream.abort()
            self.close(Goodbye(Close.WRITE_TIMEOUT, "a write took too long"))
        except anyio.BrokenResourceError:
            self.close(Goodbye(Close.NORMAL, "the connection broke"))
        end_session()

    async def _write_frames(self) -> Goodbye:
        """Write what is in the outbox until it is closed; why it is."""
        settings = self._node.settings
        while True:
            try:
                batch = await self.outbox.take(_FRAMES, settings.batch)
            except Goodbye as goodbye:  # N1
                return goodbye
            with anyio.fail_after(settings.write_timeout):
                await self._stream.send(batch[0] if len(batch) == 1 else b"".join(batch))
