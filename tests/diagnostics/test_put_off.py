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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from gochan import Channel, Event, go, run
from gochan.diagnostics import Deadlock, find_leaks
from gochan.diagnostics._asleep import _idle

BACKENDS = ["asyncio", "trio"]
pytestmark = pytest.mark.parametrize("backend", BACKENDS)


PAUSE = 0.03
"""Seconds until something acts. They are real, as threads, signals and the watch on the loop are."""


@pytest.fixture(autouse=True)
def look_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a false alarm comes long before that."""
    monkeypatch.setattr("gochan.diagnostics._asleep._LOOK_AGAIN", 0.003)


async def receives() -> None:
    await Channel[int]().receive()


Undo = ExitStack


async def a_timer(channel: Channel[int], undo: Undo) -> None:
    async def later() -> None:
        await anyio.sleep(PAUSE)
        await channel.send(1)

    go(later)


async def a_time_out_around_main(channel: Channel[int], undo: Undo) -> None:
    async def later() -> None:
        with anyio.move_on_after(PAUSE):
            await Event().wait()
        await channel.send(1)

    go(later)


async def a_worker_thread(channel: Channel[int], undo: Undo) -> None:
    def work() -> None:
        time.sleep(PAUSE)
        anyio.from_thread.run(channel.send, 1)

    go(anyio.to_thread.run_sync, work)


async def a_plain_thread(channel: Channel[int], undo: Undo) -> None:
    view = channel.blocking()

    def work() -> None:
        time.sleep(PAUSE)
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
    thread = threading.Timer(PAUSE, ends[1].send, [b"x"])
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
    program = f"import os, time; time.sleep({PAUSE}); os.kill({os.getpid()}, {int(number)})"
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
        children.append(signal_later(signal.SIGINT))
        await channel.receive()
        del view

    children: list[subprocess.Popen[bytes]] = []
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main, backend=backend)
    finally:
        children[0].wait()


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
        children.append(signal_later(signal.SIGINT))
        await receives()

    children: list[subprocess.Popen[bytes]] = []
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main, backend=backend)
    finally:
        children[0].wait()


def test_a_loop_of_one_s_own_is_left_alone(backend: Any) -> None:
    """Where it cannot be told, none is raised; the options are respected."""
    if backend != "asyncio":
        pytest.skip("not applicable: trio has one loop")
    made: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.new_event_loop())
        return made[-1]

    async def main() -> None:
        with anyio.move_on_after(PAUSE):
            await receives()
        assert asyncio.get_running_loop() is made[0]

    run(main, backend=backend, backend_options={"loop_factory": factory})


def test_where_the_loop_cannot_tell_there_is_none_but_leaks_are_found(backend: Any) -> None:
    """On uvloop a program that is stuck waits for ever; here until an interrupt."""
    if backend != "asyncio":
        pytest.skip("not applicable: trio has one loop")
    pytest.importorskip("uvloop", reason="uvloop is not installed: pip install pygochan[uvloop]")
    found: list[str] = []

    async def main() -> None:
        go(receives, name="leaked")
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        found.extend(info.name for info in find_leaks())
        await receives()

    child = signal_later(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(main, backend=backend, backend_options={"use_uvloop": True}, leaks="ignore")
    finally:
        child.wait()
    assert found == ["leaked"]


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


def standing_at(thread: threading.Thread, idle: bool) -> bool:
    """Whether a thread comes to look as it should, within a while."""
    for _ in range(1000):
        if _idle(sys._current_frames()[thread.ident or 0]) is idle:
            return True
        time.sleep(0.001)
    return False


def test_a_worker_that_was_given_work_is_not_idle(backend: Any) -> None:
    """Though it has not had its turn since, and stands where those stand who wait for work."""
    if backend == "asyncio":
        pool = ThreadPoolExecutor(1)
        pool.submit(int).result()
        [thread] = pool._threads
        give: Any = partial(pool.submit, time.sleep, 0.01)
        end: Any = pool.shutdown
    else:
        thread_cache = pytest.importorskip("trio._core._thread_cache", reason="trio is not installed")
        before = set(threading.enumerate())
        cache = thread_cache.ThreadCache()
        give = partial(cache.start_thread_soon, partial(time.sleep, 0.01), int)
        give()
        [thread] = set(threading.enumerate()) - before
        end = int
    assert standing_at(thread, idle=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # it cannot have its turn
    try:
        give()
        assert not _idle(sys._current_frames()[thread.ident or 0])
    finally:
        sys.setswitchinterval(interval)
    assert standing_at(thread, idle=True)
    end()


def test_a_worker_of_anyio_that_was_given_work_is_not_idle(backend: Any) -> None:
    """anyio has workers of its own on asyncio."""
    if backend != "asyncio":
        pytest.skip("not applicable: trio has its own")

    async def main() -> None:
        before = set(threading.enumerate())
        await anyio.to_thread.run_sync(int)
        [thread] = set(threading.enumerate()) - before
        assert standing_at(thread, idle=True)
        worker: Any = thread
        interval = sys.getswitchinterval()
        sys.setswitchinterval(60)
        try:
            worker.queue.put_nowait(None)  # to end, for one
            assert not _idle(sys._current_frames()[thread.ident or 0])
        finally:
            sys.setswitchinterval(interval)

    run(main, backend=backend)
