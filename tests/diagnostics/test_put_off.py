"""No ``Deadlock`` while anything could still act: each of these puts it off."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from gochan import Channel, Event, go, run
from gochan.diagnostics import Deadlock

BACKENDS = ["asyncio", "trio"]
pytestmark = pytest.mark.parametrize("backend", BACKENDS)


async def receives() -> None:
    await Channel[int]().receive()


Undo = ExitStack


async def a_timer(channel: Channel[int], undo: Undo) -> None:
    async def later() -> None:
        await anyio.sleep(0.1)
        await channel.send(1)

    go(later)


async def a_time_out_around_main(channel: Channel[int], undo: Undo) -> None:
    async def later() -> None:
        with anyio.move_on_after(0.1):
            await Event().wait()
        await channel.send(1)

    go(later)


async def a_worker_thread(channel: Channel[int], undo: Undo) -> None:
    def work() -> None:
        time.sleep(0.1)
        anyio.from_thread.run(channel.send, 1)

    go(anyio.to_thread.run_sync, work)


async def a_plain_thread(channel: Channel[int], undo: Undo) -> None:
    view = channel.blocking()

    def work() -> None:
        time.sleep(0.1)
        view.send(1)

    thread = threading.Thread(target=work)
    thread.start()
    undo.callback(thread.join)


async def a_socket(channel: Channel[int], undo: Undo) -> None:
    ends = socket.socketpair()
    for end in ends:
        undo.callback(end.close)
        end.setblocking(False)

    async def reads() -> None:
        await anyio.wait_readable(ends[0])
        await channel.send(1)

    go(reads)
    thread = threading.Timer(0.1, ends[1].send, [b"x"])
    thread.start()
    undo.callback(thread.join)


@pytest.mark.parametrize("prepare", [a_timer, a_time_out_around_main, a_worker_thread, a_plain_thread, a_socket])
def test_what_can_still_act_puts_it_off(backend: Any, prepare: Any) -> None:
    """It acts, and the program ends well."""

    async def main() -> int:
        channel = Channel[int]()
        with Undo() as undo:
            await prepare(channel, undo)
            return await channel.receive()

    assert run(main, backend=backend) == 1


def signal_later(number: int) -> subprocess.Popen[bytes]:
    """Send this process a signal, from outside: a thread of ours would put a deadlock off itself."""
    program = f"import os, time; time.sleep(0.2); os.kill({os.getpid()}, {int(number)})"
    return subprocess.Popen([sys.executable, "-S", "-c", program])


def test_a_signal_handler_puts_it_off(backend: Any) -> None:
    """One in Python, of whatever signal; it runs, and wakes main."""

    async def main() -> int:
        channel = Channel[int](1)

        def handler(*_: object) -> None:
            token.call(channel.send_nowait, 1)

        token = Token()
        former = signal.signal(signal.SIGUSR1, handler)
        child = signal_later(signal.SIGUSR1)
        try:
            return await channel.receive()
        finally:
            signal.signal(signal.SIGUSR1, former)
            child.wait()

    assert run(main, backend=backend) == 1


class Token:
    """How a signal handler reaches the loop."""

    def __init__(self) -> None:
        try:
            self.call: Any = asyncio.get_running_loop().call_soon_threadsafe
        except RuntimeError:
            import trio

            self.call = trio.lowlevel.current_trio_token().run_sync_soon


def test_a_view_for_threads_puts_it_off(backend: Any) -> None:
    """While it is alive: it may be handed to a thread at any time. It is an interrupt that ends this."""

    async def main() -> None:
        channel = Channel[int]()
        view = channel.blocking()
        await channel.receive()
        del view

    child = signal_later(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main, backend=backend)
    finally:
        child.wait()


def test_a_foreign_future_puts_it_off(backend: Any) -> None:
    """Nobody knows who may set it."""

    async def main() -> None:
        async def foreign() -> None:
            if backend == "asyncio":
                await asyncio.get_running_loop().create_future()
            else:
                import trio

                await trio.sleep_forever()

        go(foreign)
        await receives()

    child = signal_later(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main, backend=backend)
    finally:
        child.wait()


def test_a_loop_of_one_s_own_is_left_alone(backend: Any) -> None:
    """Where it cannot be told, none is raised; the options are respected."""
    if backend != "asyncio":
        pytest.skip("not applicable: trio has one loop")
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.new_event_loop())
        return made[-1]

    async def main() -> None:
        with anyio.move_on_after(0.05):
            await receives()
        assert asyncio.get_running_loop() is made[0]

    run(main, backend=backend, backend_options={"loop_factory": factory})


def test_a_clock_of_one_s_own_is_respected(backend: Any) -> None:
    """A deadlock is noticed all the same."""
    if backend != "trio":
        pytest.skip("not applicable: a loop of asyncio is its own clock")
    import trio.testing

    clock = trio.testing.MockClock()
    seen: list[object] = []

    async def main() -> None:
        seen.append(trio.lowlevel.current_clock())
        await receives()

    with pytest.raises(Deadlock):
        run(main, backend=backend, backend_options={"clock": clock})
    assert seen == [clock]


def test_time_passes_as_ever(backend: Any) -> None:
    """Watching for deadlocks leaves timers as they are."""

    async def main() -> float:
        began = anyio.current_time()
        await anyio.sleep(0.02)
        return anyio.current_time() - began

    began = time.perf_counter()
    passed = run(main, backend=backend)
    assert 0.019 < passed <= time.perf_counter() - began
