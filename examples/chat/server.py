"""The server: a port, the connections on it, the goroutines behind them, and how all of it ends.

Shape
    run ─┬─ hub, under its supervisor          subscriptions, repairs, heartbeat, downstream: one goroutine each
         └─ connections ─┬─ accept, one per listening socket
                         └─ one goroutine per connection: what does it speak? -> session (reader) ── writer

    The first bytes decide: ``GCP1`` is Protobuf, another upper-case letter an HTTP request, anything else JSON lines.

The end
    stop     as ``drain`` has it: not ready, nobody new; every session is told goodbye (4001), finishes its command and
             writes its outbox; what has not left after ``drain_timeout`` is cut off. Then, with no session left, the
             hub stops, the downstream service gets what waits for it, and the broker is left.
    failure  of the hub, beyond what its supervisor makes good, cancels everything and comes out of ``run``; that of a
             session is the session's own matter.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import anyio
from anyio.abc import Listener, SocketAttribute
from websockets.protocol import OPEN

from gochan import Event, Group

from .broker import Broker, Unavailable
from .config import Settings
from .drain import dismiss, shutdown
from .node import Node, assemble, window
from .pages import REQUEST_LINE, Operations, answer, busy, new_protocol, plain, read_pages
from .session import Session
from .sockets import SocketStream, accept_forever
from .supervisor import supervise
from .telemetry import Exposition, Telemetry
from .telemetry.setup import Observability
from .transport import PREFACE, Lines, Opening, Prefixed, Transport, WebSocket, recognise
from .wire import Close, Goodbye, protobuf

log = logging.getLogger(__name__)

_BACKLOG: Final = 1024
# Whoever starts the server through `timeout` or the like gets one signal twice: directly and through its group.
_ECHO: Final = 0.2


class StartError(Exception):
    """The server cannot start; the message says why."""


class Server:
    """One chat server. ``listen()``, then ``run()`` until ``stop`` is set."""

    def __init__(
        self, settings: Settings, node: Node | None = None, expose: Callable[[], Exposition] | None = None
    ) -> None:
        self.settings = settings
        self.stop = Event()
        self.node = node or assemble(settings)
        self.hub = self.node.hub
        self.ready = False
        self.sessions: dict[Session, None] = {}
        self.port = 0
        self._listeners: Sequence[Listener[Any]] = ()
        self._strangers: set[anyio.CancelScope] = set()
        self._pages = read_pages()
        self._operations = Operations(
            ready=lambda: None if self.ready else "not serving", expose=expose, debug=settings.debug
        )

    async def listen(self) -> None:
        """Take the port.

        Raises:
            StartError: it cannot be had.
        """
        host, port = self.settings.host, self.settings.port
        try:
            listeners = await anyio.create_tcp_listener(local_host=host, local_port=port, backlog=_BACKLOG)
        except OSError as error:
            raise StartError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
        self._listeners = listeners.listeners
        self.port = self._listeners[0].extra(SocketAttribute.local_port)  # noqa: S610  # not Django's extra()

    @property
    def reachable(self) -> str:
        """The host under which this machine reaches the server."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)

    @property
    def url(self) -> str:
        """The address to open in a browser on this machine."""
        host = self.reachable
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    async def run(self) -> None:
        """Serve until ``stop`` is set and everybody has left.

        Raises:
            ExceptionGroup: the hub failed.
        """
        node = self.node
        async with Group() as group:
            hub = group.go(partial(supervise, self.hub, telemetry=node.telemetry), name="hub")
            group.go(self.hub.subscriptions.run, name="subscriptions")
            group.go(self.hub.repairs.run, name="repairs")
            group.go(self.hub.repairs.look_around, name="positions")
            group.go(self.hub.elsewhere.run, name="elsewhere")
            if node.heartbeat is not None:
                group.go(node.heartbeat.run, name="heartbeat")
            told = group.go(node.downstream.run, name="downstream") if node.downstream is not None else None
            with anyio.CancelScope() as patience:
                await self._serve(patience)
            if patience.cancelled_caught:
                log.warning("not everybody left within %g s", self.settings.drain_timeout)
            self.hub.stop.set()
            await hub.result()
            if node.downstream is not None and told is not None:
                node.downstream.close()
                with anyio.move_on_after(self.settings.linger):
                    await told.result()
            await self._leave_broker()
            group.cancel()

    async def _leave_broker(self) -> None:
        with anyio.move_on_after(self.settings.linger):
            try:
                await self.hub.elsewhere.flush()
                await self.node.broker.control_send(None, {"do": "leave"})
            except Unavailable:
                pass  # the presences expire
        await self.node.broker.aclose()

    async def _serve(self, patience: anyio.CancelScope) -> None:
        async with Group() as connections:

            def handle(connection: socket.socket) -> None:
                connections.go(self._connection, connection, name="connection")

            self.ready = True
            try:
                async with Group() as acceptors:
                    for listener in self._listeners:
                        acceptors.go(accept_forever, listener, handle, name="accept")
                    await self.stop.wait()
                    acceptors.cancel()
            finally:
                self.ready = False
                with anyio.CancelScope(shield=True):
                    for listener in self._listeners:
                        await listener.aclose()
            log.info("stopping: %d sessions are told goodbye", len(self.sessions))
            patience.deadline = anyio.current_time() + self.settings.drain_timeout
            for scope in self._strangers:
                scope.cancel()
            await dismiss(self.sessions, self.settings)

    async def _connection(self, connection: socket.socket) -> None:
        try:
            if not self.stop.is_set():
                await self._welcome(SocketStream(connection, self.settings.send_buffer))
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
            pass  # the client left before it had said anything
        except Exception:
            log.exception("a connection failed")  # it alone
        finally:
            connection.close()

    async def _welcome(self, stream: SocketStream) -> None:
        deadline = anyio.current_time() + self.settings.hello_timeout
        transport: Transport | None = None
        with anyio.CancelScope(deadline=deadline) as scope:
            self._strangers.add(scope)
            try:
                transport = await self._introduce(stream)
            finally:
                self._strangers.discard(scope)
        if transport is None:
            return
        session = Session(stream, transport, self.node)
        self.sessions[session] = None
        try:
            if self.stop.is_set():
                session.close(shutdown())
            await session.run(deadline)
        finally:
            del self.sessions[session]

    async def _introduce(self, stream: SocketStream) -> Transport | None:
        """What the client speaks; ``None`` when it only asked for a page."""
        received = await stream.receive()
        late = self.node.limits.accept() if self.node.limits else 0.0
        while (opening := recognise(received)) is None:
            received += await stream.receive()
        transport = self._transport(opening, stream, received)
        if late:  # over the limit: a goodbye that costs nothing, and nobody waits
            goodbye = Goodbye(Close.TOO_MANY_REQUESTS, "too many new connections", after_ms=math.ceil(late * 1000))
            said = b"" if transport is None else transport.farewell(goodbye)
            await self._part(stream, busy(late) if opening is Opening.HTTP else said)
            return None
        if opening is not Opening.HTTP:
            return transport
        head, rest = await self._head(stream, received)
        protocol = new_protocol(self.settings.max_size)
        if head is None:
            reply = plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE).serialize()
        elif not REQUEST_LINE.match(head):
            reply = plain(HTTPStatus.BAD_REQUEST).serialize()
        else:
            reply = answer(protocol, head, stream.local_host, self._pages, self.settings, self._operations)
        if protocol.state is OPEN:
            await stream.send(reply)
            return WebSocket(stream, protocol, rest)
        await self._part(stream, reply)
        return None

    def _transport(self, opening: Opening, stream: SocketStream, received: bytes) -> Transport | None:
        """What needs no handshake; ``None`` also where Protobuf is not installed."""
        if opening is Opening.LINES:
            return Lines(stream, received, self.settings.max_size)
        codec = protobuf() if opening is Opening.PREFIXED else None
        if codec is None:
            return None
        return Prefixed(stream, received[len(PREFACE) :], self.settings.max_size, codec)

    async def _part(self, stream: SocketStream, reply: bytes) -> None:
        """Say the last word. As in Session: what is left unread would reset the connection before it is read."""
        await stream.send(reply)
        await stream.send_eof()
        with anyio.move_on_after(self.settings.linger):
            while True:
                await stream.receive()

    async def _head(self, stream: SocketStream, received: bytes) -> tuple[bytes | None, bytes]:
        """The head of a request, ``None`` if it is too long, and what came after it."""
        head = bytearray(received)
        while True:
            end = head.find(b"\r\n\r\n") + 4
            if end >= 4:
                break
            if len(head) > self.settings.max_head:
                return None, b""
            if b"\n" in head and not REQUEST_LINE.match(head):
                return bytes(head), b""  # not HTTP: its end may never come
            head += await stream.receive()
        return bytes(head[:end]), bytes(head[end:])


