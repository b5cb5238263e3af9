"""The server end to end, in the test's loop: what people say reaches people, and what happens to one is no other's."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from tests.chat.talkers import (
    BOUND,
    HELLO,
    JOIN,
    TALKERS,
    Connect,
    Ended,
    Talker,
    connected,
    encode,
    running,
    tcp,
    until,
    ws,
)

from examples.chat.config import Settings
from examples.chat.server import Server, StartError
from examples.chat.sockets import accept_forever
from gochan import Group

both = pytest.mark.parametrize("connect", TALKERS.values(), ids=TALKERS)


# ---- what the protocol promises ----


@both
async def test_a_conversation(connect: Connect) -> None:
    """Two people meet, talk, ask who is there, and part; a WebSocket and a TCP client in one room."""
    async with running() as server, connect(server) as ann, tcp(server) as bob:
        await ann.send(HELLO)
        welcome = await ann.get("welcome")
        assert welcome["lim"]["size"] == 65536
        assert welcome["sid"]
        await ann.send(JOIN)
        await ann.get("joined", id=1, room="lobby", members=["ann"])
        assert (await bob.join("bob"))["members"] == ["ann", "bob"]
        await ann.get("pres", room="lobby", join=["bob"], leave=[])

        await bob.send({"t": "say", "id": "x", "room": "lobby", "body": "привет 👋"})
        await bob.get("ack", id="x", room="lobby")
        said = {"room": "lobby", "from": "bob", "body": "привет 👋", "id": "x"}
        assert (await bob.get("msg", **said))["ts"] == (await ann.get("msg", **said))["ts"]

        await ann.send({"t": "who", "id": 7, "room": "lobby"})
        await ann.get("members", id=7, members=["ann", "bob"])
        await ann.send({"t": "pong", "n": 3}, {"t": "ping", "n": 3})
        await ann.get("pong", n=3)

        await bob.send({"t": "leave", "id": 8, "room": "lobby"}, {"t": "bye"})
        await bob.get("ack", id=8)
        assert await bob.end() == 1000
        await ann.get("pres", join=[], leave=["bob"])


@both
async def test_out_of_order(connect: Connect) -> None:
    """What comes at the wrong moment gets 409, and the connection stays."""
    say = {"t": "say", "id": 5, "room": "lobby", "body": "hi"}
    leave = {"t": "leave", "id": 6, "room": "lobby"}
    async with running() as server, connect(server) as ann:
        await ann.hello()
        for message, code in (
            (say, 409),
            (leave, 409),
            ({**HELLO, "user": "eve"}, 409),
            ({**say, "room": "kitchen"}, 409),
        ):
            await ann.send(message)
            await ann.get("err", code=code, id=message.get("id"))
        await ann.send(JOIN, JOIN, leave, leave, say, JOIN, say)
        await ann.get("joined")
        await ann.get("err", code=409, id=1)
        await ann.get("ack", id=6)
        await ann.get("err", code=409, id=6)
        await ann.get("err", code=409, id=5)
        await ann.get("joined")
        await ann.get("ack", id=5)
        await ann.get("msg", id=5)


@both
async def test_answers_come_before_the_goodbye(connect: Connect) -> None:
    """Who says something and bye in one breath still gets the ack, and so does who hangs up after speaking."""
    async with running() as server, connect(server) as ann:
        await ann.send(HELLO, JOIN, {"t": "say", "id": 2, "room": "lobby", "body": "hi"}, {"t": "bye"})
        await ann.find("ack", id=2)
        await ann.get("msg", id=2)
        assert await ann.end() == 1000


async def test_half_closed_client_gets_its_answers() -> None:
    """Input from a pipe ends before its answers have come: they still do, then the connection is closed."""
    async with running() as server, tcp(server) as ann:
        await ann.send(HELLO, JOIN, {"t": "say", "id": 2, "room": "lobby", "body": "hi"})
        await ann.stream.send_eof()
        await ann.find("msg", id=2)
        assert await ann.end() == 1000


async def test_one_person_two_windows() -> None:
    """A name is announced with its first session and with its last; both sessions get every message."""
    async with running() as server, tcp(server) as bob:
        await bob.join("bob")
        async with ws(server) as one, tcp(server) as two:
            assert (await one.join("ann"))["members"] == ["ann", "bob"]
            assert (await two.join("ann"))["members"] == ["ann", "bob"]
            await two.send({"t": "say", "id": 2, "room": "lobby", "body": "hi"})
            await one.find("msg", body="hi")
            await two.find("msg", body="hi")
            await two.send({"t": "bye"})
            assert await two.end() == 1000
        await bob.get("pres", join=["ann"])
        await bob.get("msg", body="hi")
        await bob.get("pres", leave=["ann"])


async def test_all_see_all_in_one_order() -> None:
    """16 clients on both transports say 100 messages each: everybody sees all 1600, once, in the same order."""
    clients, each = 16, 100

    async def talk(talker: Talker, name: str) -> list[tuple[str, int]]:
        async def speak() -> None:
            for number in range(each):
                await talker.send({"t": "say", "id": number, "room": "lobby", "body": f"{name} {number}"})

        seen: list[tuple[str, int]] = []
        acked: list[int] = []
        async with Group() as group:
            group.go(speak)
            while len(seen) < clients * each or len(acked) < each:
                message = await talker.receive()
                if message["t"] == "msg":
                    seen.append((message["from"], message["id"]))
                elif message["t"] == "ack":
                    acked.append(message["id"])
        assert acked == list(range(each))
        return seen

    with anyio.fail_after(BOUND * 2):
        async with running(outbox=10_000) as server, contextlib.AsyncExitStack() as stack, Group() as group:
            talkers: dict[str, Talker] = {}
            for number in range(clients):
                connect = tcp if number % 2 else ws
                talkers[f"user{number}"] = talker = await stack.enter_async_context(connect(server))  # type: ignore[arg-type]
                await talker.join(f"user{number}")
            talks = [group.go(talk, talker, name) for name, talker in talkers.items()]
            orders = [await each_talk.result() for each_talk in talks]
    assert len(set(orders[0])) == clients * each
    assert all(order == orders[0] for order in orders)
    for name in talkers:
        assert [number for sender, number in orders[0] if sender == name] == list(range(each))


# ---- time-outs and endings ----


@both
async def test_no_hello_in_time(connect: Connect) -> None:
    """A client that says nothing is sent away with 4502. In real time: sockets have no other."""
    async with running(hello_timeout=0.4) as server, connect(server) as silent:
        if connect is tcp:
            await silent.raw(b"{")  # so that it is known to speak JSON lines; without a byte it is just closed
        assert await silent.end() == 4502


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpg"])
async def test_slow_introduction(start: bytes) -> None:
    """Who does not even finish saying what it speaks is closed at the same deadline."""
    async with running(hello_timeout=0.1) as server, connected(server) as stream:
        if start:
            await stream.send(start)
        with anyio.fail_after(BOUND), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()


async def test_a_byte_at_a_time() -> None:
    """The deadline is for the whole hello, so a client that trickles does not outlive it."""
    async with running(hello_timeout=0.3) as server, tcp(server) as slow:
        async with Group() as group:

            async def trickle() -> None:
                while True:
                    await slow.raw(b" ")
                    await anyio.sleep(0.01)

            trickling = group.go(trickle)
            assert await slow.end() == 4502
            trickling.cancel()


async def test_graceful_stop() -> None:
    """A stop sends everybody away with 4001, after what was already said, and every goroutine ends."""
    async with running(hello_timeout=60, drain_timeout=60) as server, contextlib.AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(connect(server)) for connect in TALKERS.values()]
        silent = await stack.enter_async_context(connected(server))
        mute = await stack.enter_async_context(tcp(server))
        await mute.raw(b"{")
        for number, talker in enumerate(talkers):
            await talker.join(f"user{number}")
        await talkers[0].send({"t": "say", "id": 9, "room": "lobby", "body": "last words"})
        await talkers[0].find("ack", id=9)
        server.stop.set()
        for talker in talkers:
            await talker.find("msg", id=9)
            assert await talker.end() == 4001
        assert await mute.end() == 4001
        with pytest.raises(anyio.EndOfStream), anyio.fail_after(BOUND):
            await silent.receive()
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", server.port)


@both
async def test_end_waits_only_for_the_client(connect: Connect) -> None:
    """A session is over as soon as the client has hung up, however long the server would wait for that."""
    async with running(linger=60) as server:
        async with connect(server) as ann:
            await ann.hello()
            await ann.send({"t": "bye"})
            with anyio.fail_after(BOUND), contextlib.suppress(Ended):
                while (await ann.receive())["t"] != "goaway":
                    pass
        await until(lambda: not server.sessions)


async def test_stop_does_not_wait_for_the_stubborn() -> None:
    """Clients that never hang up, or do not read, are cut off after the drain time-out."""
    async with (
        running(drain_timeout=0.3, linger=BOUND, write_timeout=BOUND, outbox=1000) as server,
        tcp(server) as stuck,
        tcp(server) as stubborn,
    ):
        await stuck.join("stuck")
        await stubborn.join("stubborn")
        for number in range(200):
            await stubborn.send({"t": "say", "id": number, "room": "lobby", "body": "x" * 8000})
            await stubborn.find("msg", id=number)
        server.stop.set()
        await until(lambda: not server.sessions)


MOMENTS: dict[str, list[Any]] = {
    "before a byte": [],
    "in the hello": [b'{"t":"hel'],
    "after the hello": [HELLO],
    "in the join": [HELLO, JOIN],
    "while it speaks": [HELLO, JOIN, *[{"t": "say", "id": n, "room": "lobby", "body": "x" * 1000} for n in range(50)]],
    "after a mistake": [HELLO, b"?"],
    "after bye": [HELLO, JOIN, {"t": "bye"}],
}


@both
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_disconnect(connect: Connect, moment: str, how: str) -> None:
    """Whenever a client vanishes, the hub forgets it and the others go on."""
    async with running() as server, tcp(server) as bob:
        await bob.join("bob")
        for _ in range(3):
            async with connect(server) as ann:
                *whole, last = MOMENTS[moment] or [b""]
                await ann.send(*whole)
                await ann.raw(last if isinstance(last, bytes) else ann.frame(encode(last)))
                if how == "reset":
                    ann.reset()
        await until(lambda: len(server.sessions) == 1)
        await bob.send({"t": "who", "id": "?", "room": "lobby"})
        await bob.find("members", id="?", members=["bob"])


async def test_churn() -> None:
    """Clients that come and go by the dozen leave nothing behind."""
    async with running() as server, tcp(server) as bob:
        await bob.join("bob")

        async def visit(number: int) -> None:
            async with (ws if number % 2 else tcp)(server) as guest:
                await guest.join(f"guest{number % 7}")
                await guest.send({"t": "say", "id": number, "room": "lobby", "body": "hi"})
                await guest.find("ack", id=number)
                if number % 3:
                    guest.reset()

        async with Group(limit=10) as group:
            for number in range(60):
                group.go(visit, number)
        await until(lambda: len(server.sessions) == 1)
        server.hub._check()
        assert set(server.hub.users) == {"bob"}


# ---- the port ----


async def test_port_taken() -> None:
    """A port that somebody has is refused with the reason."""
    async with running() as server:
        with pytest.raises(StartError, match=rf"cannot listen on 127\.0\.0\.1, port {server.port}: .*in use"):
            await Server(Settings(port=server.port)).listen()


async def test_unknown_host() -> None:
    """So is a host that does not exist."""
    with pytest.raises(StartError, match=r"cannot listen on no\.such\.host\.invalid"):
        await Server(Settings(host="no.such.host.invalid", port=0)).listen()


class Flaky:
    """A listening socket whose accept() fails first."""

    def __init__(self, listening: socket.socket, errors: list[int]) -> None:
        self.listening = listening
        self.errors = errors

    def extra(self, _: object) -> Flaky:
        return self

    def fileno(self) -> int:
        return self.listening.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise OSError(self.errors.pop(0), "injected")
        return self.listening.accept()


async def test_accepting_survives(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No free descriptors and connections that are aborted do not end the accept loop; what is not known does."""
    monkeypatch.setattr("examples.chat.sockets._PAUSE", 0.001)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    async with listener:
        listening = listener.extra(SocketAttribute.raw_socket)
        flaky: Any = Flaky(listening, [errno.EMFILE, errno.EMFILE, errno.ECONNABORTED, errno.ENFILE])
        accepted: list[socket.socket] = []
        async with Group() as group:
            group.go(accept_forever, flaky, accepted.append)
            async with await anyio.connect_tcp(*listening.getsockname()):
                await until(lambda: accepted)
            group.cancel()
        accepted[0].close()
        assert sum("no connection can be accepted" in record.message for record in caplog.records) == 1
        with pytest.raises(OSError, match="injected"):
            flaky = Flaky(listening, [errno.EBADF])
            await accept_forever(flaky, accepted.append)
