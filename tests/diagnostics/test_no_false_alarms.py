"""``find_leaks`` says nothing of a goroutine that somebody could still wake, seen or unseen."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import gc
import signal
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from tests.diagnostics.leaking import channel_that_leaks_unless_held, leaks_of, settle

from gochan import Channel, Group
from gochan.diagnostics import find_leaks

module_global: Any = None


def by_the_caller(group: Group) -> object:
    return channel_that_leaks_unless_held(group)


def by_a_container(group: Group) -> object:
    return {"deep": [(deque([channel_that_leaks_unless_held(group)]),)]}


def by_a_bound_method_inside_a_partial(group: Group) -> object:
    return partial(channel_that_leaks_unless_held(group).send, 1)


def by_a_view_for_threads(group: Group) -> object:
    return channel_that_leaks_unless_held(group).blocking()


def by_c(group: Group) -> object:
    return ctypes.py_object(deque([partial(channel_that_leaks_unless_held(group).close)]))


def by_a_value_in_a_live_channel(group: Group) -> object:
    box = Channel[Any](1)
    box.send_nowait(channel_that_leaks_unless_held(group))
    return box


def by_a_sender_that_waits_to_hand_it_over(group: Group) -> object:
    box = Channel[Any]()
    group.go(box.send, channel_that_leaks_unless_held(group), name="sender")
    return box


def by_a_goroutine_that_sleeps(group: Group) -> object:
    async def closes_it_later(channel: Channel[int]) -> None:
        await anyio.sleep(3600)
        channel.close()

    return group.go(closes_it_later, channel_that_leaks_unless_held(group))


def by_a_goroutine_that_can_wake(group: Group) -> object:
    gate = Channel[int]()

    async def first(channel: Channel[int]) -> None:
        await gate.receive()
        await channel.send(1)

    group.go(first, channel_that_leaks_unless_held(group), name="first")
    return gate


def by_a_goroutine_that_has_not_started(group: Group) -> object:
    async def later(channel: Channel[int]) -> None:
        await channel.send(1)

    async def limited() -> None:
        async with Group(limit=1) as inner:
            inner.go(anyio.sleep, 3600)
            inner.go(later, channel_that_leaks_unless_held(group))

    return group.go(limited)


def by_a_time_out_of_its_own(group: Group) -> object:
    async def worker() -> None:
        with anyio.move_on_after(3600):
            await Channel[int]().receive()

    return group.go(worker)


def by_a_scope_that_somebody_holds(group: Group) -> object:
    scopes: list[anyio.CancelScope] = []

    async def worker() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await Channel[int]().receive()

    group.go(worker)
    return scopes


variable: ContextVar[Any] = ContextVar("variable")


def by_a_context_variable(group: Group) -> object:
    variable.set(channel_that_leaks_unless_held(group))
    return group.go(anyio.sleep, 3600)


def by_a_generator(group: Group) -> object:
    def values(channel: Channel[int]) -> Any:
        yield
        channel.close()

    generator = values(channel_that_leaks_unless_held(group))
    next(generator)
    return generator


def by_an_object_without_a_dictionary(group: Group) -> object:
    class Slotted:
        __slots__ = ("channel",)

    slotted = Slotted()
    slotted.channel = channel_that_leaks_unless_held(group)  # type: ignore[attr-defined]
    return slotted


def by_a_class(group: Group) -> object:
    class Held:
        channel = channel_that_leaks_unless_held(group)

    return Held


def by_a_finalizer(group: Group) -> object:
    class Something:
        pass

    something = Something()
    weakref.finalize(something, channel_that_leaks_unless_held(group).close)
    return something


@pytest.mark.parametrize(
    "start",
    [
        by_the_caller,
        by_a_container,
        by_a_bound_method_inside_a_partial,
        by_a_view_for_threads,
        by_c,
        by_a_value_in_a_live_channel,
        by_a_sender_that_waits_to_hand_it_over,
        by_a_goroutine_that_sleeps,
        by_a_goroutine_that_can_wake,
        by_a_goroutine_that_has_not_started,
        by_a_time_out_of_its_own,
        by_a_scope_that_somebody_holds,
        by_a_context_variable,
        by_a_generator,
        by_an_object_without_a_dictionary,
        by_a_class,
        by_a_finalizer,
    ],
)
async def test_what_somebody_can_still_reach_is_silent(start: Callable[[Group], object]) -> None:
    """No false alarm, whoever holds it."""
    assert await leaks_of(start) == []


async def test_a_global_is_silent() -> None:
    """Go's NoLeakGlobal."""
    global module_global

    def start(group: Group) -> None:
        global module_global
        module_global = channel_that_leaks_unless_held(group)

    try:
        assert await leaks_of(start) == []
    finally:
        module_global = None


