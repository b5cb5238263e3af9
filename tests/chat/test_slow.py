"""Clients that are slower than the talk, or faster than they are served: they pay for it, nobody else does.

The kernel's buffers are what fills, so the sockets and the write deadlines here are real.
"""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from tests.chat.talkers import BOUND, TALKERS, Connect, Ended, running, tcp, until, ws
from websockets.frames import Opcode

from examples.chat.sockets import SocketStream

both = pytest.mark.parametrize("connect", TALKERS.values(), ids=TALKERS)


@both
async def test_slow_client_is_dropped(connect: Connect) -> None:
    """A client that stops reading is dropped with 4008, holding no more than its outbox and the kernel's buffers; the
    others miss nothing and wait for nothing: the write to the slow one could take as long as the test."""
    count, body = 400, "x" * 8000
    async with (
        running(slow="disconnect", outbox=32, write_timeout=BOUND * 2) as server,
        connect(server) as slow,
        tcp(server) as fast,
    ):
        await slow.join("slow")
        await fast.join("fast")
        with anyio.fail_after(BOUND):
            for number in range(count):
                await fast.send({"t": "say", "id": number, "room": "lobby", "body": body})
                await fast.find("msg", id=number, body=body)
                server.hub._check()
        assert [member.user for member in server.hub.rooms["lobby"].members] == ["fast"]
        received = 0
        with pytest.raises(Ended) as ended, anyio.fail_after(BOUND):
            while True:
                received += (await slow.receive())["t"] == "msg"
        assert ended.value.code == 4008
        assert received < count / 2


async def test_leaving_of_a_dropped_client_is_announced() -> None:
    """The others learn at once that a slow client is gone."""
    async with (
        running(slow="disconnect", outbox=8, write_timeout=BOUND) as server,
        tcp(server) as slow,
        tcp(server) as fast,
    ):
        await slow.join("slow")
        await fast.join("fast")
        with anyio.fail_after(BOUND):
            number = 0
            while server.hub.users["slow"]:
                await fast.send({"t": "say", "id": number, "room": "lobby", "body": "x" * 8000})
                await fast.find("msg", id=number)
                number += 1
            await fast.find("pres", leave=["slow"])


async def test_write_deadline() -> None:
    """A write that the client does not take in time ends the session with 4009; the hub hears of it unasked."""
    async with running(outbox=10_000, write_timeout=0.2) as server, tcp(server) as slow, tcp(server) as fast:
        await slow.join("slow")
        (session,) = server.sessions
        await fast.join("fast")
        for number in range(200):
            await fast.send({"t": "say", "id": number, "room": "lobby", "body": "x" * 8000})
            await fast.find("msg", id=number)
        await until(lambda: not server.hub.users["slow"])
        assert reason(session) == 4009
        assert await slow.end() is None


@both
async def test_client_that_asks_but_does_not_read(connect: Connect) -> None:
    """Answers that are not read stop the reading of questions, so nothing piles up; then the write deadline ends it."""
    async with running(outbox=16, write_timeout=0.3) as server, connect(server) as greedy:
        await greedy.hello()
        (session,) = server.sessions
        questions = greedy.frame(b'{"t":"ping","n":1}') * 1000
        with pytest.raises(anyio.BrokenResourceError):
            while True:
                await greedy.raw(questions)
                assert session.outbox.frames + len(session.outbox.control) <= 64
        await until(lambda: not server.sessions)
        assert reason(session) == 4009


async def test_pings_of_websocket_are_bounded_too() -> None:
    """The same for the pongs that WebSocket itself asks for."""
    async with running(outbox=16, write_timeout=0.3) as server, ws(server) as greedy:
        await greedy.hello()
        pings = greedy.frame(b"x" * 100, Opcode.PING) * 1000
        with pytest.raises(anyio.BrokenResourceError):
            while True:
                await greedy.raw(pings)
        await until(lambda: not server.sessions)


async def test_flood_is_read_as_fast_as_it_is_served() -> None:
    """A client that never pauses, from its first byte on, fills the kernel's buffers and then waits, too."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        listening = listener.extra(SocketAttribute.raw_socket)
        with socket.create_connection(listening.getsockname()) as client:
            client.setblocking(False)
            client.send(b"x")
            await anyio.wait_readable(listening)
            with listening.accept()[0] as accepted:
                stream = SocketStream(accepted, 65536)
                await stream.receive()
                sent = turns = 0
                while turns < 50:
                    try:
                        sent += client.send(b"x" * 65536)
                        turns = 0
                    except BlockingIOError:
                        turns += 1
                    await anyio.sleep(0)
                    assert sent < 64 * 2**20, "somebody reads what nobody asked for"


def reason(session: Any) -> int:
    """The code with which a session ended."""
    return int(session.outbox.goodbye.code)
