"""The proxy that makes the network bad: each fault does what it says, and nothing else happens to the bytes."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from examples.chaos_proxy import Faults, Proxy, main, proxy
from gochan import Event, Group

BOUND = 20.0
"""Seconds that anything may take, on the slowest machine."""
ROOT = Path(__file__).parents[2]


class Echo:
    """A server that says everything again, in the pieces in which it came."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[str] = []

    async def __call__(self, stream: SocketStream) -> None:
        async with stream:
            try:
                while True:
                    data = await stream.receive()
                    self.pieces.append(data)
                    await stream.send(data)
            except anyio.EndOfStream:
                self.ends.append("end")
            except anyio.BrokenResourceError:
                self.ends.append("reset")


@contextlib.asynccontextmanager
async def through(**faults: Any) -> AsyncGenerator[tuple[SocketStream, Proxy, Echo], None]:
    """A connection through the proxy to an echo."""
    echo = Echo()
    with anyio.fail_after(BOUND):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, Group() as group:

            async def accept() -> None:
                while True:
                    group.go(echo, await accepted(listener.listeners[0]))

            group.go(accept)
            port = listener.extra(SocketAttribute.local_port)
            async with proxy("127.0.0.1", port, Faults(**faults), seed=1) as chaos:
                async with await anyio.connect_tcp("127.0.0.1", chaos.port) as stream:
                    yield stream, chaos, echo
            group.cancel()


async def accepted(listener: Any) -> SocketStream:
    """The next connection."""
    stream: SocketStream = await listener.accept()
    return stream


