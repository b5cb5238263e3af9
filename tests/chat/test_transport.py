"""Transports alone: however the bytes are cut, the same messages come out."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import NegotiationError
from websockets.frames import Close, Frame, Opcode
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from examples.chat import wire
from examples.chat.transport import (
    PREFACE,
    Lines,
    Opening,
    Prefixed,
    Transport,
    WebSocket,
    recognise,
    select_subprotocol,
)  # fmt: skip
from examples.chat.wire import Framing, Goodbye
from examples.chat.wire.protobuf_codec import PROTOBUF
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


def prefixed(stream: ByteReceiveStream, received: bytes = b"", max_size: int = 100) -> Prefixed:
    return Prefixed(stream, received, max_size, PROTOBUF)


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def shaken(*headers: bytes, max_size: int = 100) -> tuple[ServerProtocol, bytes]:
    """The server's side of a handshake, and its answer."""
    protocol = ServerProtocol(select_subprotocol=select_subprotocol, max_size=max_size)
    protocol.receive_data(HANDSHAKE + b"".join(header + b"\r\n" for header in headers) + b"\r\n")
    request: Any = protocol.events_received()[0]
    protocol.send_response(protocol.accept(request))
    return protocol, b"".join(protocol.data_to_send())


def websocket(stream: ByteReceiveStream, received: bytes = b"", max_size: int = 100) -> WebSocket:
    """A WebSocket after its handshake, in which nothing was said of a subprotocol."""
    return WebSocket(stream, shaken(max_size=max_size)[0], received)


def websocket_pb(stream: ByteReceiveStream, received: bytes = b"", max_size: int = 100) -> WebSocket:
    """One of the subprotocol gochat.pb."""
    return WebSocket(stream, shaken(b"Sec-WebSocket-Protocol: gochat.pb", max_size=max_size)[0], received)


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def line(payload: bytes) -> bytes:
    return payload + b"\n"


