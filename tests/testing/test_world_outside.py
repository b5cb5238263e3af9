"""What lies outside a world: sockets, threads and processes are waited for in real time; other runs are not touched."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import trio

import gochan
from gochan import testing
from gochan.diagnostics import Deadlock
from gochan.testing import _trio_world


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


# ---- sockets ----


def test_real_sockets_inside(backend: Any) -> None:
    """A server and its client, both in the world, over the machine's own network."""

    async def main() -> list[bytes]:
        async def echo(stream: Any) -> None:
            async with stream:
                async for chunk in stream:
                    await stream.send(chunk.upper())

        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, echo)
                got = list[bytes]()
                async with await anyio.connect_tcp("127.0.0.1", port) as client:
                    for word in (b"one", b"two"):
                        await client.send(word)
                        got.append(await client.receive())
                tasks.cancel_scope.cancel()
        await anyio.sleep(3600)  # with all of them closed, time is virtual again
        return got

    assert testing.run(main, backend=backend) == [b"ONE", b"TWO"]


def test_a_socket_that_is_silent_is_waited_for_in_real_time(backend: Any) -> None:
    """A time-out around it takes its time."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            before = time.perf_counter()
            with anyio.move_on_after(0.05) as scope:
                await anyio.wait_readable(ours)
            assert scope.cancelled_caught
            assert time.perf_counter() - before > 0.04
            assert anyio.current_time() == 0.05

            async def write() -> None:
                await anyio.sleep(0.01)
                theirs.send(b"x")

            gochan.go(write)
            await anyio.wait_readable(ours)
        assert anyio.current_time() == pytest.approx(0.06)

    testing.run(main, backend=backend)


def test_transports_and_streams_of_asyncio() -> None:
    """Protocols are called by the loop's own reading, between the steps."""

    async def main() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        return answer

    assert testing.run(main) == b"HELLO\n"


# ---- threads ----


def test_a_function_in_a_thread_is_waited_for(backend: Any) -> None:
    """In real time; the clock stands still meanwhile, so that a run is the same every time."""

    async def main() -> float:
        assert await anyio.to_thread.run_sync(lambda: time.sleep(0.02) or "slept") == "slept"
        assert anyio.current_time() == 0
        await anyio.sleep(3600)  # a worker that is idle does not count
        return anyio.current_time()

    for _ in range(3):
        assert testing.run(main, backend=backend) == 3600


def test_many_short_calls_in_threads(backend: Any) -> None:
    """Nobody mistakes a thread that has just begun, or just ended, for no thread."""

    async def main() -> float:
        async def work() -> None:
            for _ in range(20):
                await anyio.to_thread.run_sync(lambda: None)

        async with gochan.Group() as group:
            for _ in range(4):
                group.go(work)
        return anyio.current_time()

    assert testing.run(main, backend=backend) == 0


def test_executors_of_asyncio() -> None:
    """The loop's own, and one that is brought along."""

    async def main() -> float:
        await asyncio.to_thread(time.sleep, 0.01)
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)
        before = anyio.current_time()
        await anyio.sleep(60)
        return before

    assert testing.run(main) == 0


def test_a_timer_beside_a_thread_fires_in_real_time(backend: Any) -> None:
    """So a time-out around a thread that hangs ends it."""
    hangs = threading.Event()

    async def main() -> float:
        before = time.perf_counter()
        with anyio.move_on_after(0.05) as scope:
            await anyio.to_thread.run_sync(hangs.wait, abandon_on_cancel=True)
        assert scope.cancelled_caught
        assert time.perf_counter() - before > 0.04
        hangs.set()
        return anyio.current_time()

    assert testing.run(main, backend=backend) == 0.05


def test_threads_that_call_back(backend: Any) -> None:
    """Into the loop, and through a blocking view."""

    async def main() -> list[int]:
        numbers = gochan.Channel[int]()
        view = numbers.blocking()

        def produce() -> None:
            for n in range(3):
                view.send(n)
            anyio.from_thread.run_sync(numbers.close)

        gochan.go(anyio.to_thread.run_sync, produce)
        return [n async for n in numbers]

    assert testing.run(main, backend=backend) == [0, 1, 2]


