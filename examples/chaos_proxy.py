"""A TCP proxy that makes the network bad: ``python -m examples.chaos_proxy --to 127.0.0.1:8765 --delay 0.2``.

Shape
    accept ── one goroutine per connection ─┬─ up:    reader ──[Channel of (due, bytes)]── writer ──> server
                                            └─ down:  writer ──[Channel of (due, bytes)]── reader <── server

    The channel is the line: what is in it is under way. It is bounded, so whoever sends too fast has to wait, as with a
    line. The writer waits until a piece is due, then for the rate (a ``Limiter``), then for the gate (an ``Event`` that
    a stall replaces), and writes slices. What goes wrong is one value, ``Faults``, that may be changed at any time; it
    counts for what is read or written from then on.

Order is kept whatever the jitter, since a piece waits for the one before it: TCP has no other. A stall forwards
nothing, not even the end: each side sees a peer that is there and silent, as after a cable was cut.

Prior art: toxiproxy, whose toxics these are.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NoReturn, TypeAlias

import anyio
from anyio.abc import SocketAttribute, SocketStream

import gochan
from gochan import Channel, ChannelClosed, Event, Group, Limiter, after, notify_context, select

Direction: TypeAlias = Literal["up", "down"]
_PIECE: Final = 16 * 1024
_LINE: Final = 256  # pieces that may be under way


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong with the network. Every connection has a line of its own in each direction."""

    delay: float = 0.0
    """Seconds that a byte takes."""
    jitter: float = 0.0
    """Seconds, up to which the delay varies, both ways."""
    rate: float | None = None
    """Bytes a second."""
    slice: int | None = None
    """Bytes that are written at once."""
    refuse: bool = False
    """New connections are reset."""
    stall_after: float | None = None
    """Seconds after which a connection forwards nothing any more, without an end."""
    reset_after: float | None = None
    """Seconds after which a connection is reset."""
    half_close_after: float | None = None
    """Seconds after which the server is told that the client will say no more."""


class Proxy:
    """One listening port, and the connections through it.

    Example:
        async with proxy("127.0.0.1", 8765, Faults(delay=0.2, jitter=0.1)) as chaos:
            ...  # connect to chaos.port
            chaos.stall()
    """

    def __init__(self, host: str, port: int, faults: Faults, seed: int | None = None) -> None:
        self.faults = faults
        self.random = random.Random(seed)
        self.port = 0
        self.connections: set[Connection] = set()
        self.accepted = 0
        self._target = host, port
        self._gate = Event()
        self._gate.set()

    def change(self, **faults: Any) -> None:
        """Set some of the faults, for the connections there are, too."""
        self.faults = replace(self.faults, **faults)

    def stall(self) -> None:
        """Forward nothing, in both directions; no end and no reset either."""
        if self._gate.is_set():
            self._gate = Event()

    def resume(self) -> None:
        """Forward what has piled up."""
        self._gate.set()

    def reset(self) -> None:
        """Break all connections: both sides see a reset."""
        for connection in list(self.connections):
            connection.reset()

    def half_close(self, direction: Direction = "up") -> None:
        """Tell the server (``up``) or the clients that nothing more will come, once what is under way has arrived."""
        for connection in self.connections:
            connection.half_close(direction)

    async def passage(self) -> None:
        """Wait while there is a stall."""
        while not self._gate.is_set():
            await self._gate.wait()

    async def serve(self, listener: Any) -> NoReturn:
        """Accept for ever."""
        async with Group() as group:
            while True:
                client: SocketStream = await listener.accept()
                self.accepted += 1
                group.go(self._connect, client, name=f"connection {self.accepted}")
        raise AssertionError("unreachable")

    async def _connect(self, client: SocketStream) -> None:
        async with client:
            if self.faults.refuse:
                _reset(_socket(client))
                return
            try:
                server = await anyio.connect_tcp(*self._target)
            except OSError:
                _reset(_socket(client))
                return
            async with server:
                connection = Connection(self, client, server)
                self.connections.add(connection)
                try:
                    await connection.run()
                finally:
                    self.connections.discard(connection)


