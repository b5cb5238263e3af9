"""A session alone, on a stream that the test holds the other end of: what is written, in what order, in what pieces."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from tests.chat.talkers import BOUND, HELLO, encode

from examples.chat.broker import MemoryEngine
from examples.chat.config import Settings
from examples.chat.node import new_node
from examples.chat.session import Session
from examples.chat.supervisor import supervise
from examples.chat.transport import Lines
from examples.chat.wire import Close, Encoded, Goodbye
from gochan import Channel, Event, Group
from gochan.testing import sleep, wait_idle


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

    def try_write(self, data: bytes) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True

    def messages(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(self.written).splitlines()]


@contextlib.asynccontextmanager
async def session(**settings: Any) -> AsyncIterator[tuple[Session, Held]]:
    """A session that has had its hello and writes its welcome, which is held."""
    stream: Any = Held()
    node = new_node(Settings(**settings), MemoryEngine().broker("here"))
    session = Session(stream, Lines(stream, b"", node.settings.max_size), node)
    with anyio.fail_after(BOUND):
        async with Group() as group:
            group.go(supervise, node.hub)
            group.go(node.hub.subscriptions.run)
            running = group.go(session.run, anyio.current_time() + BOUND)
            await stream.input.send(encode(HELLO) + b"\n")
            await stream.writing.wait()
            yield session, stream
            await running.result()
            node.hub.stop.set()
            group.cancel()


def put(client: Session, number: int, size: int = 0) -> None:
    client.answer(Encoded({"t": "x", "n": number, "x": "x" * size}))


async def test_close_writes_what_is_there() -> None:
    """N1, N2: closed, a session still writes its outbox, in order, then the goodbye that came first."""
    async with session() as (client, stream):
        for number in range(100):
            put(client, number)
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
            put(client, number)
        client.drop(Goodbye(Close.SLOW, "too slow"))
        assert client.outbox.frames == 0
        stream.let_go.set()
    assert [message["t"] for message in stream.messages()] == ["welcome", "goaway"]


async def test_batches() -> None:
    """N5: waiting frames go out together, up to the size of a batch; one that is larger goes alone."""
    sizes = [10] * 20 + [900] * 3 + [5000] + [10] * 100
    async with session(batch=1000) as (client, stream):
        for number, size in enumerate(sizes):
            put(client, number, size)
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
        hub = client._node.hub
        hub.stop.set()
        while not hub.register.closed:
            await anyio.sleep(0)
        await stream.input.send(encode({"t": "join", "id": 1, "room": "lobby"}) + b"\n")
    assert stream.messages()[-1]["code"] == 4014


async def test_what_comes_after_the_goodbye_is_not_obeyed() -> None:
    """Commands that arrive when the session is closed already do nothing: nobody hears of them."""
    async with session() as (client, stream):
        client.close(Goodbye(Close.SHUTDOWN, "the server stops"))
        await stream.input.send(encode({"t": "join", "id": 1, "room": "lobby"}) + b"\n")
        while len(stream.input):
            await anyio.sleep(0)
        assert client._node.hub.rooms == {}
        stream.let_go.set()
    assert [message["t"] for message in stream.messages()] == ["welcome", "goaway"]


@pytest.mark.gochan(virtual_time=True)
async def test_context_ends_with_the_session() -> None:
    """N1: whoever works for a session sees its end at once, and why."""
    async with session() as (client, stream):
        assert client.ctx.err is None
        goodbye = Goodbye(Close.KICKED, "enough")
        client.drop(goodbye)
        assert client.ctx.cause is goodbye
        stream.let_go.set()


@pytest.mark.gochan(virtual_time=True)
async def test_drain_waits_for_the_command() -> None:
    """What the client is waiting for is still done and answered, then it is told to come back."""
    async with session() as (client, stream):
        stream.let_go.set()
        broker: Any = client._node.broker
        publish, asked, answered = broker.publish, Event(), Event()

        async def slowly(*args: Any, **more: Any) -> Any:
            asked.set()
            await answered.wait()
            return await publish(*args, **more)

        broker.publish = slowly
        for message in ({"t": "join", "id": 1, "room": "a"}, {"t": "say", "id": 2, "room": "a", "body": "hi"}):
            await stream.input.send(encode(message) + b"\n")
        await stream.input.send(encode({"t": "say", "id": 3, "room": "a", "body": "too late"}) + b"\n")
        await asked.wait()
        client.drain(Goodbye(Close.SHUTDOWN, "the server stops", after_ms=70, resume=True))
        await sleep(3)
        answered.set()
    kinds = [message["t"] for message in stream.messages() if message["t"] != "msg"]
    assert kinds == ["welcome", "joined", "ack", "goaway"]
    assert (stream.messages()[-1]["after_ms"], stream.messages()[-1]["resume"]) == (70, True)


@pytest.mark.gochan(virtual_time=True)
async def test_broker_that_hangs() -> None:
    """What takes too long is refused with 504, which may be tried again; the session stays."""
    async with session(broker_timeout=3) as (client, stream):
        stream.let_go.set()
        broker: Any = client._node.broker
        broker.publish = lambda *_, **__: Event().wait()
        for message in ({"t": "join", "id": 1, "room": "a"}, {"t": "say", "id": 2, "room": "a", "body": "hi"}):
            await stream.input.send(encode(message) + b"\n")
        await sleep(10)
        error = stream.messages()[-1]
        assert (error["code"], error["id"], error["temp"]) == (504, 2, True)
        client.close(Goodbye(Close.NORMAL, "bye"))


class Sluggish(Held):
    """A socket that takes so many bytes at once."""

    def __init__(self, takes: int) -> None:
        super().__init__()
        self.takes = takes

    def try_write(self, data: bytes) -> int:
        self.written.append(data[: self.takes])
        return len(self.written[-1])


@pytest.mark.gochan(virtual_time=True)
@pytest.mark.parametrize("fanout", ["direct", "queue"])
@pytest.mark.parametrize("takes", [0, 1, 7, 100_000])
async def test_direct_write(takes: int, fanout: Any) -> None:
    """N2: whatever the socket takes at once, every frame is whole and in order, with those that are queued."""
    stream: Any = Sluggish(takes)
    node = new_node(Settings(outbox=10_000, fanout=fanout), MemoryEngine().broker("here"))
    client = Session(stream, Lines(stream, b"", 1000), node)
    stream.let_go.set()
    async with Group() as group:
        group.go(supervise, node.hub)
        running = group.go(client.run, anyio.current_time() + BOUND)
        await stream.input.send(encode(HELLO) + b"\n")
        for number in range(100):
            put(client, number)
            if number % 3 == 0:
                await wait_idle()
            if number % 10 == 0:
                await stream.input.send(encode({"t": "ping", "n": number}) + b"\n")
        await wait_idle()
        client.close(Goodbye(Close.NORMAL, "bye"))
        await running.result()
        group.cancel()
    messages = stream.messages()
    assert [message["n"] for message in messages if message["t"] == "x"] == list(range(100))
    assert [message["n"] for message in messages if message["t"] == "pong"] == list(range(0, 100, 10))
    assert (client.direct > 30) is (takes == 100_000 and fanout == "direct")
    assert fanout == "direct" or client.direct == 0
