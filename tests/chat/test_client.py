"""The client class over real sockets: with the real server, and with servers that misbehave.

What it does when the connection is lost is in ``test_client_recovery``, in virtual time.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from tests.chat.talkers import BOUND, running
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from examples.chat import wire
from examples.chat.client import LOST, Client, Disconnected, GoAway, Message, Presence, Problem, Refused
from examples.chat.client.framing import Lines, Prefixed, WebSocket
from examples.chat.server import Server
from gochan import Group

Transport = Literal["websocket", "tcp"]
both = pytest.mark.parametrize("transport", ["websocket", "tcp"])


def client(
    server: Server, user: str = "ada", transport: Transport = "websocket", backlog: int = 4096, reconnect: bool = False
) -> Client:
    return Client.connect(
        "127.0.0.1",
        server.port,
        user=user,
        transport=transport,
        backlog=backlog,
        reconnect=reconnect,
        timeout=BOUND,
        heartbeat=1000.0,
    )


def alone(port: int, *, transport: Transport = "tcp", timeout: float = BOUND) -> Client:
    """A client of a server that the test plays."""
    return Client.connect(
        "127.0.0.1", port, user="ada", transport=transport, reconnect=False, timeout=timeout, heartbeat=1000.0
    )


async def here(chat: Client) -> tuple[str, ...]:
    """Who is in the lobby, as `join` tells it."""
    return (await chat.join("lobby")).members


async def messages(chat: Client, count: int) -> list[Message]:
    """The next messages, whatever comes between them."""
    found: list[Message] = []
    with anyio.fail_after(BOUND):
        async for event in chat.events:
            if isinstance(event, Message):
                found.append(event)
            if len(found) == count:
                break
    return found


# ---- with the real server ----


@both
async def test_two_clients_talk(transport: Transport) -> None:
    """What one says, both hear, with its sender and time; who comes and goes is an event."""
    async with running() as server, client(server, "ada", transport) as ada:
        assert await here(ada) == ("ada",)
        async with client(server, "bob", "tcp") as bob:
            assert await here(bob) == ("ada", "bob")
            assert await ada.who("lobby") == ["ada", "bob"]
            await bob.say("lobby", "hello\nΩ 👋")
            assert await ada.events.receive() == Presence("lobby", ("bob",), ())
            (heard,) = await messages(ada, 1)
            assert (heard.room, heard.sender, heard.body) == ("lobby", "bob", "hello\nΩ 👋")
            assert heard.sent_at > 1_700_000_000
            assert await messages(bob, 1) == [heard]
        assert await ada.events.receive() == Presence("lobby", (), ("bob",))
        await ada.ping()
        await ada.leave("lobby")
        assert await ada.who("lobby") == []


@both
async def test_goroutines_may_share_a_client(transport: Transport) -> None:
    """Each `say` gets its own ack, and every client hears the same messages in the same order."""
    async with (
        running() as server,
        client(server, "ada", transport) as ada,
        client(server, "bob", transport) as bob,
    ):
        await ada.join("lobby")
        await bob.join("lobby")
        async with Group() as group:
            for number in range(40):
                group.go((ada, bob)[number % 2].say, "lobby", str(number))
        heard = await messages(ada, 40)
        assert sorted(int(message.body) for message in heard) == list(range(40))
        assert await messages(bob, 40) == heard
        assert len({message.id for message in heard}) == 40


@both
async def test_a_refused_request_harms_nothing(transport: Transport) -> None:
    """The server's error is raised where the request was made, and the client goes on."""
    async with running() as server, client(server, "ada", transport) as ada:
        with pytest.raises(Refused, match="join") as refused:
            await ada.say("lobby", "too early")
        assert (refused.value.code, refused.value.temporary) == (wire.Code.CONFLICT, False)
        with pytest.raises(Refused) as refused:
            await ada.join("no such room")
        assert refused.value.code == wire.Code.LIMIT
        assert await here(ada) == ("ada",)


@both
async def test_a_refused_name(transport: Transport) -> None:
    """Who is not welcome is told why, and leaves nothing behind."""
    async with running() as server:
        with pytest.raises(Refused, match="user name"):
            async with client(server, "a\nb", transport):
                raise AssertionError("entered")


@both
async def test_the_server_stops(transport: Transport) -> None:
    """`events` ends, `end` says why, and whatever is asked then or later raises it."""
    async with running() as server, client(server, "ada", transport) as ada:
        await ada.join("lobby")
        server.stop.set()
        with anyio.fail_after(BOUND):
            last = [event async for event in ada.events]
        (away,) = last
        assert isinstance(away, GoAway)
        assert (away.code, away.reason) == (wire.Close.SHUTDOWN, "the server stops")
        assert ada.end is not None
        assert (ada.end.code, ada.end.reason) == (wire.Close.SHUTDOWN, "the server stops")
        with pytest.raises(Disconnected, match="the server stops"):
            await ada.say("lobby", "too late")


