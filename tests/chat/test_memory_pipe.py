"""Connections in memory behave as sockets do, in virtual time; ``try_write`` keeps the order of bytes on both."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.chat.sockets import SocketStream
from examples.chat.transport import MemoryPipe
from gochan import Group, sleep
from gochan.testing import explore

BOUND = 20.0
BLOCK = bytes(range(256)) * 4


async def read_all(stream: Any, size: int = 65536) -> bytes:
    data = bytearray()
    with contextlib.suppress(anyio.EndOfStream):
        while True:
            data += await stream.receive(size)
    return bytes(data)


async def fails(error: type[Exception], operation: Callable[..., Awaitable[object]], *args: Any) -> None:
    with pytest.raises(error):
        await operation(*args)


def check(pipe: MemoryPipe) -> None:
    for stream in (pipe.client, pipe.server):
        stream._incoming._check()


@contextlib.contextmanager
def sockets() -> Iterator[tuple[SocketStream, socket.socket]]:
    """One end as the server has it, with a small buffer, and the bare other one."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            client.setblocking(False)
            yield SocketStream(server, 4096), client


async def test_both_ways() -> None:
    """What one end writes the other one reads; ``unread`` is what has not been."""
    pipe = MemoryPipe()
    await pipe.client.send(b"to the ")
    assert pipe.client.try_write(b"server") == 6
    await pipe.server.send(b"to the client")
    assert (pipe.server.unread, pipe.client.unread) == (13, 13)
    assert await pipe.server.receive(10) == b"to the "
    assert await pipe.server.receive() == b"server"
    assert await pipe.client.receive(6) == b"to the"
    assert await pipe.client.receive(100) == b" client"
    assert (pipe.server.unread, pipe.client.unread) == (0, 0)
    check(pipe)


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=50)
async def test_order(writes: list[bytes], capacity: int, chunk: int, size: int) -> None:
    """M1, M2: bytes come out as they went in, in pieces of the chunk at most, and no more than the capacity is held."""
    pipe = MemoryPipe(capacity, chunk=chunk)
    received = bytearray()

    async def write() -> None:
        for number, data in enumerate(writes):
            done = pipe.client.try_write(data) if number % 2 else 0
            await pipe.client.send(data[done:])
            check(pipe)
        await pipe.client.send_eof()

    with anyio.fail_after(BOUND):
        async with Group() as group:
            group.go(write)
            with contextlib.suppress(anyio.EndOfStream):
                while True:
                    assert pipe.server.unread <= capacity
                    data = await pipe.server.receive(size)
                    assert 1 <= len(data) <= min(size, chunk)
                    received += data
                    check(pipe)
    assert received == b"".join(writes)


async def test_slow_reader() -> None:
    """M2: who does not read makes the other end wait, and ``try_write`` writes what there is room for."""
    pipe = MemoryPipe(10)
    assert pipe.server.try_write(b"x" * 7) == 7
    assert pipe.server.try_write(b"y" * 7) == 3
    assert pipe.server.try_write(b"z") == 0
    with anyio.move_on_after(0.01) as scope:
        await pipe.server.send(b"z")
    assert scope.cancelled_caught
    assert await pipe.client.receive(4) == b"xxxx"
    assert pipe.client.unread == 6


@pytest.mark.gochan(virtual_time=True)
async def test_latency() -> None:
    """With a latency, bytes arrive so much later, in order; an end arrives behind them; a reset overtakes them."""
    start = anyio.current_time()
    pipe = MemoryPipe(latency=30.0)
    await pipe.client.send(b"a")
    await sleep(10)
    await pipe.client.send(b"b")
    await pipe.client.send_eof()
    assert await pipe.server.receive() == b"a"
    assert anyio.current_time() - start == pytest.approx(30)
    assert await pipe.server.receive() == b"b"
    assert anyio.current_time() - start == pytest.approx(40)
    with pytest.raises(anyio.EndOfStream):
        await pipe.server.receive()
    await pipe.server.send(b"c")
    pipe.server.abort()
    async with Group() as group:
        group.go(fails, anyio.BrokenResourceError, pipe.client.receive)
        await sleep(10)
        pipe.server.close()


async def test_half_close() -> None:
    """M3: after an end of file the other direction goes on; writing into one's own ended direction fails."""
    pipe = MemoryPipe()
    await pipe.client.send(b"last")
    await pipe.client.send_eof()
    await pipe.client.send_eof()
    assert await read_all(pipe.server) == b"last"
    await pipe.server.send(b"answer")
    assert await pipe.client.receive() == b"answer"
    assert pipe.client.try_write(b"more") == 0
    with pytest.raises(anyio.BrokenResourceError):
        await pipe.client.send(b"more")


async def test_close() -> None:
    """M3: a closed end lets the other one read what was written, then says that it is over; it cannot be written to."""
    pipe = MemoryPipe()
    await pipe.server.send(b"goodbye")
    pipe.server.close()
    pipe.server.close()
    assert await read_all(pipe.client) == b"goodbye"
    assert pipe.client.try_write(b"?") == 0
    with pytest.raises(anyio.BrokenResourceError):
        await pipe.client.send(b"?")


