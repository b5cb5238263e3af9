"""A session alone, on a stream that the test holds the other end of: what is written, in what order, in what pieces."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from tests.chat.talkers import BOUND, HELLO, encode

from examples.chat import wire
from examples.chat.config import Settings
from examples.chat.hub import Hub
from examples.chat.session import Session
from examples.chat.transport import Lines
from examples.chat.wire import Close, Encoded, Goodbye
from gochan import Channel, Event, Group
from gochan.testing import sleep


class Held:
    """A socket whose sending waits until it is let go."""

    def __init__(self) -> None:
        self.input = Channel[bytes](100)
        self.written: list[bytes] = []
        self.writing = Event()
        self.let_go = Event()
        self.aborted = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self.input.receive()  # ChannelClosed is an EndOfStream

    async def send(self, item: bytes) -> None:
        self.writing.set()
        await self.let_go.wait()
        self.written.append(item)

    async def send_eof(self) -> None:
        self.input.close()

    def abort(self) -> None:
        self.aborted = True

    def messages(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(self.written).splitlines()]


@contextlib.asynccontextmanager
async def session(**settings: Any) -> AsyncIterator[tuple[Session, Held]]:
    """A session that has had its hello and writes its welcome, which is held."""
    stream: Any = Held()
    hub = Hub()
    settings_ = Settings(**settings)
    session = Session(stream, Lines(stream, b"", settings_.max_size), hub, settings_)
    with anyio.fail_after(BOUND):
        async with Group() as group:
            group.go(hub.run)
            running = group.go(session.run, anyio.current_time() + BOUND)
            await stream.input.send(encode(HELLO) + b"\n")
            await stream.writing.wait()
            yield session, stream
            await running.result()
            hub.stop.set()


def frame(number: int, size: int = 0) -> Encoded:
    return Encoded({"t": "x", "n": number, "x": "x" * size})


async def test_close_writes_what_is_there() -> None:
    """N1, N2: closed, a session still writes its outbox, in order, then the goodbye that came first."""
    async with session() as (client, stream):
        for number in range(100):
            client.offer(frame(number))
        client.close(Goodbye(Close.SHUTDOWN, "first"))
        client.close(Goodbye(Close.INTERNAL, "second"))
        stream.let_go.set()
    welcome, *frames, last = stream.messages()
    assert welcome["t"] == "welcome"
    assert [message["n"] for message in frames] == list(range(100))
    assert (last["t"], last["code"], last["reason"]) == ("goaway", 4001, "first")


async def test_drop_does_not() -> None:
    """A client that is dropped gets what is being written, then the goodbye: the rest is forgotten at once."""
    async with session() as (client, stream):
        for number in range(100):
            client.offer(frame(number))
        client.drop(Goodbye(Close.SLOW, "too slow"))
        assert len(client.outbox) == 0
        stream.let_go.set()
    assert [message["t"] for message in stream.messages()] == ["welcome", "goaway"]


async def test_batches() -> None:
    """N5: waiting frames go out together, up to the size of a batch; one that is larger goes alone."""
    sizes = [10] * 20 + [900] * 3 + [5000] + [10] * 100
    async with session(batch=1000) as (client, stream):
        for number, size in enumerate(sizes):
            client.offer(frame(number, size))
        client.close(Goodbye(Close.NORMAL, "bye"))
        stream.let_go.set()
    assert [message["n"] for message in stream.messages()[1:-1]] == list(range(len(sizes)))
    for piece in stream.written[1:]:
        assert len(piece) <= 1000 or len(piece.splitlines()) == 1
    assert len(stream.written) < 20


@pytest.mark.gochan(virtual_time=True)
async def test_write_deadline() -> None:
    """A write that takes too long ends the session with a reset instead of a goodbye."""
    begun = anyio.current_time()
    async with session(write_timeout=7) as (_, stream):
        pass
    assert anyio.current_time() == begun + 7
    assert stream.aborted
    assert stream.written == []


async def test_hub_that_has_ended() -> None:
    """A session whose hub is gone ends with 4014 when it needs it."""
    async with session() as (client, stream):
        stream.let_go.set()
        client._hub.stop.set()
        while not client._hub.broadcast.closed:
            await anyio.sleep(0)
        await stream.input.send(encode({"t": "join", "id": 1, "room": "lobby"}) + b"\n")
    assert stream.messages()[-1]["code"] == 4014


async def test_what_comes_after_the_goodbye_is_not_obeyed() -> None:
    """Commands that arrive when the session is closed already do nothing: nobody hears of them."""
    async with session() as (client, stream):
        observer = Observer()
        await client._hub.register.send((observer, wire.Join(1, "lobby")))
        client.close(Goodbye(Close.SHUTDOWN, "the server stops"))
        await stream.input.send(encode({"t": "join", "id": 1, "room": "lobby"}) + b"\n")
        while len(stream.input):
            await anyio.sleep(0)
        stream.let_go.set()
    assert [message["t"] for message in stream.messages()] == ["welcome", "goaway"]
    assert observer.heard == ["joined"]


@pytest.mark.gochan(virtual_time=True)
async def test_hub_hears_of_the_end_however_busy_it_is() -> None:
    """N3: a session that is cut off waits for the hub to take its leave, cancelled or not."""
    stream: Any = Held()
    hub, observer = Hub(), Observer()
    client = Session(stream, Lines(stream, b"", 1000), hub, Settings(write_timeout=7))
    hub.members |= {client, observer}
    hub.users.update(["", "observer"])
    with anyio.fail_after(BOUND):
        async with Group() as group:
            running = group.go(client.run, anyio.current_time() + BOUND)
            await stream.input.send(encode(HELLO) + b"\n")
            await sleep(7)
            assert stream.aborted
            assert hub.unregister.statistics().senders_waiting == 1
            hub.users.update({"": -1, "ann": 1})
            group.go(hub.run)
            await running.result()
            hub.stop.set()
    assert hub.members == {observer}
    assert observer.heard == ["pres"]


class Observer:
    """A member of the room that notes what it hears."""

    user = "observer"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def offer(self, frame: Encoded) -> None:
        self.heard.append(json.loads(frame.payload)["t"])

    def drop(self, goodbye: Goodbye) -> None: ...