@both
async def test_a_request_that_waits_hears_of_the_end(transport: Transport) -> None:
    """No answer will come: the request raises, it does not wait for ever."""

    async def ask(chat: Client) -> None:
        with pytest.raises(Disconnected):
            while True:
                await chat.ping()

    async with running() as server, client(server, "ada", transport) as ada:
        with anyio.fail_after(BOUND):
            async with Group() as group:
                for _ in range(5):
                    group.go(ask, ada)
                await ada.ping()
                server.stop.set()


async def test_events_that_nobody_reads() -> None:
    """The connection of a client that does not read its events ends, and says so; it does not grow, nor drop."""
    async with running() as server, client(server, "ada") as ada, client(server, "bob", backlog=3) as bob:
        await ada.join("lobby")
        await bob.join("lobby")
        for number in range(5):
            await ada.say("lobby", str(number))
        with anyio.fail_after(BOUND):
            heard = [event.body async for event in bob.events if isinstance(event, Message)]
        assert heard == ["0", "1", "2"]
        assert bob.end is not None
        assert bob.end.reason == "more than 3 events were not read"
        await ada.ping()


async def test_an_error_in_the_body_comes_out_bare() -> None:
    """The client adds nothing to what its user raises."""
    async with running() as server:
        with pytest.raises(ZeroDivisionError):
            async with client(server) as ada:
                await ada.join("lobby")
                raise ZeroDivisionError


@both
async def test_a_cancelled_visit_ends_at_once(transport: Transport) -> None:
    """Cancellation leaves the connection closed and nothing running; the scope, not the client, swallows it."""
    async with running() as server:
        with anyio.CancelScope() as scope:
            async with client(server, "ada", transport) as ada:
                await ada.join("lobby")
                scope.cancel()
                await ada.events.receive()
        assert scope.cancelled_caught
        assert ada.end is not None


async def test_a_client_in_an_exit_stack() -> None:
    """The same there, where a cycle of exceptions would be an endless loop."""
    async with running() as server:
        with anyio.CancelScope() as scope:
            async with contextlib.AsyncExitStack() as stack:
                ada = await stack.enter_async_context(client(server))
                scope.cancel()
                await ada.events.receive()
        assert scope.cancelled_caught
        with pytest.raises(ZeroDivisionError):
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(client(server))
                raise ZeroDivisionError


@pytest.mark.parametrize("transport", ["websocket", "tcp"])
async def test_protobuf(transport: Transport) -> None:
    """The same over Protobuf, with one who speaks JSON: rooms, positions, direct messages, the history."""
    pytest.importorskip("google.protobuf", reason="no protobuf: pip install protobuf")
    async with (
        running() as server,
        Client.connect("127.0.0.1", server.port, user="ada", transport=transport, format="protobuf") as ada,
        client(server, "bob") as bob,
    ):
        assert await here(ada) == ("ada",)
        await bob.join("lobby")
        place = await ada.say("lobby", "hello\nΩ 👋")
        assert place is not None
        assert place.off == 1
        (heard,) = await messages(bob, 1)
        assert (heard.sender, heard.body, heard.position) == ("ada", "hello\nΩ 👋", place)
        assert await messages(ada, 1) == [heard]
        assert (await ada.history("lobby", newest=True)).messages == (heard,)
        assert await bob.tell("ada", "psst") == 1
        with pytest.raises(Refused) as refused:
            await ada.tell("eve", "psst")
        assert refused.value.code == wire.Code.NOT_FOUND
        assert await ada.ping() >= 0
        assert await ada.who("lobby") == ["ada", "bob"]


# ---- with other servers ----