@asynccontextmanager
async def _broker(settings: Settings, telemetry: Telemetry) -> AsyncGenerator[Broker | None]:
    """Where the messages are kept, if not in memory."""
    if settings.data:
        from .broker.sqlite import DataFileError, SqliteEngine  # Python can be built without SQLite

        try:
            async with SqliteEngine(settings.data, window(settings)) as engine:
                yield engine.broker(settings.name)
        except DataFileError as error:
            raise StartError(str(error)) from error
    elif settings.broker:
        try:
            from .broker.redis import EngineError, open_broker
        except ModuleNotFoundError as error:
            raise StartError(f"--broker needs {error.name}: pip install 'pygochan[chat-redis]'") from error

        try:
            async with open_broker(
                settings.broker, settings.name, window(settings), metrics=telemetry.metrics
            ) as broker:
                yield broker
        except (EngineError, ValueError) as error:  # a name that another node has is a ValueError
            raise StartError(str(error)) from error
    else:
        yield None


async def serve(settings: Settings, seen: Observability) -> None:
    """Run a server until SIGINT or SIGTERM; the second one ends the program at once.

    Raises:
        StartError: the port cannot be had, or the file.
        ExceptionGroup: the hub failed.
        SystemExit: after the second signal.
    """
    async with Group(errors="first") as group, AsyncExitStack() as stack:
        group.go(seen.logs.run, name="log")
        signals = stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        broker = await stack.enter_async_context(_broker(settings, seen.telemetry))
        server = Server(settings, assemble(settings, broker, seen.telemetry), seen.expose)
        await server.listen()
        where = f"{server.reachable} --port {server.port}"
        print(f"gochan chat: open {server.url}")
        print(f"in a terminal: python -m examples.chat.client --host {where}")
        print(f"without a client: nc {server.reachable} {server.port}", flush=True)
        if not settings.loopback:
            log.warning("everybody who can reach %s can read and write here: there are no passwords", settings.host)
        await _until_told(server, signals)
        group.cancel()


async def _until_told(server: Server, signals: AsyncIterator[signal.Signals]) -> None:
    async def stop_on_signal() -> None:
        first = -math.inf
        async for number in signals:
            if anyio.current_time() - first < _ECHO:
                continue
            if server.stop.is_set():
                log.warning("%s again: leaving at once", number.name)
                raise SystemExit(128 + number)
            log.info("%s: stopping", number.name)
            first = anyio.current_time()
            server.stop.set()

    async with Group() as group:
        group.go(stop_on_signal, name="signals")
        await server.run()
        group.cancel()