async def test_a_reference_that_no_collector_can_see_is_silent() -> None:
    """Held by C, and by nothing else."""
    held: list[int] = []

    def start(group: Group) -> None:
        channel = channel_that_leaks_unless_held(group)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(channel))
        held.append(id(channel))

    assert await leaks_of(start) == []
    ctypes.pythonapi.Py_DecRef(ctypes.cast(held[0], ctypes.py_object))


async def test_a_thread_s_stack_is_silent() -> None:
    """A thread may use what its frames hold, whatever it does now."""
    stop = threading.Event()
    started = threading.Event()

    def thread(channel: Any) -> None:
        started.set()
        stop.wait()
        del channel

    def start(group: Group) -> object:
        thread_ = threading.Thread(target=thread, args=(channel_that_leaks_unless_held(group),))
        thread_.start()
        started.wait()
        return weakref.ref(thread_)

    try:
        assert await leaks_of(start) == []
    finally:
        stop.set()


async def test_a_busy_thread_does_not_disturb() -> None:
    """One that hands references to and fro while the others are looked at."""
    stop = threading.Event()

    def juggle(box: list[Any]) -> None:
        while not stop.is_set():
            held = box.pop()
            box.append(held)

    async with Group() as group:
        group.go(Channel[int]().receive, name="leaked")
        box: Any = [channel_that_leaks_unless_held(group)]
        thread = threading.Thread(target=juggle, args=(box,))
        del box
        thread.start()
        try:
            await settle()
            for _ in range(10):
                assert {info.name for info in find_leaks()} <= {"leaked"}
        finally:
            stop.set()
            thread.join()
        group.cancel()


async def test_a_signal_handler_is_silent() -> None:
    """It may run at any time."""

    def start(group: Group) -> None:
        channel = channel_that_leaks_unless_held(group)
        signal.signal(signal.SIGUSR1, lambda *_: channel.close())

    try:
        assert await leaks_of(start) == []
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


async def test_an_exit_handler_is_silent() -> None:
    """It may run at the end."""
    handlers: list[Any] = []

    def start(group: Group) -> None:
        handler = channel_that_leaks_unless_held(group).close
        atexit.register(handler)
        handlers.append(weakref.WeakMethod(handler))

    assert await leaks_of(start) == []
    atexit.unregister(handlers[0]())


@pytest.mark.asyncio_only
@pytest.mark.parametrize("how", ["call_later", "call_soon", "future", "reader", "task", "wait_for"])
async def test_what_the_loop_holds_is_silent(how: str) -> None:
    """Timers, callbacks, foreign futures, sockets, foreign tasks."""
    loop = asyncio.get_running_loop()
    ends = socket.socketpair()
    ends[0].setblocking(False)
    undo: list[Callable[[], object]] = []

    async def waits(channel: Channel[int], future: Any) -> None:
        await future
        channel.close()

    def start(group: Group) -> object:
        if how == "wait_for":
            # Before 3.12 a task of its own is blocked, and this one will cancel it.
            return group.go(asyncio.wait_for, Channel[int]().receive(), 3600)
        channel = channel_that_leaks_unless_held(group)
        match how:
            case "call_later":
                undo.append(loop.call_later(3600, channel.close).cancel)
            case "call_soon":

                def again() -> None:
                    handle[0] = loop.call_soon(again) if channel else handle[0]

                handle = [loop.call_soon(again)]
                undo.append(lambda: handle[0].cancel())
            case "reader":
                loop.add_reader(ends[0], channel.close)
                undo.append(lambda: loop.remove_reader(ends[0]))
            case "future":
                future = loop.create_future()
                future.add_done_callback(lambda _: channel.close())
                undo.append(future.cancel)
            case _:
                task = loop.create_task(waits(channel, loop.create_future()))
                undo.append(task.cancel)
        return None

    try:
        assert await leaks_of(start) == []
    finally:
        for action in undo:
            action()
        for end in ends:
            end.close()
        await settle()


@pytest.mark.asyncio_only
async def test_a_protocol_of_a_live_transport_is_silent() -> None:
    """On uvloop the transport is held by C alone."""
    loop = asyncio.get_running_loop()
    ends = socket.socketpair()

    class Protocol(asyncio.Protocol):
        def __init__(self, channel: Channel[int]) -> None:
            self.channel = channel

        def connection_lost(self, exc: Exception | None) -> None:
            self.channel.close()
            lost.set()

    lost = asyncio.Event()
    async with Group() as group:

        async def connect() -> None:
            await loop.create_connection(lambda: Protocol(channel_that_leaks_unless_held(group)), sock=ends[0])

        await connect()
        await settle()
        gc.collect()
        assert find_leaks() == []
        ends[1].close()
        with anyio.fail_after(20):
            await lost.wait()
        group.cancel()
