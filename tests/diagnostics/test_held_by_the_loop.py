"""``find_leaks`` says nothing of a goroutine that the machinery of the loop itself could still wake."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import pytest
from tests.diagnostics.leaking import channel_that_leaks_unless_held, leaks_of, settle

from gochan import Channel, Group
from gochan.diagnostics import find_leaks


@pytest.mark.asyncio_only
async def test_a_signal_handler_of_the_loop_is_silent() -> None:
    """It may run at any time."""
    loop = asyncio.get_running_loop()

    def start(group: Group) -> None:
        loop.add_signal_handler(signal.SIGUSR1, channel_that_leaks_unless_held(group).close)

    try:
        assert await leaks_of(start) == []
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


@pytest.mark.asyncio_only
async def test_a_protocol_of_a_subprocess_is_silent() -> None:
    """It is told of the end."""
    loop = asyncio.get_running_loop()

    class Protocol(asyncio.SubprocessProtocol):
        def __init__(self, channel: Channel[int]) -> None:
            self.channel = channel
            self.over = loop.create_future()

        def process_exited(self) -> None:
            self.channel.close()
            self.over.set_result(None)

    async with Group() as group:
        program = "import sys; sys.stdin.read()"
        transport, protocol = await loop.subprocess_exec(
            lambda: Protocol(channel_that_leaks_unless_held(group)), sys.executable, "-S", "-c", program
        )
        over = protocol.over
        del protocol
        await settle()
        gc.collect()
        assert find_leaks() == []
        transport.kill()
        with anyio.fail_after(30):
            await over
        transport.close()
        await settle()


@pytest.mark.asyncio_only
async def test_a_server_s_protocols_are_silent() -> None:
    """It makes one for each connection to come."""
    loop = asyncio.get_running_loop()

    class Protocol(asyncio.Protocol):
        def __init__(self, channel: Channel[int]) -> None:
            self.channel = channel

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.channel.close()

    async with Group() as group:
        factory = partial(Protocol, channel_that_leaks_unless_held(group))
        server = await loop.create_server(factory, "127.0.0.1", 0)
        del factory
        await settle()
        gc.collect()
        assert find_leaks() == []
        server.close()
        await server.wait_closed()
        group.cancel()


@pytest.mark.trio_only
@pytest.mark.parametrize("how", ["event", "memory channel", "system task", "run_sync_soon", "nursery", "deadline"])
async def test_what_trio_itself_may_do_is_silent(how: str) -> None:
    """Its tasks, wherever they wait, its mailbox and its deadlines."""
    import trio

    undo: list[Callable[[], object]] = []

    async def waits(channel: Channel[int], event: trio.Event) -> None:
        await event.wait()
        channel.close()

    async def receives(channel: Channel[int], memory: Any) -> None:
        await memory.receive()
        channel.close()

    async def dies() -> None:
        with trio.fail_after(3600):
            await Channel[int]().receive()

    async def beside(event: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(event.wait)
            await Channel[int]().receive()

    def start(group: Group) -> object:
        match how:
            case "event":
                group.go(waits, channel_that_leaks_unless_held(group), trio.Event())
            case "memory channel":
                group.go(receives, channel_that_leaks_unless_held(group), trio.open_memory_channel[int](0)[1])
            case "system task":
                event = trio.Event()
                undo.append(event.set)
                trio.lowlevel.spawn_system_task(waits, channel_that_leaks_unless_held(group), event)
            case "nursery":
                group.go(beside, trio.Event())
            case "deadline":
                group.go(dies)
            case _:
                token = trio.lowlevel.current_trio_token()
                channel = channel_that_leaks_unless_held(group)

                def again() -> None:
                    if not undo:
                        token.run_sync_soon(again)
                    channel.statistics()

                token.run_sync_soon(again)
        return None

    async with Group() as outer:
        assert await leaks_of(start) == []
        undo.append(int)
        for action in undo:
            action()
        await settle()
        outer.cancel()


async def test_a_portal_for_threads_is_silent() -> None:
    """A thread may call through it, later."""
    go_on = threading.Event()

    def thread(portal: anyio.from_thread.BlockingPortal, close: Callable[[], None]) -> None:
        go_on.wait(60)
        portal.call(close)

    async with anyio.from_thread.BlockingPortal() as portal, Group() as group:
        worker = threading.Thread(target=thread, args=(portal, channel_that_leaks_unless_held(group).close))
        worker.start()
        await settle()
        gc.collect()
        assert find_leaks() == []
        go_on.set()
        with anyio.fail_after(30):
            while worker.is_alive():
                await anyio.sleep(0.001)


def test_in_trio_s_guest_mode_both_loops_may_act() -> None:
    """trio's goroutines are looked at; a callback of the host's loop may wake them."""
    trio = pytest.importorskip("trio", reason="trio is not installed: pip install pygochan[trio]")
    found: dict[str, list[str]] = {}

    async def host() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        async def guest() -> None:
            async with Group() as group:
                group.go(Channel[int]().receive, name="leaked")
                timer = loop.call_later(3600, channel_that_leaks_unless_held(group).close)
                await settle()
                found["trio"] = [info.name for info in find_leaks()]
                timer.cancel()
                del timer
                group.cancel()

        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            run_sync_soon_not_threadsafe=loop.call_soon,
            done_callback=over.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        async with Group() as group:
            group.go(Channel[int]().receive, name="of the host")
            outcome: Any = await asyncio.wait_for(over, 30)
            outcome.unwrap()
            found["asyncio"] = [info.name for info in find_leaks()]
            group.cancel()

    asyncio.run(host())
    assert found == {"trio": ["leaked"], "asyncio": ["of the host"]}