def test_a_thread_of_one_s_own(backend: Any) -> None:
    """While it is alive it may act; when it has ended, nobody will."""

    async def main() -> None:
        numbers = gochan.Channel[int]()
        view = numbers.blocking()

        def produce() -> None:
            time.sleep(0.01)
            view.send(1)

        thread = threading.Thread(target=produce)
        thread.start()
        assert await numbers.receive() == 1
        await numbers.receive()

    with pytest.raises(Deadlock):
        testing.run(main, backend=backend)


def test_a_subprocess_is_waited_for(backend: Any) -> None:
    """Its pipes and its end are outside."""

    async def main() -> bytes:
        done = await anyio.run_process([sys.executable, "-c", "import time; time.sleep(0.05); print('done')"])
        return done.stdout

    assert testing.run(main, backend=backend).strip() == b"done"


# ---- other runs ----


def test_other_runs_go_on_as_ever(backend: Any) -> None:
    """One in another thread keeps real time and its own order while a world runs here."""
    started, ended = threading.Event(), threading.Event()
    elapsed = list[float]()

    async def other() -> None:
        before = time.perf_counter()
        started.set()
        for _ in range(20):
            await anyio.sleep(0.001)
        elapsed.append(time.perf_counter() - before)
        ended.set()

    thread = threading.Thread(target=anyio.run, args=(other,), kwargs={"backend": backend})
    thread.start()

    async def main() -> float:
        await anyio.sleep(3600)
        return anyio.current_time()

    assert started.wait(30)
    while not ended.is_set():
        assert testing.run(main, backend=backend) == 3600
    thread.join()
    assert elapsed[0] > 0.02


def test_two_worlds_of_trio_at_once_are_refused() -> None:
    """Their order is controlled through names of the process."""

    async def main() -> None:
        def inner() -> None:
            with pytest.raises(RuntimeError, match="once at a time in a process"):
                testing.run(anyio.sleep, 1, backend="trio")

        await anyio.to_thread.run_sync(inner)

    testing.run(main, backend="trio")


def test_a_world_of_asyncio_in_a_thread_of_another() -> None:
    """Each has its own loop, and that is all there is to it."""

    async def main() -> None:
        await anyio.to_thread.run_sync(lambda: testing.run(anyio.sleep, 3600))

    testing.run(main)


# ---- private names of trio ----


def test_trio_has_the_names_that_are_needed() -> None:
    """The canary: a release of trio without them shows here first."""
    assert _trio_world.missing_names() == []


def test_trio_without_those_names_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """That says what to do, before anything runs."""
    monkeypatch.delattr(_trio_world._run, "_ALLOW_DETERMINISTIC_SCHEDULING")
    assert _trio_world.missing_names() == ["_ALLOW_DETERMINISTIC_SCHEDULING"]
    with pytest.raises(RuntimeError, match="use backend='asyncio', or another version of trio"):
        testing.run(anyio.sleep, 1, backend="trio")


def test_missing_members_are_named() -> None:
    """Also those of classes."""

    class Task:
        pass

    class Module:
        _r = trio._core._run._r
        _ALLOW_DETERMINISTIC_SCHEDULING = False
        GLOBAL_RUN_CONTEXT = trio._core._run.GLOBAL_RUN_CONTEXT
        Deadlines = trio._core._run.Deadlines
        CancelScope = trio.CancelScope
        Runner = trio._core._run.Runner

    Module.Task = Task  # type: ignore[attr-defined]
    assert _trio_world.missing_names(Module) == ["Task._abort_func", "Task._attempt_abort", "Task._counter"]


def test_what_was_swapped_is_back(backend: Any) -> None:
    """After a run, and after one that failed."""

    async def fail() -> None:
        raise LookupError

    before = trio._core._run._r, trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING
    testing.run(anyio.sleep, 1, backend=backend)
    with pytest.raises(LookupError):
        testing.run(fail, backend=backend)
    assert (trio._core._run._r, trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING) == before