def behind_length(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def binary(payload: bytes) -> bytes:
    return frame(payload, Opcode.BINARY)


Make = Callable[..., Transport]
# Each transport: how it is made, and how a client sets its messages apart.
TRANSPORTS: dict[str, tuple[Make, Callable[[bytes], bytes]]] = {
    "lines": (lines, line),
    "prefixed": (prefixed, behind_length),
    "ws json": (websocket, frame),
    "ws pb": (websocket_pb, binary),
}
every_transport = pytest.mark.parametrize(("make", "put"), TRANSPORTS.values(), ids=TRANSPORTS)


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
@settings(max_examples=50)
async def test_lines(texts: list[str], places: list[int]) -> None:
    """Lines come out whole and in order, wherever the stream was cut."""
    payloads = [text.encode() for text in texts]
    first, *rest = cut(b"".join(payload + b"\n" for payload in payloads), places) or [b""]
    messages, goodbye, _ = await read_all(lines(Chunks(*rest), first))
    assert messages == payloads
    assert goodbye.code == 1000


@given(texts, places, places)
@settings(max_examples=50)
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


@every_transport
@pytest.mark.parametrize("size", [99, 100, 101, 300])
@pytest.mark.parametrize("step", [1, 64, 1000])
async def test_limit(make: Make, put: Callable[[bytes], bytes], size: int, step: int) -> None:
    """A message of the limit passes, one byte more does not, however it comes."""
    payload = b"x" * size
    data = put(payload)
    chunks = [data[start : start + step] for start in range(0, len(data), step)]
    messages, goodbye, _ = await read_all(make(Chunks(*chunks)))
    assert (messages, int(goodbye.code)) == (([payload], 1000) if size <= 100 else ([], 1009))


@every_transport
async def test_cut_anywhere(make: Make, put: Callable[[bytes], bytes]) -> None:
    """Wherever the stream is cut in two, the part before it being read with the connection's first bytes or not."""
    codec = make(Chunks()).codec
    payloads = [codec.encode(message) for message in ({"t": "ping", "n": 300}, {"t": "say", "id": "ä", "body": "ö"})]
    data = b"".join(map(put, payloads))
    for at in range(len(data) + 1):
        cut = [data[:at], data[at:]]
        assert await read_all(make(Chunks(*filter(None, cut)))) == (payloads, Left(), b"")
        assert await read_all(make(Chunks(*filter(None, cut[1:])), cut[0])) == (payloads, Left(), b"")
    assert await read_all(make(Chunks(*[data[at : at + 1] for at in range(len(data))]))) == (payloads, Left(), b"")


class Left:
    """The goodbye of a client that left."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Goodbye) and other.code is wire.Close.NORMAL

    __hash__ = None  # type: ignore[assignment]


async def test_too_long_is_noticed_early() -> None:
    """A message that is too long is refused when its length is known, not when it is complete."""
    stream = Chunks(*[b"x" * 50] * 1000)
    assert (await read_all(lines(stream)))[1].code == 1009
    assert stream.taken <= 150
    stream = Chunks(behind_length(b"x" * 101)[:4], b"x" * 1000)
    assert (await read_all(prefixed(stream)))[1].code == 1009
    assert stream.taken == 4
    stream = Chunks(*[frame(b"x" * 50, Opcode.CONT if number else Opcode.TEXT, False) for number in range(1000)])
    assert (await read_all(websocket(stream)))[1].code == 1009
    assert stream.taken <= 4 * 56


@every_transport
@pytest.mark.parametrize("end", [anyio.EndOfStream, anyio.BrokenResourceError])
async def test_end_in_the_middle(make: Make, put: Callable[[bytes], bytes], end: type[Exception]) -> None:
    """A stream that ends or breaks within a message is a client that left; half a message is none."""
    messages, goodbye, _ = await read_all(make(Chunks(put(b"a") + put(b"bc")[:-1], end=end)))
    assert messages == [b"a"]
    assert goodbye.code == 1000


async def test_farewell() -> None:
    """The last words: a goaway line, or a close frame; after a close frame of the client its echo, once."""
    goodbye = Goodbye(wire.Close.SLOW, "too slow")
    last = json.loads(lines(Chunks()).farewell(goodbye))
    assert (last["t"], last["code"], last["reason"]) == ("goaway", 4008, "too slow")

    answers = prefixed(Chunks()).farewell(goodbye)
    assert PROTOBUF.loads(answers[4:]) == wire.goaway(goodbye)
    assert int.from_bytes(answers[:4], "big") == len(answers) - 4

    transport = websocket(Chunks())
    close = Close(4008, "too slow").serialize()
    assert transport.farewell(goodbye) == Frame(Opcode.CLOSE, close).serialize(mask=False)
    assert transport.farewell(goodbye) == b""

    transport = websocket(Chunks(frame(b"a") + frame(b"\x03\xe8", Opcode.CLOSE) + frame(b"b")))
    messages, goodbye, replies = await read_all(transport)
    assert (messages, int(goodbye.code), replies) == ([b"a"], 1000, b"")
    assert transport.farewell(goodbye) == Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False)


async def test_farewell_to_what_is_too_long() -> None:
    """Where closing has no code of its own, a message that was too long is answered with 413 before the goaway."""
    for make, data in ((lines, b"x" * 101), (prefixed, b"\0\0\0\x65")):
        transport: Transport = make(Chunks(data))
        _, goodbye, _ = await read_all(transport)
        err = wire.err(wire.WireError(wire.Code.TOO_LARGE, goodbye.reason))
        expected = [wire.enframe(transport.codec.encode(message), transport.framing, binary=transport.codec.binary)
                    for message in (err, wire.goaway(goodbye))]  # fmt: skip
        assert (goodbye.code, transport.farewell(goodbye)) == (1009, b"".join(expected))


@pytest.mark.parametrize(
    ("reason", "sent"), [("x" * 124, "x" * 123), ("ä" * 62, "ä" * 61), ("x" + "🐟" * 99, "x" + "🐟" * 30)]
)
async def test_long_reason(reason: str, sent: str) -> None:
    """A reason that a close frame cannot hold is cut, between two characters."""
    farewell = websocket(Chunks()).farewell(Goodbye(wire.Close.BAD_REQUEST, reason))
    assert farewell == Frame(Opcode.CLOSE, Close(4500, sent).serialize()).serialize(mask=False)


async def test_subprotocols() -> None:
    """The subprotocol says which codec; the client's first choice counts; without one it is JSON."""
    for offers, chosen, codec in (
        ((), None, wire.JSON),
        ((b"gochat.json",), b"gochat.json", wire.JSON),
        ((b"gochat.pb",), b"gochat.pb", PROTOBUF),
        ((b"gochat.pb, gochat.json",), b"gochat.pb", PROTOBUF),
        ((b"mqtt", b"gochat.json, gochat.pb"), b"gochat.json", wire.JSON),
    ):
        protocol, answer = shaken(*[b"Sec-WebSocket-Protocol: " + offer for offer in offers])
        assert WebSocket(Chunks(), protocol, b"").codec is codec
        assert (b"Sec-WebSocket-Protocol: " + (chosen or b"") in answer) is (chosen is not None)
    for bad in ("mqtt", "GOCHAT.JSON", "gochat"):
        with pytest.raises(NegotiationError, match=r"gochat\.json, gochat\.pb"):
            select_subprotocol(protocol, [Subprotocol(bad)])


async def test_extensions_are_refused() -> None:
    """Whatever a client offers, no extension is negotiated: everybody gets the same bytes."""
    _, answer = shaken(b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"extensions" not in answer.lower()


def test_recognise() -> None:
    """The first bytes tell lines from frames from HTTP, and not too early."""
    for start, opening in (
        (b"", None), (b"G", None), (b"GC", None), (b"GCP", None), (b"GCP1", Opening.PREFIXED),
        (b"GCP1\0\0\0\1", Opening.PREFIXED), (b"GE", Opening.HTTP), (b"GCP2", Opening.HTTP), (b"P", Opening.HTTP),
        (b"{", Opening.LINES), (b" ", Opening.LINES), (b"g", Opening.LINES), (b"\xff", Opening.LINES),
        (b"\0", Opening.LINES), (b"\n", Opening.LINES), (bytearray(b"GCP1"), Opening.PREFIXED),
    ):  # fmt: skip
        assert (start, recognise(start)) == (start, opening)
    assert PREFACE == b"GCP1"


@given(st.binary(max_size=300), places)
@settings(max_examples=50)
async def test_noise(data: bytes, places: list[int]) -> None:
    """Whatever comes, every transport ends with a goodbye, holds no more than it may, and can say its farewell."""
    for make, _ in TRANSPORTS.values():
        transport = make(Chunks(*cut(data, places)))
        messages, goodbye, _ = await read_all(transport)
        assert all(len(message) <= 100 for message in messages)
        assert transport.framing in Framing
        transport.farewell(goodbye)