class Connection:
    """One client, one connection to the server for it."""

    def __init__(self, proxy: Proxy, client: SocketStream, server: SocketStream) -> None:
        self._proxy = proxy
        self._ends = client, server
        self._sockets = _socket(client), _socket(server)  # now: a stream that broke may have none any more
        self._lines: dict[Direction, Channel[tuple[float, bytes]]] = {
            "up": Channel(_LINE, name="up"),
            "down": Channel(_LINE, name="down"),
        }
        self._cut = Event()
        self._stalled = False

    def reset(self) -> None:
        self._cut.set()

    def half_close(self, direction: Direction) -> None:
        self._lines[direction].close()

    async def run(self) -> None:
        """Until both directions have ended, or one has broken."""
        client, server = self._ends
        async with Group() as group:
            up = group.go(self._direction, "up", client, server)
            down = group.go(self._direction, "down", server, client)
            group.go(self._misfortunes)
            broken = [False, False]
            for _ in range(2):
                which, arrived = await select(None if broken[0] else up, None if broken[1] else down, self._cut)
                if which == 2 or not arrived:
                    for sock in self._sockets:
                        _reset(sock)
                    break
                broken[which] = True
            group.cancel()

    async def _direction(self, direction: Direction, source: SocketStream, target: SocketStream) -> bool:
        """Forward to the end; whether that was a proper one."""
        arrived = False
        async with Group(errors="first") as group:
            group.go(self._read, source, self._lines[direction])
            arrived = await self._write(target, self._lines[direction])
            group.cancel()
        return arrived

    async def _read(self, source: SocketStream, line: Channel[tuple[float, bytes]]) -> None:
        try:
            while True:
                data = await source.receive(_PIECE)
                faults, chance = self._proxy.faults, self._proxy.random
                late = max(0.0, faults.delay + chance.uniform(-faults.jitter, faults.jitter))
                await line.send((anyio.current_time() + late, data))
        except (ChannelClosed, anyio.EndOfStream):
            line.close()
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            line.close(error)

    async def _write(self, target: SocketStream, line: Channel[tuple[float, bytes]]) -> bool:
        limiter = Limiter(1.0, _PIECE, tokens=0)
        try:
            async for due, data in line:
                await gochan.sleep(max(0.0, due - anyio.current_time()))
                size = self._proxy.faults.slice or len(data)
                for start in range(0, len(data), size):
                    piece = data[start : start + size]
                    if rate := self._proxy.faults.rate:
                        limiter.set_rate(rate)
                        await limiter.wait(len(piece))
                    await self._passage()
                    await target.send(piece)
            await self._passage()
            await _end(target)
        except ChannelClosed:  # the source broke, and so does this, when that arrives
            await self._passage()
            return False
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False
        return True

    async def _passage(self) -> None:
        if self._stalled:
            await select()  # for ever, or until the connection is reset
        await self._proxy.passage()

    async def _misfortunes(self) -> None:
        faults, began = self._proxy.faults, anyio.current_time()
        coming = [
            (faults.stall_after, self._stall),
            (faults.half_close_after, lambda: self.half_close("up")),
            (faults.reset_after, self.reset),
        ]
        for when, act in sorted(((when, act) for when, act in coming if when is not None), key=lambda item: item[0]):
            await select(after(began + when - anyio.current_time()))
            act()

    def _stall(self) -> None:
        self._stalled = True


def _socket(stream: SocketStream) -> socket.socket:
    sock: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  # not Django's extra()
    return sock


async def _end(stream: SocketStream) -> None:
    try:
        await stream.send_eof()
    except RuntimeError as error:  # uvloop's, for a connection that broke before
        raise anyio.BrokenResourceError from error


def _reset(sock: socket.socket) -> None:
    """Make its close a reset: no goodbye, and what is unread is lost."""
    with contextlib.suppress(OSError, ValueError):  # uvloop's ValueError: it is closed
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.asynccontextmanager
async def proxy(
    host: str,
    port: int,
    faults: Faults | None = None,
    *,
    listen: tuple[str, int] = ("127.0.0.1", 0),
    seed: int | None = None,
) -> AsyncGenerator[Proxy, None]:
    """A proxy to a server, for as long as the block lasts; afterwards its connections are closed."""
    chaos = Proxy(host, port, faults or Faults(), seed)
    async with await anyio.create_tcp_listener(local_host=listen[0], local_port=listen[1]) as listener:
        chaos.port = listener.extra(SocketAttribute.local_port)  # noqa: S610  # not Django's extra()
        async with Group() as group:
            for each in listener.listeners:
                group.go(chaos.serve, each, name="accept")
            try:
                yield chaos
            finally:
                group.cancel()


# ---- the program ----


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 up")
    return number


def _positive(text: str) -> float:
    number = _number(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 would let nothing through; --stall-after 0 does that")
    return number


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.chaos_proxy",
        description="Forward TCP connections over a bad network.",
        epilog="Times are seconds. Exit codes: 0 stopped (Ctrl-C), 1 cannot listen, 2 wrong usage.",
    )
    parser.add_argument("--to", type=_address, required=True, metavar="HOST:PORT", help="the server behind the proxy")
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT",
                        help="where to listen (default: this machine only, any free port)")  # fmt: skip
    parser.add_argument("--delay", type=_number, default=0.0, metavar="S", help="how long a byte takes")
    parser.add_argument("--jitter", type=_number, default=0.0, metavar="S", help="how much that varies, both ways")
    parser.add_argument("--rate", type=_positive, metavar="BYTES", help="bytes a second, for each direction")
    parser.add_argument("--slice", type=int, metavar="BYTES", help="write so many bytes at once, 1 for each by itself")
    parser.add_argument("--refuse", action="store_true", help="reset every new connection")
    parser.add_argument("--stall-after", type=_number, metavar="S", help="then forward nothing, without an end")
    parser.add_argument("--half-close-after", type=_number, metavar="S", help="then end the way to the server")
    parser.add_argument("--reset-after", type=_number, metavar="S", help="then reset the connection")
    parser.add_argument("--seed", type=int, help="makes the jitter repeatable")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="(default: %(default)s)")
    options = parser.parse_args(argv)
    if options.slice is not None and options.slice < 1:
        parser.error("argument --slice: at least 1")
    return options


async def _main(options: argparse.Namespace) -> None:
    names = ("delay", "jitter", "rate", "slice", "refuse", "stall_after", "reset_after", "half_close_after")
    faults = Faults(**{name: getattr(options, name) for name in names})
    host, port = options.to
    async with (
        notify_context(signal.SIGINT, signal.SIGTERM) as stopped,
        proxy(host, port, faults, listen=options.listen, seed=options.seed) as chaos,
    ):
        print(f"{options.listen[0]}:{chaos.port} -> {host}:{port}", flush=True)
        await stopped.done.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    options = _options(argv)
    try:
        gochan.run(_main, options, backend=options.backend)
    except OSError as error:
        print(f"cannot listen on {options.listen[0]}:{options.listen[1]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