async def get(stream: SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive(size - len(data))
    return data


async def nothing(stream: SocketStream, seconds: float = 0.1) -> None:
    """Nothing is heard, not even an end. This waits for real: that nothing comes cannot be seen earlier."""
    with anyio.move_on_after(seconds):
        raise AssertionError(await stream.receive())


async def until(condition: Any) -> None:
    while not condition():
        await anyio.sleep(0.001)


async def test_without_a_fault() -> None:
    """Every byte arrives, in order, in both directions; an end on one side is an end on the other."""
    data = os.urandom(300_000)
    async with through() as (stream, chaos, echo):
        async with Group() as group:
            group.go(stream.send, data)
            assert await get(stream, len(data)) == data
        await stream.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        assert echo.ends == ["end"]
        await until(lambda: not chaos.connections)


async def test_an_end_for_a_client_that_is_gone() -> None:
    """The last words and the end of a server may come to a client that has hung up; the proxy serves the next one."""
    hung_up = Event()

    async def last_words(stream: SocketStream) -> None:
        async with stream:
            await stream.send(b"hello")
            await hung_up.wait()
            for _ in range(2):
                with contextlib.suppress(anyio.BrokenResourceError):
                    await stream.send(b"who is there?")
                # For real: the answer, that nobody is, has to be at the proxy before what comes next is.
                await anyio.sleep(0.05)

    with anyio.fail_after(BOUND):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, Group() as group:
            group.go(listener.serve, last_words)
            async with proxy("127.0.0.1", listener.extra(SocketAttribute.local_port)) as chaos:
                async with await anyio.connect_tcp("127.0.0.1", chaos.port) as stream:
                    assert await get(stream, 5) == b"hello"
                hung_up.set()
                await until(lambda: not chaos.connections)
                async with await anyio.connect_tcp("127.0.0.1", chaos.port) as another:
                    assert await get(another, 5) == b"hello"
            group.cancel()


async def test_delay_and_jitter_keep_the_order() -> None:
    """A byte takes as long as was said, there and back; none overtakes another."""
    async with through(delay=0.05, jitter=0.02) as (stream, _, _echo):
        before = anyio.current_time()
        for number in range(10):
            await stream.send(bytes([number]))
            await anyio.sleep(0)
        assert await get(stream, 10) == bytes(range(10))
        assert anyio.current_time() - before >= 2 * 0.03


async def test_a_rate() -> None:
    """Not more bytes a second than were allowed."""
    async with through(rate=50_000) as (stream, _, _echo):
        before = anyio.current_time()
        await stream.send(bytes(10_000))
        await get(stream, 10_000)
        assert anyio.current_time() - before >= 0.19


async def test_slices() -> None:
    """Each byte is written by itself; together they are the same."""
    async with through(slice=1) as (stream, _, echo):
        await stream.send(b"one by one")
        assert await get(stream, 10) == b"one by one"
        assert len(echo.pieces) > 1


async def test_a_stall_is_silence() -> None:
    """Nothing is forwarded in either direction, no end either; when it is over, all of it is."""
    async with through() as (stream, chaos, echo):
        chaos.stall()
        await stream.send(b"into the dark")
        await stream.send_eof()
        await nothing(stream)
        assert (echo.pieces, echo.ends) == ([], [])
        chaos.resume()
        assert await get(stream, 13) == b"into the dark"
        await until(lambda: echo.ends == ["end"])


async def test_a_stalled_connection_can_be_reset() -> None:
    """A stall of one connection is for ever; the next connection is not touched by it before its time."""
    async with through(stall_after=0.0) as (stream, chaos, echo):
        await until(lambda: any(connection._stalled for connection in chaos.connections))
        await stream.send(b"lost")
        await nothing(stream, 0.05)
        chaos.change(stall_after=None)
        async with await anyio.connect_tcp("127.0.0.1", chaos.port) as other:
            await other.send(b"fine")
            assert await get(other, 4) == b"fine"
        assert echo.pieces == [b"fine"]
        chaos.reset()
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()


async def test_a_reset() -> None:
    """Both sides see the connection break, not end."""
    async with through() as (stream, chaos, echo):
        await stream.send(b"x")
        await get(stream, 1)
        chaos.reset()
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()
        await until(lambda: echo.ends == ["reset"])


async def test_a_reset_goes_through() -> None:
    """A client that vanishes is a reset to the server, as without a proxy."""
    async with through() as (stream, _, echo):
        await stream.send(b"x")
        await get(stream, 1)
        sock = stream.extra(SocketAttribute.raw_socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        await until(lambda: echo.ends == ["reset"])


async def test_a_half_close() -> None:
    """The server is told that no more will come; what it still says arrives."""
    async with through() as (stream, chaos, echo):
        await stream.send(b"last words")
        await until(lambda: chaos.connections and echo.pieces)
        chaos.half_close("up")
        assert await get(stream, 10) == b"last words"
        await until(lambda: echo.ends == ["end"])
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_refused() -> None:
    """A new connection is reset; so is one when there is no server."""
    async with through() as (_, chaos, _echo):
        chaos.change(refuse=True)
        async with await anyio.connect_tcp("127.0.0.1", chaos.port) as stream:
            with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                await stream.receive()
        chaos.change(refuse=False)
        chaos._target = "127.0.0.1", 1
        async with await anyio.connect_tcp("127.0.0.1", chaos.port) as stream:
            with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                await stream.receive()


@pytest.mark.parametrize(("fault", "end"), [("reset_after", "reset"), ("half_close_after", "end")])
async def test_a_fault_with_a_date(fault: str, end: str) -> None:
    """It happens by itself, so many seconds into the connection."""
    async with through(**{fault: 0.05}) as (stream, _, echo):
        await stream.send(b"x")
        with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):
            while True:
                await stream.receive()
        await until(lambda: echo.ends == [end])


# ---- the program ----


async def test_the_program(backend_name: str) -> None:
    """It says where it listens, forwards, and ends with 0 when it is told to."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", os.environ.get("PYTHONPATH", "")])}
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, Group() as group:

        async def accept() -> None:
            await Echo()(await accepted(listener.listeners[0]))

        group.go(accept)
        port = listener.extra(SocketAttribute.local_port)
        command = [sys.executable, "-m", "examples.chaos_proxy", "--to", f"127.0.0.1:{port}", "--slice", "2"]
        with anyio.fail_after(BOUND):
            async with await anyio.open_process(
                [*command, "--backend", backend_name], cwd=ROOT, env=environment
            ) as program:
                assert program.stdout is not None
                line = ""
                while not line.endswith("\n"):
                    line += (await program.stdout.receive()).decode()
                said = re.fullmatch(rf"127\.0\.0\.1:(\d+) -> 127\.0\.0\.1:{port}\n", line)
                assert said is not None, line
                async with await anyio.connect_tcp("127.0.0.1", int(said[1])) as stream:
                    await stream.send(b"hello")
                    assert await get(stream, 5) == b"hello"
                program.terminate()
                assert await program.wait() == 0
        group.cancel()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--to"),
        (["--to", "nowhere"], "is not HOST:PORT"),
        (["--to", "a:1", "--slice", "0"], "at least 1"),
        (["--to", "a:1", "--delay", "-1"], "from 0 up"),
        (["--to", "a:1", "--rate", "0"], "nothing through"),
    ],
)
def test_wrong_usage(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what is wrong."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["--to", "127.0.0.1:1", "--listen", address]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"cannot listen on {address}: ")
    assert complaint.count("\n") == 1


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """It names every fault, and the exit codes."""
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    for name in (
        "--delay",
        "--jitter",
        "--rate",
        "--slice",
        "--refuse",
        "--stall-after",
        "--reset-after",
        "Exit codes",
    ):
        assert name in text