@contextlib.asynccontextmanager
async def serving(handle: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A server for one connection; its port."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:

        async def accept() -> None:
            async with await listener.listeners[0].accept() as stream:
                with contextlib.suppress(anyio.BrokenResourceError):
                    await handle(stream)

        async with Group() as group:
            group.go(accept)
            yield listener.extra(SocketAttribute.local_port)
            group.cancel()


async def until_closed(stream: SocketStream) -> None:
    """Read to the end, or to a goodbye."""
    with contextlib.suppress(anyio.EndOfStream):
        while b"bye" not in await stream.receive():
            pass


WELCOME = wire.dumps({"t": "welcome"}) + b"\n"


async def test_nobody_listens() -> None:
    """No server is an OSError, as of any connection."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)
    with pytest.raises(OSError, match=r"."):
        async with alone(port):
            raise AssertionError("entered")


@both
async def test_silence(transport: Transport) -> None:
    """A server that never answers is a TimeoutError."""
    async with serving(until_closed) as port:
        with pytest.raises(TimeoutError):
            async with alone(port, transport=transport, timeout=0.05):
                raise AssertionError("entered")


@both
async def test_a_server_that_closes_at_once(transport: Transport) -> None:
    """The end comes before the welcome: entering raises it."""

    async def close(stream: SocketStream) -> None:
        await stream.receive()

    async with serving(close) as port:
        with pytest.raises(Disconnected) as ended:
            async with alone(port, transport=transport):
                raise AssertionError("entered")
        assert ended.value.code == LOST


async def test_a_web_server_is_no_chat() -> None:
    """Another kind of server is told apart by its answer."""

    async def answer(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await until_closed(stream)

    async with serving(answer) as port:
        with pytest.raises(Disconnected, match="no chat"):
            async with alone(port, transport="websocket"):
                raise AssertionError("entered")


@pytest.mark.parametrize(
    "garbage",
    [b"nonsense\n", b"[]\n", b"{}\n", b'{"t":"msg"}\n', b'{"t":"goaway","after_ms":"soon"}\n', b"\xff\n"],
)
async def test_nonsense_ends_the_connection(garbage: bytes) -> None:
    """A message that cannot be understood ends the connection with a protocol error; nothing is guessed."""

    async def babble(stream: SocketStream) -> None:
        await stream.send(WELCOME + garbage)
        await until_closed(stream)

    async with serving(babble) as port:
        async with alone(port) as ada:
            with anyio.fail_after(BOUND):
                assert [event async for event in ada.events] == []
            assert ada.end is not None
            assert ada.end.code == wire.Close.PROTOCOL_ERROR


async def test_a_newer_server() -> None:
    """Messages and fields that are not known are ignored; an error that answers nothing is an event."""

    async def talk(stream: SocketStream) -> None:
        await stream.send(WELCOME + b'{"t":"fireworks"}\n{"t":"err","code":500,"msg":"oh","temp":true,"new":1}\n')
        await until_closed(stream)

    async with serving(talk) as port:
        async with alone(port) as ada:
            assert await ada.events.receive() == Problem(500, "oh", True)


async def test_pings_are_answered() -> None:
    """The server's sign of life is returned with its number."""
    answers: list[bytes] = []

    async def ping(stream: SocketStream) -> None:
        await stream.receive()  # hello
        await stream.send(WELCOME + b'{"t":"ping","n":7}\n')
        heard = b""
        while b"pong" not in heard:  # its own ping comes first
            heard += await stream.receive()
        answers.extend(heard.splitlines())

    async with serving(ping) as port:
        async with alone(port) as ada:
            with anyio.fail_after(BOUND):
                assert [event async for event in ada.events] == []
    assert {"t": "pong", "n": 7} in [wire.loads(answer) for answer in answers]


# ---- framings, without any I/O ----


def test_lines_in_pieces() -> None:
    """However a line is cut, it comes out whole and once; one without an end is refused."""
    framing = Lines()
    assert framing.feed(b'{"a"') == []
    assert framing.feed(b':1}\n{}\n{"b') == [b'{"a":1}', b"{}"]
    assert framing.feed(b'":2}\n') == [b'{"b":2}']
    with pytest.raises(Disconnected, match="too long"):
        framing.feed(b"x" * (2 * 1024 * 1024))


def test_a_long_line_in_small_pieces() -> None:
    """What has come of a line is added to, not copied and searched with each piece: that would cost its square."""
    framing = Lines()
    assert framing.feed(b"one\ntwo\nthr") == [b"one", b"two"]
    begun = framing._rest
    for _ in range(100):
        assert framing.feed(b"e") == []
        assert framing._rest is begun
    assert framing.feed(b"\n\n") == [b"thr" + b"e" * 100, b""]


def test_prefixed_in_pieces() -> None:
    """The same for messages that say how long they are."""
    framing = Prefixed()
    data = framing.frame(b"one") + framing.frame(b"") + framing.frame(b"three" * 100)
    assert [payload for byte in data for payload in framing.feed(bytes([byte]))] == [b"one", b"", b"three" * 100]
    assert framing.feed(data[:-1]) == [b"one", b""]
    with pytest.raises(Disconnected, match="too long"):
        Prefixed().feed(b"\xff\xff\xff\xff")


def shaken_hands() -> tuple[WebSocket, ServerProtocol]:
    framing = WebSocket("::1", 8765)
    server = ServerProtocol(subprotocols=[Subprotocol(wire.SUBPROTOCOL)])
    server.receive_data(framing.request())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.headers["Host"] == "[::1]:8765"
    server.send_response(server.accept(request))
    # One message comes in the same piece as the answer.
    assert framing.feed(b"".join(server.data_to_send()) + frame(Opcode.TEXT, b"first")) == [b"first"]
    assert framing.ready()
    return framing, server


def frame(opcode: Opcode, data: bytes, *, last: bool = True) -> bytes:
    return Frame(opcode, data, last).serialize(mask=False)


def test_websocket_in_pieces() -> None:
    """Fragments are put together, with a ping between them answered."""
    framing, _ = shaken_hands()
    data = frame(Opcode.TEXT, b"on", last=False) + frame(Opcode.PING, b"?") + frame(Opcode.CONT, b"ce")
    received = [payload for byte in data for payload in framing.feed(bytes([byte]))]
    assert received == [b"once"]
    assert framing.owed()[0] == 0x8A


def test_websocket_closing() -> None:
    """The server's code and reason are the end; a stream that just breaks has none."""
    framing, server = shaken_hands()
    assert framing.closing() is None
    server.send_close(4008, "too slow")
    framing.feed(b"".join(server.data_to_send()))
    end = framing.closing()
    assert end is not None
    assert (end.code, end.reason) == (4008, "too slow")
    assert framing.frame(b"late") == b""
