"""A server in the test's own loop, and clients so plain that they can also misbehave."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from examples.chat.config import Settings
from examples.chat.server import Server
from gochan import Group

BOUND = 20.0
"""Seconds that anything may take here, on the slowest machine."""

HELLO = {"t": "hello", "v": 1, "user": "ann"}
JOIN = {"t": "join", "id": 1, "room": "lobby"}


class Ended(Exception):
    """The server ended the connection, with this code; ``None`` when it just closed it."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


@contextlib.asynccontextmanager
async def running(
    make: Callable[[Settings], Server] = Server, bound: float = BOUND * 2, **settings: Any
) -> AsyncIterator[Server]:
    """A server on a free port, for so many seconds; afterwards it must stop in time and leave an empty hub."""
    # Half a second of linger is enough on one machine, and no test waits for it.
    quick = {
        "ping_interval": 3600.0,
        "port": 0,
        "linger": 0.5,
        "drain_timeout": 5.0,
        "drain_spread": 0.1,
        "rate": 1e6,
        "burst": 10**6,
    }
    server = make(Settings(**{**quick, **settings}))
    with anyio.fail_after(bound):
        await server.listen()
        async with Group() as group:
            group.go(server.run)
            yield server
            server.stop.set()
    server.hub._check()
    assert not server.hub.rooms
    assert not server.sessions


async def until(condition: Callable[[], object]) -> None:
    """Wait until what another program or task does has become visible."""
    with anyio.fail_after(BOUND):
        while not condition():
            await anyio.sleep(0.001)


def encode(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False).encode()


class Talker:
    """A client: ``send`` messages (dicts, or bytes to be framed), ``raw`` bytes, ``receive`` dicts until ``Ended``."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream

    async def raw(self, data: bytes) -> None:
        await self.stream.send(data)

    async def send(self, *messages: Any) -> None:
        await self.raw(b"".join(self.frame(encode(message)) for message in messages))

    def frame(self, payload: bytes) -> bytes:
        raise NotImplementedError

    async def receive(self) -> Any:
        raise NotImplementedError

    async def get(self, kind: str, **fields: Any) -> Any:
        """The next message, which must be of this kind and have these fields."""
        message = await self.receive()
        assert message["t"] == kind, message
        assert {name: message.get(name) for name in fields} == fields, message
        return message

    async def find(self, kind: str, **fields: Any) -> Any:
        """The next message of this kind with these fields, whatever comes before."""
        while True:
            message = await self.receive()
            if message["t"] == kind and {name: message.get(name) for name in fields} == fields:
                return message

    async def end(self) -> int | None:
        """Read to the end; its code."""
        with anyio.fail_after(BOUND):
            try:
                while True:
                    await self.receive()
            except Ended as ended:
                return ended.code

    async def hello(self, user: str = "ann") -> None:
        await self.send({**HELLO, "user": user})
        await self.get("welcome")

    async def join(self, user: str = "ann") -> Any:
        await self.hello(user)
        await self.send(JOIN)
        return await self.get("joined", id=1)

    def reset(self) -> None:
        """Vanish: the server sees a reset."""
        sock = self.stream.extra(SocketAttribute.raw_socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


class TcpTalker(Talker):
    def __init__(self, stream: SocketStream) -> None:
        super().__init__(stream)
        self.buffer = bytearray()
        self.code: int | None = None

    def frame(self, payload: bytes) -> bytes:
        return payload + b"\n"

    async def receive(self) -> Any:
        while (end := self.buffer.find(b"\n")) < 0:
            try:
                self.buffer += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                raise Ended(self.code) from None
        message = json.loads(bytes(self.buffer[:end]))
        del self.buffer[: end + 1]
        if message["t"] == "goaway":
            self.code = message["code"]
        return message


class WsTalker(Talker):
    def __init__(self, stream: SocketStream, protocol: ClientProtocol) -> None:
        super().__init__(stream)
        self.protocol = protocol
        self.frames: list[Frame] = []

    def frame(self, payload: bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
        return Frame(opcode, payload, fin).serialize(mask=True)

    async def handshake(self, **headers: str) -> Response:
        request = self.protocol.connect()
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value
        self.protocol.send_request(request)
        await self.raw(b"".join(self.protocol.data_to_send()))
        await self._more()
        response: Any = self.frames.pop(0)
        return response

    async def receive(self) -> Any:
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                if frame.opcode is Opcode.TEXT:
                    return json.loads(bytes(frame.data))
            close = self.protocol.close_rcvd
            if close is not None:
                raise Ended(close.code)
            await self._more()

    async def _more(self) -> None:
        try:
            self.protocol.receive_data(await self.stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            raise Ended(None) from None
        self.frames += self.protocol.events_received()  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def connected(server: Server) -> AsyncIterator[SocketStream]:
    async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        yield stream


@contextlib.asynccontextmanager
async def tcp(server: Server) -> AsyncIterator[TcpTalker]:
    async with connected(server) as stream:
        yield TcpTalker(stream)


@contextlib.asynccontextmanager
async def ws(server: Server) -> AsyncIterator[WsTalker]:
    protocol = ClientProtocol(
        parse_uri(f"ws://127.0.0.1:{server.port}/ws"), subprotocols=[Subprotocol("gochat.json")], max_size=None
    )
    async with connected(server) as stream:
        talker = WsTalker(stream, protocol)
        await talker.handshake()
        assert protocol.state is OPEN
        assert protocol.subprotocol == "gochat.json"
        yield talker


Connect = Callable[[Server], contextlib.AbstractAsyncContextManager[Talker]]
TALKERS: dict[str, Connect] = {"tcp": tcp, "ws": ws}


async def fetch(server: Server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """One raw HTTP request: status, headers (lower-case names), body."""
    answer = b""
    with anyio.fail_after(BOUND):
        async with connected(server) as stream:
            await stream.send(request)
            with contextlib.suppress(anyio.EndOfStream):
                while True:
                    answer += await stream.receive()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), {name.lower(): value for name, value in headers.items()}, body