@pytest.mark.parametrize("unread", [True, False])
async def test_reset(unread: bool) -> None:
    """M3: an end that is aborted, or closed with something unread in it, takes back what the other had not read."""
    pipe = MemoryPipe()
    await pipe.server.send(b"never read")
    if unread:
        await pipe.client.send(b"?")
    else:
        pipe.server.abort()
    await pipe.server.aclose()
    for _ in range(2):
        with pytest.raises(anyio.BrokenResourceError):
            await pipe.client.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await pipe.client.send(b"?")


@pytest.mark.parametrize("end", ["eof", "close", "reset"])
async def test_what_waits_is_woken(end: str) -> None:
    """M4: a reader and a writer that wait hear of bytes, of room, and of the end."""
    pipe = MemoryPipe(4)
    with anyio.fail_after(BOUND):
        async with Group() as group:
            reading = group.go(pipe.server.receive)
            await sleep(0)
            await pipe.client.send(b"ab")
            assert await reading.result() == b"ab"
            group.go(fails, anyio.BrokenResourceError if end == "reset" else anyio.EndOfStream, pipe.server.receive)
            if end == "eof":
                group.go(pipe.server.send, b"123456")
            else:
                group.go(fails, anyio.BrokenResourceError, pipe.server.send, b"123456")
            await sleep(0)
            if end == "eof":
                await pipe.client.send_eof()
                assert await pipe.client.receive() == b"1234"
                assert await pipe.client.receive() == b"56"
            else:
                if end == "reset":
                    pipe.client.abort()
                else:
                    assert await pipe.client.receive() == b"1234"
                pipe.client.close()


async def talk() -> None:
    """Two ends that write and read at once, one of which goes away in the middle."""
    pipe = MemoryPipe(3, chunk=2)
    heard: list[bytes] = []

    async def client() -> None:
        await pipe.client.send(b"0123456")
        heard.append(await pipe.client.receive())
        pipe.client.close()

    async def server() -> None:
        data = bytearray()
        try:
            while len(data) < 7:
                data += await pipe.server.receive()
            await pipe.server.send(b"ok")
            await pipe.server.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            assert bytes(data) == b"0123456"

    async with Group() as group:
        group.go(server)
        group.go(client)
    assert heard == [b"ok"]
    check(pipe)


def test_schedules() -> None:
    """M4: in whatever order the two ends run, neither sleeps for ever."""
    explore(talk, runs=60, seed=5)


# ---- try_write, on sockets and in memory ----


async def drain(client: socket.socket) -> bytes:
    data = bytearray()
    with anyio.fail_after(BOUND):
        while True:
            try:
                part = client.recv(65536)
            except BlockingIOError:
                await anyio.wait_readable(client)
            else:
                if not part:
                    return bytes(data)
                data += part


async def test_try_write_keeps_the_order() -> None:
    """Written directly while it can be, sent where not: every byte arrives once, in order, however slow the reader."""
    with sockets() as (stream, client), anyio.fail_after(BOUND):
        counts = {"whole": 0, "part": 0, "none": 0}
        expected = bytearray()

        async def write() -> None:
            for number in range(400):
                data = number.to_bytes(4, "big") + BLOCK * (number % 40)
                expected.extend(data)
                written = stream.try_write(data)
                counts["whole" if written == len(data) else "part" if written else "none"] += 1
                if written < len(data):
                    await stream.send(data[written:])
                if number % 7 == 0:
                    await sleep(0)
            await stream.send_eof()

        async with Group() as group:
            group.go(write)
            received = await drain(client)
        assert received == expected
    assert counts["whole"]
    assert counts["part"] + counts["none"]


async def test_try_write_after_a_send() -> None:
    """After a send that ended well, there is nothing that a direct write could overtake."""
    with sockets() as (stream, client):
        for writer, reader in ((MemoryPipe().server, None), (stream, client)):
            await writer.send(b"a")
            assert writer.try_write(b"b") == 1
            await writer.send_eof()
            assert reader is None or await drain(reader) == b"ab"


async def test_try_write_during_a_send() -> None:
    """While a send is under way nothing is written past it; nor after one that was cancelled in the middle."""
    pipe = MemoryPipe(100)
    with sockets() as (stream, client):

        def read_some() -> None:
            with contextlib.suppress(BlockingIOError):
                while client.recv(65536):
                    pass

        for writer, begun, make_room in (
            (pipe.server, lambda: pipe.client.unread, pipe.client._incoming.take),
            (stream, lambda: stream._sending, read_some),
        ):
            with anyio.fail_after(BOUND):
                async with Group() as group:
                    group.go(writer.send, b"x" * 5_000_000)
                    while not begun():
                        await sleep(0)
                    make_room()
                    assert writer.try_write(b"y") == 0
                    group.cancel()
            make_room()
            assert writer.try_write(b"y") == 0


async def test_try_write_on_what_is_broken() -> None:
    """On a broken connection nothing can be written, and it is ``send`` that says so."""
    with sockets() as (stream, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with anyio.fail_after(BOUND), pytest.raises(anyio.BrokenResourceError):
            await stream.receive()
        assert stream.try_write(b"x") == 0
        with anyio.fail_after(BOUND), pytest.raises(anyio.BrokenResourceError):
            await stream.send(b"x")
