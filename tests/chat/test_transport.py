"""Transports alone: however the bytes are cut, the same messages come out."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from examples.chat import wire
from examples.chat.pages import new_protocol
from examples.chat.transport import Lines, Transport, WebSocket
from examples.chat.wire import Goodbye
from gochan import Channel


class Chunks(ByteReceiveStream):
    """A stream of these chunks; then it ends, or breaks."""

    def __init__(self, *chunks: bytes, end: type[Exception] = anyio.EndOfStream) -> None:
        self.chunks = list(chunks)
        self.end = end
        self.taken = 0

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self.chunks:
            raise self.end
        data, rest = self.chunks[0][:max_bytes], self.chunks[0][max_bytes:]
        self.chunks[:1] = [rest] if rest else []
        self.taken += len(data)
        return data

    async def aclose(self) -> None:
        self.chunks.clear()


def lines(stream: ByteReceiveStream, received: bytes = b"", max_size: int = 100) -> Lines:
    return Lines(stream, received, max_size)


def websocket(stream: ByteReceiveStream, received: bytes = b"", max_size: int = 100) -> WebSocket:
    """A WebSocket after its handshake."""
    protocol = new_protocol(max_size)
    protocol.receive_data(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    request: Any = protocol.events_received()[0]
    protocol.send_response(protocol.accept(request))
    protocol.data_to_send()
    return WebSocket(stream, protocol, received)


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


async def read_all(transport: Transport) -> tuple[list[bytes], Goodbye, bytes]:
    """Every message, how it ended, and what the framing answered."""
    replies = Channel[bytes](100)
    messages: list[bytes] = []
    try:
        while True:
            messages.append(bytes(await transport.read(replies)))
    except Goodbye as goodbye:
        return messages, goodbye, b"".join([replies.receive_nowait() for _ in range(len(replies))])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


texts = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20), max_size=8)
places = st.lists(st.integers(0, 500), max_size=20)


@given(texts, places)
async def test_lines(texts: list[str], places: list[int]) -> None:
    """Lines come out whole and in order, wherever the stream was cut."""
    payloads = [text.encode() for text in texts]
    first, *rest = cut(b"".join(payload + b"\n" for payload in payloads), places) or [b""]
    messages, goodbye, _ = await read_all(lines(Chunks(*rest), first))
    assert messages == payloads
    assert goodbye.code == 1000


@given(texts, places, places)
async def test_frames(texts: list[str], places: list[int], splits: list[int]) -> None:
    """Messages in fragments, with pings between them, come out whole and in order, and every ping is answered."""
    payloads = [text.encode() for text in texts]
    wire_bytes, pings = b"", 0
    for payload in payloads:
        parts = cut(payload, splits) or [b""]
        for number, part in enumerate(parts):
            wire_bytes += frame(part, Opcode.CONT if number else Opcode.TEXT, number == len(parts) - 1)
            wire_bytes += frame(b"?", Opcode.PING)
            pings += 1
    messages, goodbye, replies = await read_all(websocket(Chunks(*cut(wire_bytes, places))))
    assert messages == payloads
    assert replies == Frame(Opcode.PONG, b"?").serialize(mask=False) * pings
    assert goodbye.code == 1000


@pytest.mark.parametrize("size", [99, 100, 101, 300])
@pytest.mark.parametrize("step", [1, 64, 1000])
async def test_limit(size: int, step: int) -> None:
    """A message of the limit passes, one byte more does not, however it comes."""
    payload = b"x" * size
    for make, data in ((lines, payload + b"\n"), (websocket, frame(payload))):
        chunks = [data[start : start + step] for start in range(0, len(data), step)]
        messages, goodbye, _ = await read_all(make(Chunks(*chunks)))
        assert (messages, int(goodbye.code)) == (([payload], 1000) if size <= 100 else ([], 1009))


async def test_too_long_is_noticed_early() -> None:
    """A message that is too long is refused when its length is known, not when it is complete."""
    stream = Chunks(*[b"x" * 50] * 1000)
    assert (await read_all(lines(stream)))[1].code == 1009
    assert stream.taken <= 150
    stream = Chunks(*[frame(b"x" * 50, Opcode.CONT if number else Opcode.TEXT, False) for number in range(1000)])
    assert (await read_all(websocket(stream)))[1].code == 1009
    assert stream.taken <= 4 * 56


@pytest.mark.parametrize("end", [anyio.EndOfStream, anyio.BrokenResourceError])
async def test_end_in_the_middle(end: type[Exception]) -> None:
    """A stream that ends or breaks within a message is a client that left; half a message is none."""
    for make, data in ((lines, b"a\nbc"), (websocket, frame(b"a") + frame(b"bc")[:-1])):
        messages, goodbye, _ = await read_all(make(Chunks(data, end=end)))
        assert messages == [b"a"]
        assert goodbye.code == 1000


async def test_farewell() -> None:
    """The last words: a goaway line, or a close frame; after a close frame of the client its echo, once."""
    goodbye = Goodbye(wire.Close.SLOW, "too slow")
    last = json.loads(lines(Chunks()).farewell(goodbye))
    assert (last["t"], last["code"], last["reason"]) == ("goaway", 4008, "too slow")

    transport = websocket(Chunks())
    close = Close(4008, "too slow").serialize()
    assert transport.farewell(goodbye) == Frame(Opcode.CLOSE, close).serialize(mask=False)
    assert transport.farewell(goodbye) == b""

    transport = websocket(Chunks(frame(b"a") + frame(b"\x03\xe8", Opcode.CLOSE) + frame(b"b")))
    messages, goodbye, replies = await read_all(transport)
    assert (messages, int(goodbye.code), replies) == ([b"a"], 1000, b"")
    assert transport.farewell(goodbye) == Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False)
