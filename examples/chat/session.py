"""A session: one client, from its first message to its last, in a reader and a writer goroutine.

Shape
    reader   transport -> decode -> answer, or send to the hub            hub
    writer   outbox -> transport                                           | offer
                ^----------------------------------------------------------'
    The reader is the goroutine that runs ``run``; it starts the writer. Both talk to the outbox only.

Invariants
    N1  Whatever ends a session closes its outbox, with the ``Goodbye`` as the cause; the first one counts.
    N2  The writer writes what is in the outbox, then the farewell, then it ends the session. It alone writes.
    N3  However the session ends, the hub hears of it, and ``run`` returns only after that.
    N4  Commands are obeyed in the order in which they come. Their answers carry ids, and need it: those that the
        reader gives itself (``pong``, ``err`` for what is no command) may overtake those of the hub.
    N5  A session holds at most one message that it reads, its outbox, and one batch that it writes.

Two kinds of full outbox
    The reader *waits* to put in its own answers: a client that asks faster than it reads is not read from for a while,
    which harms nobody else. The hub never waits: what others say does not fit, so the client is too slow (4008).

What ends it
    Before hello every refused message does (401 for any but hello, else its own code; then 4500): there is nobody yet
    to be patient with. After it ``max_errors`` in a row do. No hello in time: 4502. A write that takes too long: 4009.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Final, assert_never, cast

import anyio

from gochan import Channel, ChannelClosed, Event, Group

from . import wire
from .config import Settings
from .hub import Hub
from .sockets import SocketStream
from .transport import Transport
from .wire import Close, Code, Encoded, Goodbye, WireError

log = logging.getLogger(__name__)

_FRAMES: Final = 64


class Session:
    """One client."""

    def __init__(self, stream: SocketStream, transport: Transport, hub: Hub, settings: Settings) -> None:
        self.sid = secrets.token_hex(8)
        self.user = ""  # until hello
        self.outbox = Channel[Encoded | bytes](settings.outbox, name=f"outbox {self.sid}")
        self._stream = stream
        self._transport = transport
        self._hub = hub
        self._settings = settings
        self._errors = 0
        self._hung_up = Event()

    async def run(self, hello_deadline: float) -> None:
        """Serve the client until one of both has had enough; the stream is left to the caller."""
        async with Group() as group:
            group.go(self._write, group.cancel, name=f"writer {self.sid}")
            try:
                goodbye = await self._read(hello_deadline)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._leave()
            # Only now: the hub has taken the leave, so it has answered everything before it.
            self.close(goodbye)
            await self._discard()

    def close(self, goodbye: Goodbye) -> None:
        """End the session once everything in its outbox is written."""
        # Without its traceback, which would tie the session into a cycle.
        self.outbox.close(goodbye.with_traceback(None))

    # ---- what the hub sees ----

    def offer(self, frame: Encoded) -> None:
        self.outbox.send_nowait(frame)

    def drop(self, goodbye: Goodbye) -> None:
        self.close(goodbye)
        try:
            while True:
                self.outbox.receive_nowait()
        except ChannelClosed:
            pass

    # ---- reading ----

    async def _read(self, hello_deadline: float) -> Goodbye:
        """Do what the client asks, until it or somebody else ends the session; why it ends."""
        try:
            with anyio.fail_after(hello_deadline - anyio.current_time()):
                await self._hello()
            while True:
                payload = await self._transport.read(self.outbox)
                if self.outbox.closed:
                    break
                await self._one(payload)
        except Goodbye as goodbye:
            return goodbye
        except TimeoutError:
            return Goodbye(Close.NO_HELLO, "no hello in time")
        except ChannelClosed:
            pass
        except Exception:
            log.exception("session %s failed", self.sid)
        # With a closed outbox there is a goodbye already, and it counts. A closed hub ends the server.
        return Goodbye(Close.INTERNAL, "internal error")

    async def _hello(self) -> None:
        try:
            command = wire.decode(await self._transport.read(self.outbox))
            if not isinstance(command, wire.Hello):
                raise WireError(Code.UNAUTHENTICATED, "say hello first", getattr(command, "id", None))
        except WireError as error:
            await self._answer(wire.err(error))
            raise Goodbye(Close.BAD_REQUEST, error.message) from None
        self.user = command.user
        await self._answer(wire.welcome(self.sid, self._settings.node, self._settings.max_size))

    async def _one(self, payload: bytes | bytearray) -> None:
        try:
            await self._obey(wire.decode(payload))
        except WireError as error:
            await self._answer(wire.err(error))
            self._errors += 1
            if self._errors >= self._settings.max_errors:
                raise Goodbye(Close.BAD_REQUEST, "too many errors in a row") from None
        else:
            self._errors = 0

    async def _obey(self, command: wire.Command) -> None:
        match command:
            case wire.Say():
                await self._hub.broadcast.send((self, command))
            case wire.Join():
                await self._hub.register.send((self, command))
            case wire.Leave():
                await self._hub.unregister.send((self, command))
            case wire.Who():
                await self._hub.who.send((self, command))
            case wire.Ping():
                await self._answer(wire.pong(command.n))
            case wire.Pong():
                pass
            case wire.Bye():
                raise Goodbye(Close.NORMAL, "bye")
            case wire.Hello():
                raise WireError(Code.CONFLICT, "hello is said once")
            case _ as never:
                assert_never(never)

    async def _answer(self, message: wire.Json) -> None:
        await self.outbox.send(Encoded(message))

    async def _leave(self) -> None:
        try:
            await self._hub.unregister.send((self, None))
        except ChannelClosed:  # H6: the room is gone, and everybody in it
            pass

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
        try:
            goodbye = await self._write_frames()
            with anyio.fail_after(self._settings.write_timeout):
                await self._stream.send(self._transport.farewell(goodbye))
            await self._stream.send_eof()
            with anyio.move_on_after(self._settings.linger):
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
        framing, limit = self._transport.framing, self._settings.batch
        while True:
            try:
                frames = await self.outbox.receive_many(_FRAMES)
            except ChannelClosed as closed:
                return cast("Goodbye", closed.__cause__)  # N1
            batch: list[bytes] = []
            size = 0
            for frame in frames:
                data = frame if isinstance(frame, bytes) else frame.framed(framing)
                if size and size + len(data) > limit:
                    await self._write_batch(batch)
                    batch, size = [], 0
                batch.append(data)
                size += len(data)
            await self._write_batch(batch)

    async def _write_batch(self, batch: list[bytes]) -> None:
        with anyio.fail_after(self._settings.write_timeout):
            await self._stream.send(batch[0] if len(batch) == 1 else b"".join(batch))
