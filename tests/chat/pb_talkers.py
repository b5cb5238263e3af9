"""Clients that speak Protobuf, over TCP and over WebSocket; as plain as the others, and as free to misbehave."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
from tests.chat.talkers import Connect, Ended, Talker, WsTalker, connected
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from examples.chat.server import Server
from examples.chat.transport import PREFACE
from examples.chat.wire.protobuf_codec import PROTOBUF


def encode(message: Any) -> bytes:
    return message if isinstance(message, bytes) else PROTOBUF.encode(message)


class TcpPbTalker(Talker):
    """Messages behind their length."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        super().__init__(stream)
        self.buffer = bytearray()
        self.code: int | None = None

    async def send(self, *messages: Any) -> None:
        await self.raw(b"".join(self.frame(encode(message)) for message in messages))

    def frame(self, payload: bytes) -> bytes:
        return len(payload).to_bytes(4, "big") + payload

    async def receive(self) -> Any:
        await self._have(4)
        end = 4 + int.from_bytes(self.buffer[:4], "big")
        await self._have(end)
        message = PROTOBUF.loads(self.buffer[4:end])
        del self.buffer[:end]
        if message["t"] == "goaway":
            self.code = message["code"]
        return message

    async def _have(self, size: int) -> None:
        while len(self.buffer) < size:
            try:
                self.buffer += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                raise Ended(self.code) from None


class WsPbTalker(WsTalker):
    """One binary frame for each message."""

    async def send(self, *messages: Any) -> None:
        await self.raw(b"".join(self.frame(encode(message), Opcode.BINARY) for message in messages))

    async def receive(self) -> Any:
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                if frame.opcode is Opcode.BINARY:
                    return PROTOBUF.loads(bytes(frame.data))
            if self.protocol.close_rcvd is not None:
                raise Ended(self.protocol.close_rcvd.code)
            await self._more()


@contextlib.asynccontextmanager
async def tcp_pb(server: Server) -> AsyncIterator[TcpPbTalker]:
    async with connected(server) as stream:
        await stream.send(PREFACE)
        yield TcpPbTalker(stream)


@contextlib.asynccontextmanager
async def ws_pb(server: Server) -> AsyncIterator[WsPbTalker]:
    protocol = ClientProtocol(
        parse_uri(f"ws://127.0.0.1:{server.port}/ws"), subprotocols=[Subprotocol("gochat.pb")], max_size=None
    )
    async with connected(server) as stream:
        talker = WsPbTalker(stream, protocol)
        await talker.handshake()
        assert protocol.subprotocol == "gochat.pb"
        yield talker


PB_TALKERS: dict[str, Connect] = {"tcp pb": tcp_pb, "ws pb": ws_pb}
