"""More new connections than the server takes: each is told so in what it speaks, and can read it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.chat.pb_talkers import TcpPbTalker
from tests.chat.talkers import BOUND, Talker, TcpTalker, connected, fetch, running

from examples.chat.client import Client, Disconnected
from examples.chat.server import Server
from examples.chat.transport import PREFACE

LIMITED: Any = {"accept_rate": 0.01, "accept_burst": 1}


async def full(server: Server) -> None:
    """Take the one place."""
    assert (await fetch(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"))[0] == 200


async def test_http_can_read_its_503() -> None:
    """With a head that is longer than what was read, too: a reset would take the answer away."""
    async with running(**LIMITED) as server:
        await full(server)
        head = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"Cookie: " + b"x" * 200_000 + b"\r\n\r\n"
        status, headers, body = await fetch(server, head)
    assert (status, body) == (503, b"too many new connections\n")
    assert 90 <= int(headers["retry-after"]) <= 100


@pytest.mark.parametrize("make", [TcpTalker, TcpPbTalker])
async def test_others_get_a_goaway(make: type[Talker]) -> None:
    """4013, and when there is room again; then the end of the stream, and no reset, whatever was sent meanwhile."""
    async with running(**LIMITED) as server:
        await full(server)
        async with connected(server) as stream:
            talker = make(stream)
            await talker.raw((PREFACE if make is TcpPbTalker else b"{") + b"\0" * 200_000)
            with anyio.fail_after(BOUND):
                goaway = await talker.get("goaway", code=4013)
                assert 90_000 <= goaway["after_ms"] <= 100_000
                assert goaway["reason"] == "too many new connections"
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()


async def test_the_client_waits_as_long_as_it_is_told() -> None:
    """The client hears the code and the time."""
    async with running(**LIMITED) as server:
        await full(server)
        with pytest.raises(Disconnected) as raised:
            async with Client.connect("127.0.0.1", server.port, user="ada", transport="tcp"):
                pass
    assert raised.value.code == 4013
    assert raised.value.after > 90


async def test_whoever_does_not_hang_up_is_not_waited_for() -> None:
    """The last word is followed by a bounded wait for the client to hang up; a real one, as the sockets are."""
    async with running(**LIMITED, linger=0.05) as server:
        await full(server)
        async with connected(server) as stream:
            await stream.send(b"{")
            with anyio.fail_after(BOUND):
                assert b"goaway" in await stream.receive()
                with pytest.raises(anyio.BrokenResourceError):
                    while True:  # closed on the other side, in the end
                        await stream.send(b" ")
                        await anyio.sleep(0.01)
